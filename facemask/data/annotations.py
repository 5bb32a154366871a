"""What readers of annotation files have in common: where images lie, and what a file says of one.

pascal_voc, yolo and coco turn files into Annotations; scenes reads their images and checks them.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from facemask.errors import FacemaskError
from facemask.files import reason
from facemask.images import is_document

# Images lie beside their annotations, or in a folder of such a name in place of one of the folders
# above the annotations: labels/train/1.txt, images/train/1.jpg.
IMAGE_FOLDERS = ("images", "Images", "JPEGImages")

# No corner is farther out, pixels: a larger number is no coordinate, and its sums overflow.
MAX_COORDINATE = 1e9


class AnnotatedBox(NamedTuple):
    """A box as a file has it: unchecked, perhaps with its corners in the wrong order."""

    place: str  # in the file, for messages: `object 3`
    label: str
    corners: tuple[float, float, float, float]  # x1, y1, x2, y2; see Annotation.relative


@dataclass
class Annotation:
    """What a file says of one image, which is not read yet."""

    file: Path
    image: Path | None  # None: the file has nothing usable, as the problems say
    boxes: list[AnnotatedBox] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # a line each, with the file's path
    relative: bool = False  # corners are ratios of the image's width and height, not pixels
    size: tuple[str, str] = ("", "")  # width and height in pixels that the file states, if any

    def skip(self, place: str, problem: object) -> None:
        """Note that something in the file is skipped, and why."""
        self.problems.append(f"{self.file}: {place}: {problem}; skipped")


@dataclass(frozen=True)
class AnnotatedFolder:
    """The files below a folder, some of them annotations."""

    root: Path
    files: tuple[Path, ...]

    def with_suffix(self, *suffixes: str) -> list[Path]:
        return [path for path in self.files if path.suffix.lower() in suffixes]

    @cached_property
    def images(self) -> frozenset[Path]:
        """The files that may be images: all but those with the suffix of another kind of file."""
        return frozenset(path for path in self.files if not is_document(path))

    @cached_property
    def _by_folder_and_stem(self) -> dict[tuple[Path, str], list[Path]]:
        images: dict[tuple[Path, str], list[Path]] = defaultdict(list)
        for path in self.files:
            if path in self.images:
                images[path.parent, path.stem].append(path)
        return dict(images)

    def image_folders(self, annotation: Path) -> list[Path]:
        """Where the images of an annotation file may lie, the nearest first."""
        parts = annotation.parent.relative_to(self.root).parts
        folders = [annotation.parent, *(annotation.parent / name for name in IMAGE_FOLDERS)]
        for index in reversed(range(len(parts))):
            folders += [
                self.root.joinpath(*parts[:index], name, *parts[index + 1 :])
                for name in (*IMAGE_FOLDERS, "")
            ]
        return folders

    def image_of(self, annotation: Path, *stems: str, named: str = "") -> Path | None:
        """The image of one of these names without suffix, the first that there is; or None.

        named: a file name that decides between a.jpg and a.png.
        Raises FacemaskError for several images of the name.
        """
        for stem in stems:
            for folder in self.image_folders(annotation):
                candidates = self._by_folder_and_stem.get((folder, stem), [])
                exact = [path for path in candidates if path.name == named]
                if len(exact or candidates) == 1:
                    return (exact or candidates)[0]
                if candidates:
                    names = " and ".join(path.name for path in candidates)
                    raise FacemaskError(
                        f"{annotation}: expected one image of this name, found {names}"
                    )
        return None


def read_bytes(path: Path, most: int, kind: str) -> bytes:
    """The content of a file. Raises FacemaskError, with the kind, for one of more than `most`."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise FacemaskError(f"{path}: can't be read: {reason(error)}") from error
    if len(data) > most:
        raise FacemaskError(f"{path}: expected {kind}: it has more than {most} bytes")
    return data


def coordinates(values: Iterable[Any]) -> list[float]:
    """Values of a file as numbers. Raises ValueError unless all are finite and no nonsense."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from error
    if not all(math.isfinite(number) and abs(number) <= MAX_COORDINATE for number in numbers):
        raise ValueError("a number that is no coordinate")
    return numbers


def around(points: Sequence[float]) -> tuple[float, float, float, float]:
    """The corners of the box around a polygon; points: x, y, x, y, ..."""
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])


def short(value: object) -> str:
    """A value from a file, shortened to one line for a message."""
    return " ".join(str(value)[:400].split())[:60]
