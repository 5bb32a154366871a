"""Finding the images that are copies of one another: exact ones, and altered ones.

Copies may be turned by up to some 25 degrees, mirrored, blurred, noisy, compressed anew, resized,
cropped by up to a third; and a mask may have been pasted over the face. Small grey thumbnails of
all images are compared with one another, some turned and mirrored, within windows that a mask
leaves free: that gives candidates. Two candidates are then laid over each other as well as it goes,
and are the same picture if their details agree, patch by patch, over enough of the area.
"""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from facemask.data.dataset import Progress, file_digest, no_progress
from facemask.images import read_image, resize

# Pixels a side of the thumbnails, stretched to a square, and of the looks compared at first.
_SIDE = 64
_LOOK = 16

# How many images are turned at a time: together with all others that makes the largest array.
_BLOCK = 128

# How many candidates an image has at most in each window, and the correlation they need. The
# windows are those of _windows: the smaller, the more pictures are alike in them by chance.
_MOST = 12
_LEAST = (0.7, 0.8, 0.9)

# Patches of two pictures agree from this correlation on; the pictures, if patches agree over this
# share of the textured area. Different people before one wall reach about 0.25, and a picture with
# a mask pasted over half of it 0.3 of itself without. Where one is blurred or noisy only coarser
# details agree, but those widely: different people were not seen above 0.5 there.
_PATCH_AGREES = 0.95
_FINE_AGREE = 0.285
_COARSE_AGREE = 0.55

# Alignment takes most of the time, so that a few steps of it show first whether more would pay.
# Twins of 1,376 portraits stood at .83 or more by then, and half of all other pairs below .78.
_ALIGNMENT_STEPS = (2, 10)
_PROMISING = 0.78

# Less textured area than this, in pixels of a thumbnail, says nothing: two walls are no twins.
_LEAST_TEXTURE = 90

_INVERSE = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


class TwinCounts(NamedTuple):
    """What near_duplicate_groups found, in numbers of images; groups counts single ones too."""

    groups: int
    identical: int  # images whose bytes are those of another
    near: int  # images with a twin in their group of other bytes


class _Variant(NamedTuple):
    mirrored: bool
    degrees: float
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)  # to the right and down, in halves of the picture


class _Candidates(NamedTuple):
    """Pairs of images that may be twins; arrays of the same length, a pair at each place."""

    score: np.ndarray  # float32, the correlation found
    upright: np.ndarray  # int64, index of the image taken as it is
    turned: np.ndarray  # int64, index of the image taken as the variant
    variant: np.ndarray  # int64, index into _VARIANTS
    window: np.ndarray  # int64, index into _windows


_STEPS = (-30.0, -22.5, -15.0, -7.5, 0.0, 7.5, 15.0, 22.5, 30.0)
_TURNS = [_Variant(m, d) for m, d in product((False, True), _STEPS)]
_CROPS = [
    *(_Variant(m, d, 1.15) for m, d in product((False, True), _STEPS[2:-2])),
    *(_Variant(m, 0.0, 1.35) for m in (False, True)),
    *(
        _Variant(m, 0.0, 1.15, (0.13 * x, 0.13 * y))
        for m, x, y in product((False, True), (-1, 0, 1), (-1, 0, 1))
        if x or y
    ),
]
_VARIANTS = _TURNS + _CROPS


