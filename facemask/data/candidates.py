"""Find the pairs of pictures that look alike, among many, without comparing each with all others.

Each picture is also rotated, mirrored and cropped. All these views are compared with the pictures
of those clusters that are nearest to the view (an inverted file; Sivic and Zisserman, Video Google,
2003): clusters have the same size however many pictures there are, so the time grows about
linearly. A small grey thumbnail stands for a picture, in areas that a mask leaves free.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np

from facemask.data.alignment import (
    INVERSE_WARP,
    Variant,
    placement_matrix,
    tangent_correlations,
    unit,
    windows,
)
from facemask.data.dataset import Progress

# Pixels a side of the views.
_SIDE = 16

# Pictures whose views are compared in one step; it bounds the largest arrays.
_BLOCK = 128

# Pictures a cluster, and the clusters that a view is compared with. With so many clusters, no
# pair of copies was missed among 7,054 photographs, in clusters of 55; with 4 one, with 2 nine.
_CLUSTER = 256
_PROBES = 8

# Correlations of a view with all pictures of a cluster that are in memory at once.
_MAX_SCORES = 2**22

# At most so many candidates a picture in each window, the least correlation they need, and the
# least that alignment could reach. The smaller the window, the more pictures are alike in it by
# chance. No group of copies among 7,054 photographs needs less, and the last leaves out 80 % of
# the pairs that are alike by chance in the first window.
_MAX_CANDIDATES = (24, 12, 12)
_MIN_CORRELATION = (0.7, 0.8, 0.9)
_MIN_TANGENT_CORRELATION = (0.83, 0.84, 0.92)

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
VARIANTS = _TURNS + _CROPS


class Candidates(NamedTuple):
    """Pairs of pictures that may be copies; arrays of the same length, an entry for each pair."""

    score: np.ndarray  # float32, the correlation that alignment could reach
    upright: np.ndarray  # int64, index of the picture taken unchanged
    turned: np.ndarray  # int64, index of the picture taken as the variant
    variant: np.ndarray  # int64, index into VARIANTS
    window: np.ndarray  # int64, index into windows(side)

    def take(self, chosen: np.ndarray) -> "Candidates":
        return Candidates(*(column[chosen] for column in self))


class _Index(NamedTuple):
    """Unit vectors of one window, in clusters."""

    vectors: np.ndarray  # (N, D) float32
    centres: np.ndarray  # (C, D) float32
    members: list[np.ndarray]  # of each cluster, indices of vectors


def find_candidates(
    thumbnails: np.ndarray, aspects: np.ndarray, pool: ThreadPoolExecutor, progress: Progress
) -> Candidates:
    """The pairs that look alike, each pair once, by falling score.

    thumbnails: (N, THUMBNAIL_SIDE, THUMBNAIL_SIDE) uint8, grey. aspects: height / width of each
    picture, (N,). progress: wraps the iterable of blocks of pictures.
    """
    from threadpoolctl import threadpool_limits

    def views(number: int, variants: Sequence[Variant]) -> np.ndarray:
        """A picture's variants, (V, _SIDE, _SIDE) float32."""
        details = _band(thumbnails[number])
        size = (_SIDE, _SIDE)
        placements = (placement_matrix(variant, aspects[number], _SIDE) for variant in variants)
        return np.stack(
            [
                cv2.warpAffine(
                    details, placement, size, flags=INVERSE_WARP, borderMode=cv2.BORDER_REPLICATE
                )
                for placement in placements
            ]
        )

    def of_block(start: int) -> Candidates:
        block = np.arange(start, min(start + _BLOCK, count))
        looks = np.stack([views(number, VARIANTS) for number in block], axis=1)
        return _joined(
            _of_window(looks, block, whole, index, window) for window, index in enumerate(indexes)
        )

    count = len(thumbnails)
    upright = [Variant(False, 0.0)]
    whole = np.concatenate(list(pool.map(lambda number: views(number, upright), range(count))))
    indexes = [_index(whole[:, area]) for area in windows(_SIDE)]
    starts = range(0, count, _BLOCK)
    # The blocks are on several threads; each product on several more would be slower.
    with threadpool_limits(1, "blas"):
        pairs = _joined(progress(pool.map(of_block, starts), total=len(starts)))
    # The best variant of each pair; then the pairs by score.
    low = np.minimum(pairs.upright, pairs.turned)
    high = np.maximum(pairs.upright, pairs.turned)
    pairs = pairs.take(_firsts(low * count + high, pairs))
    return pairs.take(np.lexsort((pairs.turned, pairs.upright, -pairs.score)))


