"""The images of a folder that models are measured on: readable, and in no model's training set."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facemask.class_names import same_class
from facemask.data.dataset import Progress, find_class_folders
from facemask.data.splits import read_split, split_path
from facemask.errors import FacemaskError
from facemask.evaluate.metrics import Ratio
from facemask.files import file_digest
from facemask.images import list_files, read_image

TrainedOn = Mapping[str, Collection[str]]  # by model, sha256 digests of images


def read_unseen(
    folder: Path,
    paths: Sequence[Path],
    record: dict[str, Any],
    trained_on: TrainedOn,
    progress: Progress,
) -> Iterator[tuple[Path, np.ndarray]]:
    """Paths and images, (H, W, 3) uint8, BGR, without the images that a model was trained on.

    record: of the set, see runner; gets how many images there are, and were left out. Its problems
    get a line for each image that can't be read, and at the end the set's name in place of its
    path, which may tell of the machine.
    Raises FacemaskError where models were trained on all images, or none can be read.
    """
    unseen: list[Path] = []
    left_out: Counter[str] = Counter()
    for path in progress(paths, total=len(paths)) if trained_on else paths:
        content = digest(path) if trained_on else ""
        seen_by = [model for model, digests in trained_on.items() if content in digests]
        left_out.update(seen_by)
        if not seen_by:
            unseen.append(path)
    if not unseen:
        raise FacemaskError(
            f"{folder}: all {len(paths)} images are ones that {' or '.join(left_out)} was"
            " trained on; expected others (--include-seen keeps them)"
        )
    images, problems = 0, record["problems"]
    for path in progress(unseen, total=len(unseen)):
        try:
            image = read_image(path)
        except FacemaskError as error:
            problems.append(str(error))
            continue
        images += 1
        yield path, image
    if not images:
        raise FacemaskError(
            f"{folder}: expected images, found none that can be read: {problems[0]}"
        )
    record["images"] = images
    record["left_out"] = dict(left_out)
    record["left_out_of"] = Ratio(len(paths) - len(unseen), len(paths))
    record["problems"] = [without_paths(line, folder, record["name"]) for line in problems]


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

    known: the classes' names; a folder may have another name that means the same.
    Raises FacemaskError for a missing folder, and for one without files of a known class.
    """
    labels: dict[Path, str] = {}
    problems = []
    folders = find_class_folders(folder)
    for sub in folders:
        files = list_files(sub)
        if label := same_class(sub.name, known):
            labels |= dict.fromkeys(files, label)
        else:
            problems.append(f"{sub}: {len(files)} file(s) of a class that not all models know")
    if not labels:
        names = ", ".join(sub.name for sub in folders) or "no folder"
        raise FacemaskError(
            f"{folder}: expected images in folders named {' or '.join(known)}, found {names}"
        )
    return labels, problems


def without_paths(line: str, folder: Path, name: str) -> str:
    """A message about a set with the set's name in place of its path.

    A path may tell of the machine. Of what lies beside the folder the file's name alone remains.
    """
    whole = f"{folder}: "
    if line.startswith(whole):
        line = f"{name}: {line.removeprefix(whole)}"
    folder = folder.parent if folder.is_file() else folder
    line = line.replace(f"{folder}{os.sep}", f"{name}/")
    return line.replace(f"{folder.parent}{os.sep}", "") if folder.is_absolute() else line


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """A name for each path: its last part, with as many folders as tell it from the others.

    `a/m.keras` and `b/m.keras` are called so, and `c/n.keras` is called `n.keras`. A path that
    comes again gets a number.
    """
    absolute = [Path(os.path.abspath(path)) for path in paths]  # a link keeps its own name
    parents = [path.parent.parts for path in absolute]
    common = len(os.path.commonprefix(parents))  # pyright: ignore # noqa: RUF071 - of whole parts
    tails = [path.parts[common:] for path in absolute]
    names = []
    for own in tails:
        others = [tail for tail in tails if tail != own]
        counts = range(1, len(own))
        differing = (n for n in counts if all(tail[-n:] != own[-n:] for tail in others))
        names.append("/".join(own[-next(differing, len(own)) :]))
    return numbered(names)


def numbered(names: Sequence[str]) -> list[str]:
    """The names, with a number where one comes again."""
    taken: list[str] = []
    for name in names:
        free, number = name, 1
        while free in taken:
            number += 1
            free = f"{name} ({number})"
        taken.append(free)
    return taken


def digest(path: Path) -> str:
    """The sha256 of a file's bytes; empty for one that can't be read."""
    try:
        return file_digest(path)
    except OSError:  # reading the image reports the error
        return ""
