"""Find images that are copies of one another, exact or altered.

Copies may be rotated by up to about 25 degrees, mirrored, blurred, noisy, recompressed, resized or
cropped by up to a third, and a mask may have been pasted over the face. Small grey thumbnails of
all images are compared with one another, also rotated and mirrored, in areas that a mask leaves
free. Pairs that look alike are candidates; alignment.same_picture then decides.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from facemask.data.alignment import (
    INVERSE_WARP,
    THUMBNAIL_SIDE,
    Variant,
    placement_matrix,
    same_picture,
    windows,
)
from facemask.data.dataset import Progress, no_progress
from facemask.files import file_digest
from facemask.images import read_image, resize

# Pixels a side of the smaller thumbnails that are compared with all others.
_SMALL_SIDE = 16

# Images that are compared with all others in one step; it bounds the largest array.
_BLOCK = 128

# At most so many candidates an image in each window, and the least correlation they need. The
# smaller the window, the more pictures are alike in it by chance.
_MAX_CANDIDATES = 12
_MIN_CORRELATION = (0.7, 0.8, 0.9)


class DuplicateCounts(NamedTuple):
    """Numbers of images in the groups of near_duplicate_groups; groups counts single images too."""

    groups: int
    identical: int  # images with the same bytes as another image
    near: int  # images whose group has an image with other bytes


class _Candidates(NamedTuple):
    """Pairs of images that may be duplicates; arrays of the same length, an entry for each pair."""

    score: np.ndarray  # float32, the highest correlation
    upright: np.ndarray  # int64, index of the image taken unchanged
    turned: np.ndarray  # int64, index of the image taken as the variant
    variant: np.ndarray  # int64, index into _VARIANTS
    window: np.ndarray  # int64, index into windows(side)


_STEPS = (-30.0, -22.5, -15.0, -7.5, 0.0, 7.5, 15.0, 22.5, 30.0)
_TURNS = [Variant(m, d) for m, d in product((False, True), _STEPS)]
_CROPS = [
    *(Variant(m, d, 1.15) for m, d in product((False, True), _STEPS[2:-2])),
    *(Variant(m, 0.0, 1.35) for m in (False, True)),
    *(
        Variant(m, 0.0, 1.15, (0.13 * x, 0.13 * y))
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
    """Give copies of one picture, exact or altered, the same group number.

    digests: sha256 of each file, computed here if not given. progress: wraps the iterable of files
    read, of blocks compared, and of blocks of candidates, and gets their number as `total` (tqdm,
    for example).
    Returns (N,) int64, numbered from 0 in order of first appearance. The grouping does not depend
    on the order of paths. Pictures without texture have only exact copies.
    Memory holds thumbnails and parts of the correlations, about 15 kB an image.
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
        # Sorted by content, so that the order of paths does not matter.
        order = sorted(range(len(firsts)), key=lambda i: (thumbnails[i].tobytes(), aspects[i]))
        sorted_groups = _groups(
            np.stack([thumbnails[i] for i in order]),
            np.array([aspects[i] for i in order]),
            pool,
            progress,
        )
    groups = np.empty_like(sorted_groups)
    groups[order] = sorted_groups
    return _numbered_by_appearance(groups[contents])


def count_duplicates(groups: np.ndarray, digests: Sequence[str]) -> DuplicateCounts:
    """Count the images in the groups of near_duplicate_groups; digests: sha256 of each image."""
    _, contents, copies = np.unique(digests, return_inverse=True, return_counts=True)
    pairs = np.unique(np.stack([groups, contents]), axis=1)
    contents_of_group = np.bincount(pairs[0], minlength=groups.max(initial=-1) + 1)
    return DuplicateCounts(
        groups=int((contents_of_group > 0).sum()),
        identical=int((copies[contents] > 1).sum()),
        near=int((contents_of_group[groups] > 1).sum()),
    )


def _numbered_by_appearance(groups: np.ndarray) -> np.ndarray:
    _, firsts, numbers = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(firsts))[numbers].astype(np.int64)


def _thumbnail(path: Path) -> tuple[np.ndarray, float]:
    """A picture as (THUMBNAIL_SIDE, THUMBNAIL_SIDE) uint8, grey; and its height / width."""
    image = read_image(path)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return resize(grey, (THUMBNAIL_SIDE, THUMBNAIL_SIDE)), image.shape[0] / image.shape[1]