def near_duplicate_groups(
    paths: Sequence[Path],
    digests: Sequence[str] | None = None,
    progress: Progress = no_progress,
) -> np.ndarray:
    """Number the images so that copies of one picture, exact or altered, have the same number.

    digests: sha256 of each file, computed here if it is not given. progress: wraps the iterable of
    files read, and then that of blocks compared, and gets their number as `total` (tqdm, say).
    Returns: (N,) int64, from 0 on in order of first appearance. Which images are together does not
    depend on the order of paths. Pictures without any texture have only exact copies.
    No image is kept in memory; thumbnails, and parts of the correlations, are some 15 kB an image.
    Raises FacemaskError for a file that can't be read as an image.
    """
    if not paths:
        return np.empty(0, np.int64)
    if digests is None:
        digests = [file_digest(path) for path in paths]
    _, firsts, contents = np.unique(digests, return_index=True, return_inverse=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = pool.map(_thumbnail, [paths[first] for first in firsts])
        thumbnails, aspects = zip(*progress(read, total=len(firsts)), strict=True)
        # In an order of the pictures themselves, so that the order of paths is of no consequence.
        order = sorted(range(len(firsts)), key=lambda i: (thumbnails[i].tobytes(), aspects[i]))
        found = _groups(
            np.stack([thumbnails[i] for i in order]),
            np.array([aspects[i] for i in order]),
            pool,
            progress,
        )
    groups = np.empty_like(found)
    groups[order] = found
    return _numbered_by_appearance(groups[contents])


def count_twins(groups: np.ndarray, digests: Sequence[str]) -> TwinCounts:
    """Count what near_duplicate_groups found in images of these sha256 digests."""
    _, contents, copies = np.unique(digests, return_inverse=True, return_counts=True)
    pairs = np.unique(np.stack([groups, contents]), axis=1)
    contents_of_group = np.bincount(pairs[0], minlength=groups.max(initial=-1) + 1)
    return TwinCounts(
        groups=int((contents_of_group > 0).sum()),
        identical=int((copies[contents] > 1).sum()),
        near=int((contents_of_group[groups] > 1).sum()),
    )


def _numbered_by_appearance(groups: np.ndarray) -> np.ndarray:
    _, firsts, numbers = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(firsts))[numbers].astype(np.int64)


def _thumbnail(path: Path) -> tuple[np.ndarray, float]:
    """A picture as (_SIDE, _SIDE) uint8, grey, and its height divided by its width."""
    image = read_image(path)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return resize(grey, (_SIDE, _SIDE)), image.shape[0] / image.shape[1]


