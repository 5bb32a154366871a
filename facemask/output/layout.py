"""Where labels stand on a picture: beside their faces, and never over other faces or labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from facemask.geometry import FaceBox, as_array, intersections

# Sizes of letters, pixels an em. A picture is shown on about 1,600 pixels of a screen, where
# letters of less than 14 are hard to read; in a small picture, of less than 11.
SMALLEST_PX = 11
SMALLEST_RATIO = 1 / 110  # of the longer side of the picture
LARGEST_RATIO = 1 / 24  # of the shorter side
# The whole text is about this much wider than its face, if letters of a legible size allow it.
TEXT_RATIO = 1.2
# A label that is wider than this, in widths of its face, could be taken for that of a face nearby.
# No other face or label is nearer to it than its height.
WIDE_RATIO = 2.0
# Where no side of a face is free, its label may cover this much of its height.
INSIDE_RATIO = 1 / 5
# A legend takes at most this ratio of the picture's width and height.
LEGEND_RATIO = 1 / 2
LEGEND_STEPS = 9  # places that are tried along each edge

# Width and height, in pixels, of a text in letters of a size.
Measure = Callable[[str, int], tuple[int, int]]


@dataclass(frozen=True)
class Placement:
    """Where a label stands: its text, the size of its letters, and its upper left corner."""

    text: str
    size: int  # pixels an em
    x: int
    y: int


def letter_sizes(width: int, height: int) -> tuple[int, int]:
    """The smallest and the largest size of letters on a picture, pixels an em."""
    smallest = max(SMALLEST_PX, round(max(width, height) * SMALLEST_RATIO))
    return smallest, max(smallest, round(min(width, height) * LARGEST_RATIO))


def line_width(face: FaceBox, width: int, height: int) -> int:
    """How thick the box of a face is on a picture of width x height pixels."""
    thinnest = max(1, round(max(width, height) / 800))
    thickest = max(thinnest, round(min(width, height) / 240))
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
    width, height = size
    smallest, largest = letter_sizes(width, height)
    boxes = as_array(faces)
    occupied = [np.array(taken, float).reshape(-1, 4)]
    placements: list[Placement | None] = []
    for index, (face, choices) in enumerate(zip(faces, texts, strict=True)):
        ratio = measure(choices[0], largest)[0] / largest
        fitting = min(max(int(TEXT_RATIO * face.width / ratio), smallest), largest)
        others = np.concatenate([np.delete(boxes, index, axis=0), *occupied])
        placement = None
        for text in choices:
            for letters in dict.fromkeys((fitting, smallest)):
                extent = measure(text, letters)
                corner = _free_corner(face, extent, others, size)
                if corner:
                    placement = Placement(text, letters, *corner)
                    occupied.append(np.array([[*corner, *np.add(corner, extent)]], float))
                    break
            if placement:
                break
        placements.append(placement)
    return placements


def _free_corner(
    face: FaceBox,
    extent: tuple[int, int],
    others: np.ndarray,
    size: tuple[int, int],
) -> tuple[int, int] | None:
    """The upper left corner of the first free place for a label at a face, or None.

    extent, size: (width, height) of the label and of the picture. others: (N, 4), xyxy.
    """
    (wide, high), (width, height) = extent, size
    if wide > width or high > height:
        return None
    left = min(max(0, face.x1), width - wide)
    right = min(max(0, face.x2 - wide), width - wide)
    middle = min(max(0, (face.y1 + face.y2 - high) // 2), height - high)
    above, below = face.y1 - high, face.y2
    corners = [
        (left, above), (left, below), (right, above), (right, below),
        (face.x2, middle), (face.x1 - wide, middle),
    ]  # fmt: skip
    if high <= INSIDE_RATIO * face.height and wide <= face.width:
        corners += [(left, max(0, face.y1)), (left, min(height, face.y2) - high)]
    starts = np.array(corners, float)
    labels = np.hstack([starts, starts + extent])
    room = high if wide > WIDE_RATIO * face.width else 0
    grown = labels + np.array([-room, -room, room, room])
    free = (labels[:, :2] >= 0).all(1) & (labels[:, 2:] <= size).all(1)
    free &= ~(intersections(grown[:, None], others) > 0).any(1)
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