def _joined(parts: Iterator[Candidates]) -> Candidates:
    return Candidates(*map(np.concatenate, zip(*parts, strict=True)))


def _firsts(keys: np.ndarray, pairs: Candidates) -> np.ndarray:
    """For each different key, the index of the pair with the highest score."""
    order = np.lexsort((pairs.variant, pairs.turned, -pairs.score, keys))
    return order[np.unique(keys[order], return_index=True)[1]]


def _band(thumbnail: np.ndarray) -> np.ndarray:
    """A band-pass filter that removes noise, light and shadow; float32 of the same shape."""
    grey = thumbnail.astype(np.float32)
    return cv2.GaussianBlur(grey, (0, 0), 2.2) - cv2.GaussianBlur(grey, (0, 0), 8)


def _index(vectors: np.ndarray) -> _Index:
    """Clusters of about _CLUSTER pictures by k-means; vectors: (N, D) float32."""
    from sklearn.cluster import MiniBatchKMeans

    vectors = unit(vectors)
    count = -(-len(vectors) // _CLUSTER)
    kmeans = MiniBatchKMeans(count, init="random", n_init=1, random_state=0).fit(vectors)
    ends = np.cumsum(np.bincount(kmeans.labels_, minlength=count))[:-1]
    members = np.split(np.argsort(kmeans.labels_, kind="stable"), ends)
    return _Index(vectors, kmeans.cluster_centers_, members)


def _of_window(
    looks: np.ndarray, block: np.ndarray, whole: np.ndarray, index: _Index, window: int
) -> Candidates:
    """The candidates of a block of pictures in one window.

    looks: (V, B, _SIDE, _SIDE) float32, the variants of the pictures with the numbers `block`;
    whole: (N, _SIDE, _SIDE) float32, all pictures unchanged.
    """
    area = windows(_SIDE)[window]
    # Copies with a pasted mask are rarely cropped.
    variants = len(VARIANTS if window == 0 else _TURNS)
    queries = unit(looks[:variants, :, area]).reshape(variants * len(block), -1)
    rows, columns, scores = _nearest(queries, index, _MAX_CANDIDATES[window] + 1, window)
    variant, place = np.divmod(rows, len(block))
    pairs = Candidates(scores, columns, block[place], variant, np.full(len(rows), window))
    pairs = pairs.take(pairs.upright != pairs.turned)
    pairs = pairs.take(_firsts(pairs.turned * len(whole) + pairs.upright, pairs))
    # The best candidates of each picture.
    order = np.lexsort((-pairs.score, pairs.turned))
    ranks = np.arange(len(order)) - np.searchsorted(pairs.turned[order], pairs.turned[order])
    pairs = pairs.take(order[ranks < _MAX_CANDIDATES[window]])
    seen = looks[pairs.variant, pairs.turned - block[0]]
    reachable = tangent_correlations(whole[pairs.upright], seen, area)
    pairs = pairs._replace(score=reachable)
    return pairs.take(reachable > _MIN_TANGENT_CORRELATION[window])


def _nearest(
    queries: np.ndarray, index: _Index, most: int, window: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of queries, numbers of pictures, and their correlations above _MIN_CORRELATION.

    queries: (Q, D) float32, unit vectors; compared with the _PROBES clusters that are nearest.
    most: of one cluster, so many for each query.
    """
    count = len(index.members)
    closeness = queries @ index.centres.T - (index.centres**2).sum(axis=1) / 2
    probes = np.argpartition(closeness, -min(_PROBES, count), axis=1)[:, -_PROBES:]
    order = np.argsort(probes, axis=None, kind="stable")
    ends = np.cumsum(np.bincount(probes.ravel(), minlength=count))[:-1]
    hits = []
    for members, rows in zip(index.members, np.split(order // probes.shape[1], ends), strict=True):
        vectors = index.vectors[members].T
        step = max(1, _MAX_SCORES // max(1, len(members)))
        for part in (rows[start : start + step] for start in range(0, len(rows), step)):
            scores = queries[part] @ vectors
            crowded = np.flatnonzero((scores > _MIN_CORRELATION[window]).sum(axis=1) > most)
            if len(crowded):
                worse = np.argpartition(scores[crowded], -most, axis=1)[:, :-most]
                scores[crowded[:, None], worse] = -1
            places, columns = np.nonzero(scores > _MIN_CORRELATION[window])
            hits.append((part[places], members[columns], scores[places, columns]))
    return tuple(map(np.concatenate, zip(*hits, strict=True)))