def _groups(
    thumbnails: np.ndarray, aspects: np.ndarray, pool: ThreadPoolExecutor, progress: Progress
) -> np.ndarray:
    """Group numbers, (N,), of thumbnails (N, _SIDE, _SIDE) uint8 of these aspect ratios."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    def same(k: int) -> bool:
        i, j = int(pairs.upright[k]), int(pairs.turned[k])
        placement = _placement(_VARIANTS[pairs.variant[k]], aspects[j], _SIDE)
        return _same_picture(thumbnails[i], thumbnails[j], placement, windows[pairs.window[k]])

    windows = _windows(_SIDE)
    pairs = _candidates(thumbnails, aspects, pool, progress)
    count = len(thumbnails)
    groups = np.arange(count)
    twins: list[int] = []
    # The likeliest first: most of the others are then in one group already.
    for start in range(0, len(pairs.score), 1024):
        batch = np.arange(start, min(start + 1024, len(pairs.score)))
        batch = batch[groups[pairs.upright[batch]] != groups[pairs.turned[batch]]]
        twins += batch[list(pool.map(same, batch))].tolist() if len(batch) else []
        links = (pairs.upright[twins], pairs.turned[twins])
        graph = coo_array((np.ones(len(twins), bool), links), shape=(count, count))
        groups = connected_components(graph, directed=False)[1]
    return groups.astype(np.int64)


@lru_cache
def _windows(side: int) -> list[np.ndarray]:
    """Where pictures are compared, (side, side) bool each.

    All of the disc that stays in the picture when that is turned; its rim but the lowest part,
    which a mask in the middle leaves free; its top, for a mask that fills the rest.
    """
    x, y = np.meshgrid(*[(np.arange(side) + 0.5) / side * 2 - 1] * 2)
    radius = np.hypot(x, y)
    disc = radius <= 1
    return [disc, disc & (radius > 0.5) & (y < 0.4), disc & (y < -0.25)]


def _placement(variant: _Variant, aspect: float, side: int) -> np.ndarray:
    """Where in a thumbnail the pixels of a variant of it lie, float32 (2, 3), as cv2 takes it.

    side: pixels a side of the variant. The turn is one of the photograph, before it was stretched
    to a square.
    """
    cos = math.cos(math.radians(variant.degrees)) / variant.zoom
    sin = math.sin(math.radians(variant.degrees)) / variant.zoom
    flip = -1 if variant.mirrored else 1
    scale = _SIDE / side
    rows = []
    for x, y, shift in (
        (flip * cos, -flip * sin * aspect, variant.shift[0]),
        (sin / aspect, cos, variant.shift[1]),
    ):
        # That is about the centre and in halves of the picture; in pixels, centres are at +0.5.
        offset = ((x + y) * (1 / side - 1) + shift + 1) * _SIDE / 2 - 0.5
        rows.append((x * scale, y * scale, offset))
    return np.array(rows, np.float32)


def _candidates(
    thumbnails: np.ndarray, aspects: np.ndarray, pool: ThreadPoolExecutor, progress: Progress
) -> _Candidates:
    """The pairs that look alike, each pair once, the most alike first."""

    def views(j: int, variants: Sequence[_Variant] = _VARIANTS) -> list[np.ndarray]:
        """The variants of image j, float32 (_LOOK, _LOOK) each."""
        details = _band(thumbnails[j])
        return [
            cv2.warpAffine(
                details,
                _placement(variant, aspects[j], _LOOK),
                (_LOOK, _LOOK),
                flags=_INVERSE,
                borderMode=cv2.BORDER_REPLICATE,
            )
            for variant in variants
        ]

    windows = _windows(_LOOK)
    count = len(thumbnails)
    whole = np.concatenate([views(j, [_Variant(False, 0.0)]) for j in range(count)])
    upright = [_unit(whole[:, window]) for window in windows]
    found: list[_Candidates] = []
    blocks = range(0, count, _BLOCK)
    for start in progress(blocks, total=len(blocks)):
        block = range(start, min(start + _BLOCK, count))
        looks = np.stack(list(pool.map(views, block)), axis=1)  # (variants, images, _LOOK, _LOOK)
        for number, window in enumerate(windows):
            turned = _unit(looks[:, :, window])
            # Turning one to the other is turning the other back to the one: half the pairs do.
            near = _most_alike(
                turned[: len(_TURNS)],
                upright[number][start:],
                np.tri(len(block), count - start, dtype=bool),
                number,
            )
            found.append(near._replace(upright=near.upright + start, turned=near.turned + start))
            if number == 0:  # a crop is no crop the other way round, and few wear new masks
                near = _most_alike(
                    turned[len(_TURNS) :],
                    upright[number],
                    np.eye(len(block), count, start, dtype=bool),
                    number,
                )
                variant = near.variant + len(_TURNS)
                found.append(near._replace(turned=near.turned + start, variant=variant))
    every = _Candidates(*(np.concatenate(column) for column in zip(*found, strict=True)))
    # The best view of each pair; then the best pairs.
    low = np.minimum(every.upright, every.turned)
    high = np.maximum(every.upright, every.turned)
    order = np.lexsort((every.turned, -every.score, high, low))
    once = np.unique(low[order] * count + high[order], return_index=True)[1]
    order = order[once]
    order = order[np.argsort(-every.score[order], kind="stable")]
    return _Candidates(*(column[order] for column in every))


def _band(thumbnail: np.ndarray) -> np.ndarray:
    """What is coarser than noise and finer than light and shadow, float32, of the same shape."""
    grey = thumbnail.astype(np.float32)
    return cv2.GaussianBlur(grey, (0, 0), 2.2) - cv2.GaussianBlur(grey, (0, 0), 8)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., D) of mean 0 and length 1, so that their products are correlations."""
    vectors = vectors - vectors.mean(axis=-1, keepdims=True)
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-3)


def _most_alike(
    turned: np.ndarray, upright: np.ndarray, excluded: np.ndarray, window: int
) -> _Candidates:
    """For each image those that correlate most with it in any of its variants.

    turned: (V, N, D) and upright: (M, D), as _unit gives them of that window. excluded: (N, M)
    bool. Returns pairs of a column and a row, at most _MOST a row, all above _LEAST.
    """
    width = len(upright)
    best = np.full((turned.shape[1], width), -1, np.float32)
    scores = np.empty_like(best)
    for variant in turned:
        np.matmul(variant, upright.T, out=scores)
        np.maximum(best, scores, out=best)
    best[excluded] = -1
    most = min(_MOST, width)
    top = np.argpartition(best, width - most, axis=1)[:, -most:]
    rows, places = np.nonzero(np.take_along_axis(best, top, axis=1) > _LEAST[window])
    columns = top[rows, places]
    variants = np.einsum("vnd,nd->vn", turned[:, rows], upright[columns]).argmax(axis=0)
    windows = np.full(len(rows), window)
    return _Candidates(best[rows, columns], columns, rows, variants, windows)


