"""Split images into training, validation and test parts, and record the split.

scikit-learn has no splitter for this: StratifiedGroupKFold stratifies groups, but into equal folds
only, and GroupShuffleSplit takes any size, but does not stratify.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facemask.data.dataset import LabelledImages
from facemask.errors import FacemaskError
from facemask.files import reason, write_text

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Indices of images, (N,) int64 each, ascending; no image is in two parts."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

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
) -> Split:
    """Split images so that groups stay whole and each class of each source is in every part.

    groups: (N,) int64, equal for images that belong together. test_size: fraction of all images;
    validation_size: fraction of the rest. Groups are shuffled by the seed and sorted by size, the
    largest first; each goes to the part that lacks most of its strata. A stratum is a class of a
    source. The same seed gives the same split.
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
    order = np.random.default_rng(seed).permutation(len(contents))
    order = order[np.argsort(-contents[order].sum(axis=1), kind="stable")]
    part_of = np.zeros(len(contents), int)
    for group in order:
        # What each part lacks of the strata that this group has.
        lacks = (missing / np.maximum(wanted, 1e-9)) @ contents[group]
        part_of[group] = int(lacks.argmax())
        missing[part_of[group]] -= contents[group]
    train, validation, test = (np.flatnonzero(part_of[numbers] == part) for part in range(3))
    split = Split(train, validation, test)
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
    path: str | os.PathLike[str], images: LabelledImages, split: Split, method: str, seed: int
) -> None:
    """Write the part of each photograph, by its sha256, and how the parts were chosen."""
    parts = {
        images.digests[index]: name for name in PARTS for index in getattr(split, name).tolist()
    }
    record = {"method": method, "seed": seed, "parts": dict(sorted(parts.items()))}
    write_text(path, json.dumps(record, indent=0) + "\n")


def read_split(path: str | os.PathLike[str]) -> dict[str, str]:
    """The part ("train", "validation" or "test") of each photograph, by its sha256 in hex.

    Raises FacemaskError for a file that is missing or no such record.
    """
    path = Path(path)
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))["parts"]
        if not set(parts.values()) <= set(PARTS):
            raise ValueError("unknown part")
    except OSError as error:
        raise FacemaskError(f"{path}: can't be read: {reason(error)}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FacemaskError(
            f'{path}: expected a split as training writes it, {{"parts": {{sha256: part}}}},'
            f" found something else ({error})"
        ) from error
    return parts


def repeated_split(images: LabelledImages, path: str | os.PathLike[str]) -> Split:
    """The recorded split of the same photographs, whatever their file names.

    Photographs that are not in the record are in none of the parts.
    Raises FacemaskError for a file that is no such record, or when a part would lack a class.
    """
    parts = read_split(path)
    names = np.array([parts.get(digest, "") for digest in images.digests])
    split = Split(*(np.flatnonzero(names == name) for name in PARTS))
    _check_complete(images, split, len(set(images.digests)))
    return split
