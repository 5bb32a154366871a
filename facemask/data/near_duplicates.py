"""Find images that are copies of one another, exact or altered.

Copies may be rotated by up to about 25 degrees, mirrored, blurred, noisy, recompressed, resized or
cropped by up to a third, and a mask may have been pasted over the face. candidates.find_candidates
gives the pairs that look alike; alignment.same_picture then decides.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from facemask.data.alignment import (
    THUMBNAIL_SIDE,
    Thumbnail,
    placement_matrix,
    same_picture,
    thumbnail,
    windows,
)
from facemask.data.candidates import VARIANTS, find_candidates
from facemask.data.dataset import Progress, no_progress
from facemask.files import file_digest
from facemask.images import read_image

# Large JPEGs are decoded at a fraction of their size, but not so small that thumbnails differ.
_LEAST_SIDE = 12 * THUMBNAIL_SIDE


class DuplicateCounts(NamedTuple):
    """Numbers of images in the groups of near_duplicate_groups; groups counts single images too."""

    groups: int
    identical: int  # images with the same bytes as another image
    near: int  # images whose group has an image with other bytes


def near_duplicate_groups(
    paths: Sequence[Path],
    digests: Sequence[str] | None = None,
    progress: Progress = no_progress,
    known: Mapping[str, Thumbnail] = MappingProxyType({}),
) -> np.ndarray:
    """Give copies of one picture, exact or altered, the same group number.

    digests: sha256 of each file, computed here if not given. progress: wraps the iterable of files
    read, of blocks compared, and of blocks of candidates, and gets their number as `total` (tqdm,
    for example). known: thumbnails by digest; files of other digests are read.
    Returns (N,) int64, numbered from 0 in order of first appearance. The grouping does not depend
    on the order of paths. Pictures without texture have only exact copies.
    Memory holds thumbnails and parts of the correlations, about 15 kB an image besides `known`.
    Raises FacemaskError for a file that can't be read as an image.
    """
    if not paths:
        return np.empty(0, np.int64)
    if digests is None:
        digests = [file_digest(path) for path in paths]
    contents, firsts, numbers = np.unique(digests, return_index=True, return_inverse=True)
    thumbnails = np.empty((len(firsts), THUMBNAIL_SIDE, THUMBNAIL_SIDE), np.uint8)
    aspects = np.empty(len(firsts))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = pool.map(
            lambda sha256, path: known.get(sha256) or _read_thumbnail(path),
            contents.tolist(),
            [paths[first] for first in firsts],
        )
        for number, result in enumerate(progress(read, total=len(firsts))):
            thumbnails[number], aspects[number] = result
        # Sorted by content, so that the order of paths does not matter.
        rows = thumbnails.reshape(len(firsts), -1)
        order = np.argsort(rows.view(f"S{rows.shape[1]}")[:, 0], kind="stable")
        thumbnails = thumbnails[order]
        groups = np.empty_like(firsts)
        groups[order] = _groups(thumbnails, aspects[order], pool, progress)
    return _numbered_by_appearance(groups[numbers])


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


def _read_thumbnail(path: Path) -> Thumbnail:
    return thumbnail(read_image(path, least_side=_LEAST_SIDE))


def _groups(
    thumbnails: np.ndarray, aspects: np.ndarray, pool: ThreadPoolExecutor, progress: Progress
) -> np.ndarray:
    """Group numbers, (N,), of thumbnails (N, side, side) uint8 of these aspect ratios."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    def same(k: int) -> bool:
        i, j = int(pairs.upright[k]), int(pairs.turned[k])
        placement = placement_matrix(VARIANTS[pairs.variant[k]], aspects[j], THUMBNAIL_SIDE)
        return same_picture(thumbnails[i], thumbnails[j], placement, areas[pairs.window[k]])

    areas = windows(THUMBNAIL_SIDE)
    pairs = find_candidates(thumbnails, aspects, pool, progress)
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