def _same_picture(
    first: np.ndarray, second: np.ndarray, placement: np.ndarray, window: np.ndarray
) -> bool:
    """Whether the second thumbnail can be laid over the first so that they agree.

    placement: where in the second the pixels of the first are, about, as _placement gives it.
    window: (_SIDE, _SIDE) bool, the part of the first by which they are aligned.
    """
    fine = _evened(first, 0.6), _evened(second, 0.6)
    disc = _windows(_SIDE)[0]
    correlation, weight = _agreement(*fine, placement, disc)
    for _ in range(3):
        if _share(correlation, weight, _PATCH_AGREES) >= _FINE_AGREE:
            return True
        aligned = _aligned(*fine, placement, window)
        if aligned is None:
            return False
        placement = aligned
        correlation, weight = _agreement(*fine, placement, disc)
        if _share(correlation, weight, 0.8) < 0.4:
            return False
        coarse = _evened(first, 1.5), _evened(second, 1.5)
        if _share(*_agreement(*coarse, placement, disc), _PATCH_AGREES) >= _COARSE_AGREE:
            return True
        # What disagrees by now may be a mask, and would draw the alignment its way.
        window = disc & (cv2.GaussianBlur(correlation, (0, 0), 1.5) > 0.6)
    return _share(correlation, weight, _PATCH_AGREES) >= _FINE_AGREE


def _evened(thumbnail: np.ndarray, sigma: float) -> np.ndarray:
    """A thumbnail blurred by sigma pixels and, within limits, of a standard contrast; float32."""
    grey = cv2.GaussianBlur(thumbnail.astype(np.float32), (0, 0), sigma)
    return grey * np.float32(50 / max(float(grey.std()), 17.0))


def _agreement(
    first: np.ndarray, second: np.ndarray, placement: np.ndarray, disc: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How well two pictures agree, patch by patch, when the second is laid over the first.

    Returns the correlation about each pixel and how much it counts, 0 to 1 for its texture;
    float32 of the pictures' shape.
    """

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (0, 0), 2.0)

    size = first.shape[::-1]
    laid = cv2.warpAffine(second, placement, size, flags=_INVERSE, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(np.ones_like(first), placement, size, flags=_INVERSE)
    mean_first, mean_laid = mean(first), mean(laid)
    variance_first = np.maximum(mean(first * first) - mean_first**2, 0)
    variance_laid = np.maximum(mean(laid * laid) - mean_laid**2, 0)
    covariance = mean(first * laid) - mean_first * mean_laid
    # The constant keeps even patches from agreeing or not by their noise.
    correlation = covariance / np.sqrt((variance_first + 4) * (variance_laid + 4))
    texture = np.sqrt(np.maximum(variance_first, variance_laid))
    weight = np.minimum(texture / 15, 1) * (disc & (inside > 0.5))
    return correlation, weight


def _share(correlation: np.ndarray, weight: np.ndarray, least: float) -> float:
    """The share of the textured area where patches correlate more than that; 0 of too little."""
    total = float(weight.sum())
    return float(weight[correlation > least].sum()) / total if total > _LEAST_TEXTURE else 0.0


def _aligned(
    first: np.ndarray, second: np.ndarray, placement: np.ndarray, window: np.ndarray
) -> np.ndarray | None:
    """A placement of the second over the first that is better within the window of the first.

    Returns None where there is none, or only one that no copy would have.
    """
    # OpenCV wants the window as it lies in the second.
    there = cv2.warpAffine(
        window.astype(np.uint8), placement, first.shape[::-1], flags=cv2.INTER_NEAREST
    )
    if np.count_nonzero(there) < _LEAST_TEXTURE:
        return None
    aligned = placement.copy()
    try:
        for steps in _ALIGNMENT_STEPS:
            stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, steps, 1e-3)
            correlation, aligned = cv2.findTransformECC(
                first, second, aligned, cv2.MOTION_AFFINE, stop, there, 1
            )
            if correlation < _PROMISING:
                return None
    except cv2.error:  # its word for pictures that don't converge
        return None
    most, least = np.linalg.svd(aligned[:, :2], compute_uv=False)
    return aligned if least > 0.55 and most < 1.8 and most < 1.5 * least else None
