"""Find the pairs of pictures that look alike, among many, without comparing each with all others.

Each picture is also rotated, mirrored and cropped. All these views are compared with the pictures
of those clusters that are nearest to the view (an inverted file; Sivic and Zisserman, Video Google,
2003): clusters have the same size however many pictures there are, so the time grows about
linearly. A small grey thumbnail stands for a picture, in areas that a mask leaves free.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
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

# Pixels a side of the views that are compared with many pictures.
_SIDE = 16

# A band-pass filter removes noise, light and shadow: its two blurs, in pixels of a thumbnail.
_COARSE = (2.2, 8.0)
_FINE = (0.8, 4.0)  # for views of _FINE_SIDE pixels a side, of the pairs that are alike coarsely
_FINE_SIDE = 32

# Filtered thumbnails that are kept, 16 kB each: a picture is a candidate of several others.
_DETAILS = 4096

# Pictures whose views are compared in one step; it bounds the largest arrays.
_BLOCK = 64

# Pictures a cluster, and the clusters that a view is compared with. Among 7,054 photographs in
# clusters of 55, no copy lost its group with 8 clusters a view, one with 4, nine with 2.
_CLUSTER = 256
_PROBES = 8
_ROUNDS = 5  # of k-means; more make the clusters hardly better

# Correlations of a view with all pictures of a cluster that are in memory at once.
_MAX_SCORES = 2**22

# At most so many candidates a picture in each window, and the least correlation they need. The
# smaller the window, the more pictures are alike in it by chance.
_MAX_CANDIDATES = (24, 12, 12)
_MIN_CORRELATION = (0.7, 0.8, 0.9)

# The least correlations that alignment could reach. Of 36,000 pairs of strangers that were alike in
# a window, 75 % have less. Of the groups among the same 7,054 photographs, one lost a picture: a
# man before a wall, in other shots elsewhere before it.
_MIN_COARSE = (0.83, 0.84, 0.92)
_MIN_FINE = (0.52, 0.72, 0.87)

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
_UNCHANGED = VARIANTS.index(Variant(False, 0.0))


class Candidates(NamedTuple):
    """Pairs of pictures that may be copies; arrays of the same length, an entry for each pair."""

    score: np.ndarray  # float32, the correlation
    upright: np.ndarray  # int64, index of the picture taken unchanged
    turned: np.ndarray  # int64, index of the picture taken as the variant
    variant: np.ndarray  # int64, index into VARIANTS
    window: np.ndarray  # int64, index into windows(side)

    def take(self, chosen: np.ndarray) -> "Candidates":
        return Candidates(*(column[chosen] for column in self))


class _Index(NamedTuple):
    """All pictures in one window, unchanged, in clusters."""

    centres: np.ndarray  # (C, D) float32
    members: list[np.ndarray]  # of each cluster, numbers of pictures
    vectors: list[np.ndarray]  # of each cluster, (members, D) float32, unit vectors


class _Pictures:
    """Thumbnails (N, THUMBNAIL_SIDE, THUMBNAIL_SIDE) uint8, of pictures of these aspect ratios."""

    def __init__(self, thumbnails: np.ndarray, aspects: np.ndarray, pool: ThreadPoolExecutor):
        self._thumbnails, self._aspects = thumbnails, aspects
        self._details = lru_cache(_DETAILS)(self._filtered)
        coarse = pool.map(lambda n: self.views(n, [VARIANTS[_UNCHANGED]]), range(len(thumbnails)))
        self.whole = np.concatenate(list(coarse))  # (N, _SIDE, _SIDE) float32

    def views(
        self,
        number: int,
        variants: Sequence[Variant],
        side: int = _SIDE,
        band: tuple[float, float] = _COARSE,
    ) -> np.ndarray:
        """Variants of a picture, (V, side, side) float32."""
        details = self._details(number, band)
        looks = np.empty((len(variants), side, side), np.float32)
        for look, variant in zip(looks, variants, strict=True):
            placement = placement_matrix(variant, self._aspects[number], side)
            cv2.warpAffine(
                details, placement, (side, side), look, INVERSE_WARP, cv2.BORDER_REPLICATE
            )
        return looks

    def _filtered(self, number: int, band: tuple[float, float]) -> np.ndarray:
        """The details of a thumbnail that a band-pass filter leaves, float32."""
        grey = self._thumbnails[number].astype(np.float32)
        return cv2.GaussianBlur(grey, (0, 0), band[0]) - cv2.GaussianBlur(grey, (0, 0), band[1])

    def fine_views(self, numbers: np.ndarray, variants: np.ndarray) -> np.ndarray:
        """A variant of each of these pictures, (P, _FINE_SIDE, _FINE_SIDE) float32."""
        looks = np.empty((len(numbers), _FINE_SIDE, _FINE_SIDE), np.float32)
        for number in np.unique(numbers):
            places = np.flatnonzero(numbers == number)
            chosen = [VARIANTS[variant] for variant in variants[places]]
            looks[places] = self.views(number, chosen, _FINE_SIDE, _FINE)
        return looks


def find_candidates(
    thumbnails: np.ndarray, aspects: np.ndarray, pool: ThreadPoolExecutor, progress: Progress
) -> Candidates:
    """The pairs that look alike, each pair once, by falling score.

    thumbnails: (N, THUMBNAIL_SIDE, THUMBNAIL_SIDE) uint8, grey. aspects: height / width of each
    picture, (N,). progress: wraps the iterable of blocks of pictures.
    """
    from threadpoolctl import threadpool_limits

    pictures = _Pictures(thumbnails, aspects, pool)
    indexes = [_index(pictures.whole[:, area]) for area in windows(_SIDE)]
    starts = range(0, len(thumbnails), _BLOCK)
    # The blocks are on several threads; each product on several more would be slower.
    with threadpool_limits(1, "blas"):
        blocks = pool.map(lambda start: _of_block(pictures, indexes, start), starts)
        pairs = _joined(progress(blocks, total=len(starts)))
    # The best variant of each pair; then the pairs by score.
    low = np.minimum(pairs.upright, pairs.turned)
    high = np.maximum(pairs.upright, pairs.turned)
    pairs = pairs.take(_firsts(low * len(thumbnails) + high, pairs))
    return pairs.take(np.lexsort((pairs.turned, pairs.upright, -pairs.score)))


def _joined(parts: Iterable[Candidates]) -> Candidates:
    return Candidates(*map(np.concatenate, zip(*parts, strict=True)))


def _firsts(keys: np.ndarray, pairs: Candidates) -> np.ndarray:
    """For each different key, the index of the pair with the highest score."""
    order = np.lexsort((pairs.variant, pairs.turned, -pairs.score, keys))
    return order[np.unique(keys[order], return_index=True)[1]]


def _of_block(pictures: _Pictures, indexes: Sequence[_Index], start: int) -> Candidates:
    """The candidates of _BLOCK pictures from start on, in all windows."""
    block = range(start, min(start + _BLOCK, len(pictures.whole)))
    looks = np.stack([pictures.views(number, VARIANTS) for number in block], axis=1)
    candidates = []
    for window, index in enumerate(indexes):
        pairs = _most_alike(looks, start, index, window)
        first, second = pictures.whole[pairs.upright], looks[pairs.variant, pairs.turned - start]
        score = tangent_correlations(first, second, windows(_SIDE)[window])
        pairs = pairs.take(score > _MIN_COARSE[window])
        first = pictures.fine_views(pairs.upright, np.full_like(pairs.variant, _UNCHANGED))
        second = pictures.fine_views(pairs.turned, pairs.variant)
        score = tangent_correlations(first, second, windows(_FINE_SIDE)[window])
        candidates.append(pairs.take(score > _MIN_FINE[window]))
    return _joined(candidates)


def _most_alike(looks: np.ndarray, start: int, index: _Index, window: int) -> Candidates:
    """The best candidates of each picture of a block, by correlation in one window.

    looks: (V, B, _SIDE, _SIDE) float32, the variants of the pictures from the number start on.
    """
    # Copies with a pasted mask are rarely cropped.
    looks = looks[: len(VARIANTS if window == 0 else _TURNS), :, windows(_SIDE)[window]]
    queries = unit(looks).reshape(-1, looks.shape[-1])
    # Twice as many as wanted, because half of the pairs are left out below.
    most = 2 * _MAX_CANDIDATES[window]
    rows, columns, scores = _nearest(queries, index, most, _MIN_CORRELATION[window])
    variants, places = np.divmod(rows, looks.shape[1])
    pairs = Candidates(scores, columns, places + start, variants, np.full(len(rows), window))
    # Rotating A to B is rotating B back to A, so one of both is enough; cropping has no inverse.
    useful = np.where(
        variants < len(_TURNS), pairs.upright > pairs.turned, pairs.upright != pairs.turned
    )
    pairs = pairs.take(useful)
    # The best variant of each pair; both numbers are less than 2**31.
    pairs = pairs.take(_firsts(pairs.turned << 32 | pairs.upright, pairs))
    pairs = pairs.take(np.lexsort((-pairs.score, pairs.turned)))
    ranks = np.arange(len(pairs.turned)) - np.searchsorted(pairs.turned, pairs.turned)
    return pairs.take(ranks < _MAX_CANDIDATES[window])


def _index(vectors: np.ndarray) -> _Index:
    """Clusters of about _CLUSTER pictures, by k-means on the sphere; vectors: (N, D) float32."""
    vectors = unit(vectors)
    count = -(-len(vectors) // _CLUSTER)
    centres = np.random.default_rng(0).choice(vectors, count, replace=False)
    for _ in range(_ROUNDS):
        sums = np.zeros_like(centres)
        np.add.at(sums, _closest(vectors, centres), vectors)
        centres = unit(sums)
    clusters = _closest(vectors, centres)
    ends = np.cumsum(np.bincount(clusters, minlength=count))[:-1]
    order = np.argsort(clusters, kind="stable")
    return _Index(centres, np.split(order, ends), np.split(vectors[order], ends))


def _closest(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The number of the closest centre for each vector; a part at a time, to bound the memory."""
    parts = np.array_split(vectors, len(centres))
    return np.concatenate([(part @ centres.T).argmax(axis=1) for part in parts])


