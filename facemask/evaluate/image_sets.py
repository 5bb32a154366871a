"""The images of a folder that models are measured on: readable, and in no model's training set."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from facemask.data.dataset import Progress, find_class_folders, no_progress
from facemask.data.splits import read_split, split_path
from facemask.errors import FacemaskError
from facemask.evaluate.metrics import Ratio
from facemask.files import file_digest
from facemask.images import list_files, read_image

TrainedOn = Mapping[str, Collection[str]]  # by model, sha256 digests of images
NO_IMAGES: TrainedOn = MappingProxyType({})


class ImageSet:
    """An iterable over the paths and images, (H, W, 3) uint8, BGR, of a set.

    Images that a model was trained on are left out. Iterating adds a line to `problems` for each
    image that can't be read, and raises FacemaskError at the end if none can.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        paths: Sequence[Path],
        problems: Sequence[str],
        trained_on: TrainedOn = NO_IMAGES,
        progress: Progress = no_progress,
    ):
        """name: how the set is called in tables; problems: what was skipped before.

        Raises FacemaskError when models were trained on all images.
        """
        self.name = name
        self.images = 0  # read so far
        self._folder, self._progress = folder, progress
        self._problems = list(problems)
        self._paths = []
        left_out: Counter[str] = Counter()
        for path in paths:
            digest = _digest(path) if trained_on else ""
            seen_by = [model for model, digests in trained_on.items() if digest in digests]
            left_out.update(seen_by)
            if not seen_by:
                self._paths.append(path)
        if not self._paths:
            raise FacemaskError(
                f"{folder}: all {len(paths)} images are ones that {' or '.join(left_out)} was"
                " trained on; expected others (--include-seen keeps them)"
            )
        self.left_out = dict(left_out)  # by model, how many images it was trained on
        self.left_out_of = Ratio(len(paths) - len(self._paths), len(paths))

    def __iter__(self) -> Iterator[tuple[Path, np.ndarray]]:
        for path in self._progress(self._paths, total=len(self._paths)):
            try:
                image = read_image(path)
            except FacemaskError as error:
                self._problems.append(str(error))
                continue
            self.images += 1
            yield path, image
        if not self.images:
            raise FacemaskError(
                f"{self._folder}: expected images, found none that can be read: {self._problems[0]}"
            )

    @property
    def problems(self) -> tuple[str, ...]:
        """Lines with the set's name in place of its path, which may tell of the machine."""
        inside = f"{self._folder}{os.sep}"
        return tuple(line.replace(inside, f"{self.name}/") for line in self._problems)


def read_trained_on(names: Sequence[str], models: Sequence[Path]) -> dict[str, frozenset[str]]:
    """By name, the digests of the images that a model was trained on; of models with a split file.

    Validation images count too: the best epoch was chosen by them.
    Raises FacemaskError for a file that is no split.
    """
    return {
        name: frozenset(digest for digest, part in read_split(file).items() if part != "test")
        for name, file in zip(names, map(split_path, models), strict=True)
        if file.is_file()
    }


def labelled_files(folder: Path, known: Sequence[str]) -> tuple[dict[Path, str], list[str]]:
    """The files of class folders with their classes, and a line for each folder left aside.

    Raises FacemaskError for a missing folder, and for one without files of a known class.
    """
    labels: dict[Path, str] = {}
    problems = []
    folders = find_class_folders(folder)
    for sub in folders:
        files = list_files(sub)
        if sub.name in known:
            labels |= dict.fromkeys(files, sub.name)
        else:
            problems.append(f"{sub}: {len(files)} file(s) of a class that not all models know")
    if not labels:
        names = ", ".join(sub.name for sub in folders) or "no folder"
        raise FacemaskError(
            f"{folder}: expected images in folders named {' or '.join(known)}, found {names}"
        )
    return labels, problems


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError:  # reading the image reports the error
        return ""
