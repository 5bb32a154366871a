"""Where labels stand on a picture: beside their faces, and never over other faces or labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from facemask.geometry import FaceBox, as_array, intersections

# Sizes of letters, pixels an em. A picture is shown on about 1,600 pixels of a screen, where
# letters of less than 14 are hard to read; in a small picture, of less than 12.
SMALLEST_PX = 12
SMALLEST_RATIO = 1 / 110  # of the longer side of the picture
LARGEST_RATIO = 1 / 24  # of the shorter side
LEGEND_SIZE = 1.2  # of the legend's letters, in the smallest size
# The whole text is about this much wider than its face, if letters of a legible size allow it.
TEXT_RATIO = 1.2
# A label that is wider than this, in widths of its face, could be taken for that of a face nearby.
# No other face or label is nearer to it than its height.
WIDE_RATIO = 1.5
# Where no side of a face is free, its label may cover this much of its height.
INSIDE_RATIO = 1 / 5
# A legend takes at most this ratio of the picture's width and height.
LEGEND_RATIO = 1 / 2
LEGEND_STEPS = 9  # places that are tried along each edge

# Width and height, in pixels, of a text in letters of a size.
Measure = Callable[[str, int], tuple[int, int]]


class LetterSizes(NamedTuple):
    """Sizes of letters, pixels an em."""

    smallest: int
    legend: int
    largest: int


@dataclass(frozen=True)
class Placement:
    """Where a label stands: its text, the size of its letters, and its upper left corner."""

    text: str
    size: int  # pixels an em
    x: int
    y: int


def letter_sizes(width: int, height: int) -> LetterSizes:
    """The sizes of letters on a picture of width x height pixels."""
    smallest = max(SMALLEST_PX, round(max(width, height) * SMALLEST_RATIO))
    largest = max(smallest, round(min(width, height) * LARGEST_RATIO))
    return LetterSizes(smallest, min(largest, round(smallest * LEGEND_SIZE)), largest)


def line_width(face: FaceBox, width: int, height: int) -> int:
    """How thick the box of a face is on a picture of width x height pixels."""
    thinnest = max(1, round(max(width, height) / 800))
    thickest = max(thinnest, round(min(width, height) / 160))
    return min(max(round(min(face.width, face.height) / 30), thinnest), thickest)


def place_labels(
    faces: Sequence[FaceBox],
    texts: Sequence[Sequence[str]],
    size: tuple[int, int],
    measure: Measure,
    taken: Sequence[tuple[int, int, int, int]] = (),
) -> list[Placement | None]:
    """Where the label of each face stands; None for a face whose box is to be drawn alone.

    faces: the most important first; it has the first choice. texts: for each face its texts, from
    the longest to the shortest. size: (width, height) of the picture. taken: rectangles, xyxy, that
    labels keep off.
    A label stands above its face, below or beside it, wholly inside the picture, and touches no
    face and no other label. Only where no side is free it may stand inside its own large face. Long
    texts are tried first, in letters that suit the face and then in the smallest.
    """
    smallest, _, largest = letter_sizes(*size)
    # Faces, what is taken, and a row for each label; an empty row overlaps nothing.
    labels = np.zeros((len(faces), 4))
    occupied = np.vstack([as_array(faces), np.reshape(taken, (-1, 4)), labels])
    placements: list[Placement | None] = []
    for index, (face, choices) in enumerate(zip(faces, texts, strict=True)):
        ratio = measure(choices[0], largest)[0] / largest
        fitting = min(max(int(TEXT_RATIO * face.width / ratio), smallest), largest)
        occupied[index] = 0
        placement = None
        for text, letters in product(choices, dict.fromkeys((fitting, smallest))):
            extent = measure(text, letters)
            if corner := _free_corner(face, extent, occupied, size):
                placement = Placement(text, letters, *corner)
                occupied[~index] = *corner, corner[0] + extent[0], corner[1] + extent[1]
                break
        occupied[index] = face.corners
        placements.append(placement)
    return placements


def _free_corner(
    face: FaceBox, extent: tuple[int, int], occupied: np.ndarray, size: tuple[int, int]
) -> tuple[int, int] | None:
    """The upper left corner of the first free place for a label at a face, or None.

    extent, size: (width, height) of the label and of the picture. occupied: (N, 4), xyxy.
    """
    wide, high = extent
    last_x, last_y = size[0] - wide, size[1] - high
    left, right = (min(max(0, x), last_x) for x in (face.x1, face.x2 - wide))
    middle = min(max(0, (face.y1 + face.y2 - high) // 2), last_y)
    above, below = face.y1 - high, face.y2
    corners = [
        (left, above), (left, below), (right, above), (right, below),
        (face.x2, middle), (face.x1 - wide, middle),
    ]  # fmt: skip
    if high <= INSIDE_RATIO * face.height and wide <= face.width:
        corners += [(left, max(0, face.y1)), (left, min(size[1], face.y2) - high)]
    corners = [(x, y) for x, y in corners if 0 <= x <= last_x and 0 <= y <= last_y]
    room = high if wide > WIDE_RATIO * face.width else 0
    grown = [(x - room, y - room, x + wide + room, y + high + room) for x, y in corners]
    shared = intersections(np.array(grown, float).reshape(-1, 1, 4), occupied)
    free = ~shared.any(axis=1)
    return corners[int(free.argmax())] if free.any() else None


def place_legend(
    faces: Sequence[FaceBox], extent: tuple[int, int], size: tuple[int, int]
) -> tuple[int, int] | None:
    """The upper left corner of a legend: in a corner of the picture, or else at an edge.

    Of these places it is the first that covers least of the faces. The upper left corner of the
    picture is not one of them: there is the status of a video.
    extent, size: (width, height) of the legend and of the picture. None where the legend is too
    large for the picture.
    """
    free = np.subtract(size, extent)
    if np.any(free < np.multiply(1 - LEGEND_RATIO, size)):
        return None
    steps = np.linspace(0, 1, LEGEND_STEPS)
    along = np.concatenate([
        [(0, 1), (1, 1), (1, 0)],
        *([(step, 1), (1, step), (0, step)] for step in steps[1:-1]),
    ])  # fmt: skip
    starts = np.rint(along * free)
    legends = np.hstack([starts, starts + extent])
    covered = intersections(legends[:, None], as_array(faces)).sum(1)
    x, y = starts[covered.argmin()].astype(int).tolist()
    return x, y