def _nearest(
    queries: np.ndarray, index: _Index, most: int, least: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of queries, numbers of pictures, and their correlations, all of the same length.

    queries: (Q, D) float32, unit vectors; compared with the _PROBES clusters that are nearest.
    most, least: as in _best_of_cluster.
    """
    count = len(index.centres)
    probes = np.argpartition(queries @ index.centres.T, -min(_PROBES, count))[:, -_PROBES:]
    order = np.argsort(probes, axis=None, kind="stable")
    ends = np.cumsum(np.bincount(probes.ravel(), minlength=count))[:-1]
    queries_of = np.split(order // probes.shape[1], ends)
    hits = []
    for members, vectors, rows in zip(index.members, index.vectors, queries_of, strict=True):
        step = max(1, _MAX_SCORES // max(1, len(members)))
        for part in (rows[start : start + step] for start in range(0, len(rows), step)):
            places, columns, scores = _best_of_cluster(queries[part], vectors, most, least)
            hits.append((part[places], members[columns], scores))
    rows, columns, scores = map(np.concatenate, zip(*hits, strict=True))
    return rows, columns, scores


def _best_of_cluster(
    queries: np.ndarray, vectors: np.ndarray, most: int, least: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of queries and of vectors with a correlation above `least`; at most so many a query."""
    scores = queries @ vectors.T
    crowded = np.flatnonzero((scores > least).sum(axis=1) > most)
    if len(crowded):
        worse = np.argpartition(scores[crowded], -most, axis=1)[:, :-most]
        scores[crowded[:, None], worse] = -1
    rows, columns = np.nonzero(scores > least)
    return rows, columns, scores[rows, columns]
