"""Parting images into training, validation and test parts; and writing down which is in which."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facemask.data.dataset import LabelledImages
from facemask.errors import FacemaskError
from facemask.files import reason, replacing

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Indices of images, (N,) int64 each, ascending; no image is in two parts."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def digest(self) -> str:
        """sha256 over the parts: equal for equal splits of equal data."""
        parts = [f"{name} {getattr(self, name).tolist()}\n" for name in PARTS]
        return hashlib.sha256("".join(parts).encode()).hexdigest()


def split_images(
    images: LabelledImages,
    groups: np.ndarray,
    test_size: float,
    validation_size: float,
    seed: int,
) -> Split:
    """Part the images so that no group is in two parts, and each class of each source in all.

    groups: (N,) int64, equal for images that belong together; np.arange(N) parts each by itself.
    test_size: fraction of all images; validation_size: fraction of what is left. The groups go,
    in random order but the largest first, to the part that is furthest from having its share of
    their classes; the same seed gives the same split.
    Raises FacemaskError when a part would lack a class.
    """
    strata = images.sources * len(images.class_names) + images.labels
    # (groups, strata): how many images of each stratum a group has.
    numbers = np.unique(groups, return_inverse=True)[1]
    contents = np.zeros((numbers.max() + 1, strata.max() + 1))
    np.add.at(contents, (numbers, strata), 1)
    shares = np.array(
        [(1 - test_size) * (1 - validation_size), (1 - test_size) * validation_size, test_size]
    )
    wanted = shares[:, None] * contents.sum(axis=0)  # (parts, strata)
    missing = wanted.copy()
    order = np.random.default_rng(seed).permutation(len(contents))
    order = order[np.argsort(-contents[order].sum(axis=1), kind="stable")]
    part_of = np.zeros(len(contents), int)
    for group in order:
        # How far each part is from its share, in the strata that this group has.
        lacks = (missing / np.maximum(wanted, 1e-9)) @ contents[group]
        part_of[group] = int(lacks.argmax())
        missing[part_of[group]] -= contents[group]
    train, validation, test = (np.flatnonzero(part_of[numbers] == part) for part in range(3))
    split = Split(train, validation, test)
    _check_complete(images, split, len(contents))
    return split


def part_groups(
    groups: np.ndarray, test_size: float, validation_size: float, seed: int
) -> list[str]:
    """A part for each image that has no class, (N,) group numbers; no group is in two parts.

    The sizes are as split_images takes them. Groups go to their parts in random order, and each
    part gets one while there are three.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    order = np.random.default_rng(seed).permutation(numbers.max() + 1)
    sizes = np.bincount(numbers)[order]
    before = np.cumsum(sizes) - sizes  # images in the groups that come first
    test = max(1, round(test_size * len(groups)))
    validation = max(1, round((1 - test_size) * validation_size * len(groups)))
    # The first group is of the test, whatever its size; the next that begins behind it, and so on.
    validation_from = int(np.searchsorted(before, test))
    train_from = max(validation_from + 1, int(np.searchsorted(before, test + validation)))
    part_of = np.full(len(order), "train", object)
    part_of[order[:train_from]] = "validation"
    part_of[order[:validation_from]] = "test"
    return part_of[numbers].tolist()


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
    """Where the split of a model is written: beside it, `mask_detector.split.json`."""
    return Path(model).with_suffix(".split.json")


def write_split(
    path: str | os.PathLike[str], images: LabelledImages, split: Split, method: str, seed: int
) -> None:
    """Write the part of each photograph, known by its sha256, and how it was chosen."""
    parts = {
        images.digests[index]: name for name in PARTS for index in getattr(split, name).tolist()
    }
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        record = {"method": method, "seed": seed, "parts": dict(sorted(parts.items()))}
        json.dump(record, file, indent=0)
        file.write("\n")


def read_split(path: str | os.PathLike[str]) -> dict[str, str]:
    """The part ("train", "validation" or "test") of each photograph, by its sha256 in hex.

    Raises FacemaskError for a file that is missing or no such record.
    """
    path = Path(path)
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))["parts"]
        if not all(part in PARTS for part in parts.values()):
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
    """The split that a file records, for the same photographs under any names.

    Photographs that the record does not know are left out of all parts.
    Raises FacemaskError for a file that is no record, or when a part would lack a class.
    """
    parts = read_split(path)
    found = np.array([parts.get(digest, "") for digest in images.digests])
    split = Split(*(np.flatnonzero(found == name) for name in PARTS))
    _check_complete(images, split, len(set(images.digests)))
    return split
