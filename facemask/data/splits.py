"""Split images into training, validation and test parts, and record the split.

scikit-learn has no splitter for this: StratifiedGroupKFold stratifies groups, but into equal folds
only, and GroupShuffleSplit takes any size, but does not stratify.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from facemask.data.dataset import LabelledImages
from facemask.errors import FacemaskError
from facemask.files import reason, write_text

# A photograph with near-duplicates in several parts goes into the last of these parts: a twin of a
# test image is never trained on.
PARTS = ("train", "validation", "test")
# What stays together: near-duplicates, or only identical files and the faces of one photograph.
GROUPED, RANDOM = METHODS = ("grouped", "random")


@dataclass(frozen=True)
class Split:
    """Indices of images, (N,) int64 each, ascending; no image is in two parts."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    method: str = GROUPED  # one of METHODS

    @property
    def digest(self) -> str:
        """sha256 over the parts: equal for equal splits."""
        parts = [f"{name} {getattr(self, name).tolist()}\n" for name in PARTS]
        return hashlib.sha256("".join(parts).encode()).hexdigest()


def split_images(
    images: LabelledImages,
    groups: np.ndarray,
    test_size: float,
    validation_size: float,
    seed: int,
    method: str = GROUPED,
    known: Mapping[str, str] = MappingProxyType({}),
) -> Split:
    """Split images so that groups stay whole and each class of each source is in every part.

    groups: (N,) int64, equal for images that belong together. test_size: fraction of all images;
    validation_size: fraction of the rest. Groups are shuffled by the seed and sorted by size, the
    largest first; each goes to the part that lacks most of its strata. A stratum is a class of a
    source. The same seed gives the same split.
    method: how the groups were found, to be recorded. known: parts by sha256, as read_split gives
    them: these photographs stay in their parts, and the others of their groups go with them.
    Raises FacemaskError when a part would lack a class.
    """
    strata = images.sources * len(images.class_names) + images.labels
    # (groups, strata): the number of images of each stratum in each group.
    numbers = np.unique(groups, return_inverse=True)[1]
    contents = np.zeros((numbers.max() + 1, strata.max() + 1))
    np.add.at(contents, (numbers, strata), 1)
    ratios = np.array(
        [(1 - test_size) * (1 - validation_size), (1 - test_size) * validation_size, test_size]
    )
    wanted = ratios[:, None] * contents.sum(axis=0)  # (parts, strata)
    missing = wanted.copy()
    part_of_known = {name: part for part, name in enumerate(PARTS)}
    recorded = np.array([part_of_known.get(known.get(sha, ""), -1) for sha in images.digests])
    part_of = np.full(len(contents), -1)
    np.maximum.at(part_of, numbers, recorded)
    parts = np.where(recorded >= 0, recorded, part_of[numbers])
    placed = parts >= 0
    np.subtract.at(missing, (parts[placed], strata[placed]), 1)
    order = np.random.default_rng(seed).permutation(len(contents))
    order = order[np.argsort(-contents[order].sum(axis=1), kind="stable")]
    for group in order[part_of[order] < 0]:
        # What each part lacks of the strata that this group has.
        lacks = (missing / np.maximum(wanted, 1e-9)) @ contents[group]
        part_of[group] = int(lacks.argmax())
        missing[part_of[group]] -= contents[group]
    parts = np.where(placed, parts, part_of[numbers])
    train, validation, test = (np.flatnonzero(parts == part) for part in range(3))
    split = Split(train, validation, test, method)
    _check_complete(images, split, len(contents))
    return split


def split_groups(
    groups: np.ndarray, test_size: float, validation_size: float, seed: int
) -> list[str]:
    """The part of each image that has no class, by its group, (N,); groups stay whole.

    test_size: fraction of the groups; validation_size: fraction of the remaining groups.
    Raises FacemaskError for fewer than three groups.
    """
    from sklearn.model_selection import GroupShuffleSplit

    if len(np.unique(groups)) < len(PARTS):
        raise FacemaskError(
            f"expected at least {len(PARTS)} images that are no copies of one another, found"
            f" {len(np.unique(groups))}"
        )
    names = np.full(len(groups), "train", object)
    for name, size in (("test", test_size), ("validation", validation_size)):
        rest = np.flatnonzero(names == "train")
        splitter = GroupShuffleSplit(1, test_size=size, random_state=seed)
        _, chosen = next(splitter.split(rest, groups=groups[rest]))
        names[rest[chosen]] = name
    return names.tolist()


def _check_complete(images: LabelledImages, split: Split, group_count: int) -> None:
    """Raise FacemaskError unless every class is in every part."""
    for name in PARTS:
        counts = np.bincount(images.labels[getattr(split, name)], minlength=len(images.class_names))
        if not counts.all():
            lacking = int(counts.argmin())
            total = int((images.labels == lacking).sum())
            raise FacemaskError(
                f"{', '.join(images.source_names)}: expected images of each class for each of the"
                f" parts {', '.join(PARTS)}, found none of {images.class_names[lacking]} for"
                f" {name}: it has {total} images, and all images make {group_count} groups that"
                " must stay together"
            )


def split_path(model: str | os.PathLike[str]) -> Path:
    """The path of a model's split, beside it: `mask_detector.split.json`."""
    return Path(model).with_suffix(".split.json")


def write_split(
    path: str | os.PathLike[str], images: LabelledImages, split: Split, seed: int
) -> None:
    """Write the split of images for read_split and read_method."""
    parts = {
        images.digests[index]: name for name in PARTS for index in getattr(split, name).tolist()
    }
    write_parts(path, parts, split.method, seed)


def write_parts(
    path: str | os.PathLike[str], parts: Mapping[str, str], method: str, seed: int
) -> None:
    """Write the part of each photograph, by its sha256, and how the parts were chosen."""
    record = {"method": method, "seed": seed, "parts": dict(sorted(parts.items()))}
    write_text(path, json.dumps(record, indent=0) + "\n")


def read_split(path: str | os.PathLike[str]) -> dict[str, str]:
    """The part ("train", "validation" or "test") of each photograph, by its sha256 in hex.

    Raises FacemaskError for a file that is missing or no such record.
    """
    return _read_record(Path(path))["parts"]


def read_method(path: str | os.PathLike[str]) -> str:
    """How the images of a recorded split were grouped, one of METHODS. Raises as read_split."""
    method = _read_record(Path(path)).get("method")
    return RANDOM if method == RANDOM else GROUPED


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        parts = record["parts"]
        if not set(parts.values()) <= set(PARTS):
            raise ValueError("unknown part")
    except OSError as error:
        raise FacemaskError(f"{path}: can't be read: {reason(error)}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FacemaskError(
            f'{path}: expected a split as training writes it, {{"parts": {{sha256: part}}}},'
            f" found something else ({error})"
        ) from error
    return record