def _groups(
    thumbnails: np.ndarray, aspects: np.ndarray, pool: ThreadPoolExecutor, progress: Progress
) -> np.ndarray:
    """Group numbers, (N,), of thumbnails (N, side, side) uint8 of these aspect ratios."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    def same(k: int) -> bool:
        i, j = int(pairs.upright[k]), int(pairs.turned[k])
        variant = _VARIANTS[pairs.variant[k]]
        placement = placement_matrix(variant, aspects[j], THUMBNAIL_SIDE)
        return same_picture(thumbnails[i], thumbnails[j], placement, areas[pairs.window[k]])

    areas = windows(THUMBNAIL_SIDE)
    pairs = _candidates(thumbnails, aspects, pool, progress)
    count = len(thumbnails)
    groups = np.arange(count)
    duplicates: list[int] = []
    # The likeliest first, so that most later pairs are in one group already and are skipped.
    starts = range(0, len(pairs.score), 1024)
    for start in progress(starts, total=len(starts)):
        batch = np.arange(start, min(start + 1024, len(pairs.score)))
        batch = batch[groups[pairs.upright[batch]] != groups[pairs.turned[batch]]]
        duplicates += batch[list(pool.map(same, batch))].tolist() if len(batch) else []
        links = (pairs.upright[duplicates], pairs.turned[duplicates])
        graph = coo_array((np.ones(len(duplicates), bool), links), shape=(count, count))
        groups = connected_components(graph, directed=False)[1]
    return groups.astype(np.int64)


def _candidates(
    thumbnails: np.ndarray, aspects: np.ndarray, pool: ThreadPoolExecutor, progress: Progress
) -> _Candidates:
    """The pairs that look alike, each pair once, by falling correlation."""

    def views(j: int, variants: Sequence[Variant] = _VARIANTS) -> list[np.ndarray]:
        """The variants of image j, float32 (_SMALL_SIDE, _SMALL_SIDE) each."""
        details = _band(thumbnails[j])
        return [
            cv2.warpAffine(
                details,
                placement_matrix(variant, aspects[j], _SMALL_SIDE),
                (_SMALL_SIDE, _SMALL_SIDE),
                flags=INVERSE_WARP,
                borderMode=cv2.BORDER_REPLICATE,
            )
            for variant in variants
        ]

    areas = windows(_SMALL_SIDE)
    count = len(thumbnails)
    whole = np.concatenate([views(j, [Variant(False, 0.0)]) for j in range(count)])
    upright = [_unit(whole[:, area]) for area in areas]
    candidates: list[_Candidates] = []
    blocks = range(0, count, _BLOCK)
    for start in progress(blocks, total=len(blocks)):
        block = range(start, min(start + _BLOCK, count))
        looks = np.stack(
            list(pool.map(views, block)), axis=1
        )  # (variants, images, _SMALL_SIDE, _SMALL_SIDE)
        for number, area in enumerate(areas):
            turned = _unit(looks[:, :, area])
            # Rotating A to B is rotating B back to A, so half of the pairs are enough.
            near = _best_matches(
                turned[: len(_TURNS)],
                upright[number][start:],
                np.tri(len(block), count - start, dtype=bool),
                number,
            )
            candidates.append(
                near._replace(upright=near.upright + start, turned=near.turned + start)
            )
            if number == 0:  # cropping has no inverse; copies with a pasted mask are rarely cropped
                near = _best_matches(
                    turned[len(_TURNS) :],
                    upright[number],
                    np.eye(len(block), count, start, dtype=bool),
                    number,
                )
                variant = near.variant + len(_TURNS)
                candidates.append(near._replace(turned=near.turned + start, variant=variant))
    pairs = _Candidates(*(np.concatenate(column) for column in zip(*candidates, strict=True)))
    # The best variant of each pair; then the pairs by score.
    low = np.minimum(pairs.upright, pairs.turned)
    high = np.maximum(pairs.upright, pairs.turned)
    order = np.lexsort((pairs.turned, -pairs.score, high, low))
    first = np.unique(low[order] * count + high[order], return_index=True)[1]
    order = order[first]
    order = order[np.argsort(-pairs.score[order], kind="stable")]
    return _Candidates(*(column[order] for column in pairs))


def _band(thumbnail: np.ndarray) -> np.ndarray:
    """A band-pass filter that removes noise, light and shadow; float32 of the same shape."""
    grey = thumbnail.astype(np.float32)
    return cv2.GaussianBlur(grey, (0, 0), 2.2) - cv2.GaussianBlur(grey, (0, 0), 8)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., D) of mean 0 and length 1, so that dot products are correlations."""
    vectors = vectors - vectors.mean(axis=-1, keepdims=True)
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-3)


def _best_matches(
    turned: np.ndarray, upright: np.ndarray, excluded: np.ndarray, window: int
) -> _Candidates:
    """For each turned image the upright ones that correlate most with any of its variants.

    turned: (V, N, D) and upright: (M, D), from _unit, of one window. excluded: (N, M) bool.
    Returns pairs of a column and a row: at most _MAX_CANDIDATES a row, above _MIN_CORRELATION.
    """
    width = len(upright)
    best = np.full((turned.shape[1], width), -1, np.float32)
    scores = np.empty_like(best)
    for variant in turned:
        np.matmul(variant, upright.T, out=scores)
        np.maximum(best, scores, out=best)
    best[excluded] = -1
    count = min(_MAX_CANDIDATES, width)
    top = np.argpartition(best, width - count, axis=1)[:, -count:]
    rows, places = np.nonzero(np.take_along_axis(best, top, axis=1) > _MIN_CORRELATION[window])
    columns = top[rows, places]
    variants = np.einsum("vnd,nd->vn", turned[:, rows], upright[columns]).argmax(axis=0)
    windows = np.full(len(rows), window)
    return _Candidates(best[rows, columns], columns, rows, variants, windows)
