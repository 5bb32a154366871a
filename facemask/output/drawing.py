"""Boxes, labels and a legend on a picture."""

from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np

from facemask.class_names import INCORRECT, WITHOUT_MASK, meaning
from facemask.detect.types import MaskDetection
from facemask.geometry import FaceBox
from facemask.output.labels import class_style, class_word, label_text, short_text
from facemask.output.layout import letter_sizes, line_width, place_labels, place_legend
from facemask.output.lettering import ink_on, render, text_size

# What is drawn over all else, the topmost last. Its boxes have thick corners, all four or only the
# lower two, for those who can't tell its colour from green.
ON_TOP = (INCORRECT, WITHOUT_MASK)
CORNER_RATIO = 1 / 4  # of the box's side
RIM = (0, 0, 0)  # around boxes, for pictures that are as bright as the box's colour
PANEL, WHITE = (40, 40, 40), (255, 255, 255)  # behind the legend and the status


def draw_detections(
    image: np.ndarray, detections: Sequence[MaskDetection], *, in_place: bool = False
) -> np.ndarray:
    """A copy of the image (H, W, 3) uint8, BGR, with a box and a label for each detection.

    Lines and letters grow with the image and with the face. Labels cover no face that has a free
    side. Where faces stand close, labels are shorter or left out, and a legend in a corner says
    what the colours mean and how many faces have each; see layout.place_labels.
    detections: the highest-scoring first. in_place: draw on the image itself and return it; a copy
    of 3840x2160 pixels would take 2 ms and 25 MB.
    """
    drawn = image if in_place else image.copy()
    size = image.shape[1], image.shape[0]
    # Faces without a proper mask choose their place first, and are drawn last: nothing hides them.
    ordered = sorted(detections, key=lambda detection: -_rank(detection.label))
    boxes = [_outline(detection, size) for detection in ordered]
    texts = [(label_text(detection), short_text(detection)) for detection in ordered]
    labels = place_labels(boxes, texts, size, text_size)
    if [label and label.text for label in labels] != [whole for whole, _ in texts]:
        legend = _legend([detection.label for detection in ordered], size)
        extent = legend.shape[1], legend.shape[0]
        if corner := place_legend(boxes, extent, size):
            _paste(drawn, legend, *corner)
            taken = [(*corner, corner[0] + extent[0], corner[1] + extent[1])]
            labels = place_labels(boxes, texts, size, text_size, taken)
    for detection in reversed(ordered):
        _draw_box(drawn, detection.face, detection.label, line_width(detection.face, *size))
    for detection, label in zip(ordered, labels, strict=True):
        if label:
            fill = class_style(detection.label)[1]
            _paste(drawn, render(label.text, label.size, fill, ink_on(fill)), label.x, label.y)
    return drawn


def draw_status(image: np.ndarray, text: str) -> None:
    """Draw a line of text into the upper left corner of an image (H, W, 3) uint8, in place."""
    height, width = image.shape[:2]
    sizes = letter_sizes(width, height)
    fitting = sizes.legend * width // text_size(text, sizes.legend)[0]
    _paste(image, render(text, min(sizes.legend, max(sizes.smallest, fitting)), PANEL, WHITE), 0, 0)


def _rank(label: str) -> int:
    """How far on top a class is drawn: 1 and more for those of ON_TOP, otherwise 0."""
    meant = meaning(label)
    return ON_TOP.index(meant) + 1 if meant in ON_TOP else 0


def _legend(labels: Sequence[str], size: tuple[int, int]) -> np.ndarray:
    """A line for each class: a box as its faces have, and their number; (h, w, 3) uint8, BGR.

    labels: of all faces, in the order of the lines. size: (width, height) of the picture.
    """
    counts = Counter(labels)
    lines = [
        render(f"{class_word(label)} {count}", letter_sizes(*size).legend, PANEL, WHITE)
        for label, count in counts.items()
    ]
    high, wide = lines[0].shape[0], max(line.shape[1] for line in lines)
    legend = np.full((high * len(lines), high + wide, 3), PANEL, np.uint8)
    for row, (label, line) in enumerate(zip(counts, lines, strict=True)):
        _paste(legend, line, high, row * high)
        cell = FaceBox(0, row * high, high, (row + 1) * high, confidence=1.0)
        _draw_box(legend, cell.expand(-0.25), label, max(1, high // 16))
    return legend


def _outline(detection: MaskDetection, size: tuple[int, int]) -> FaceBox:
    """The face with all lines of its box, on a picture of size = (width, height)."""
    line = line_width(detection.face, *size)
    return _grow(detection.face, _corner_width(line) if _rank(detection.label) else line)


def _corner_width(line: int) -> int:
    return 2 * line


def _grow(box: FaceBox, pixels: int) -> FaceBox:
    x1, y1, x2, y2 = box.corners
    return FaceBox(x1 - pixels, y1 - pixels, x2 + pixels, y2 + pixels, box.confidence)


def _draw_box(image: np.ndarray, face: FaceBox, label: str, line: int) -> None:
    """Draw the box of a face, in place. Of its lines only the innermost pixel is in the face."""
    rank, (width, height) = _rank(label), (face.width, face.height)
    for colour, rim in ((RIM, 1 + line // 4), (class_style(label)[1], 0)):
        strokes = _frame(face, line + rim, width, height)
        if rank:
            sides = (round(CORNER_RATIO * side) + rim for side in (width, height))
            corners = _frame(face, _corner_width(line) + rim, *sides)
            strokes += corners if rank == len(ON_TOP) else corners[4:]
        for x1, y1, x2, y2 in strokes:
            cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), colour, cv2.FILLED)


def _frame(face: FaceBox, line: int, wide: int, high: int) -> list[tuple[int, int, int, int]]:
    """The strokes around a face, xyxy: in each corner one `wide` and one `high` pixels long.

    line: their thickness, pixels. The first four are those of the upper corners.
    """
    x1, y1, x2, y2 = _grow(face, line - 1).corners
    wide, high = wide + line - 1, high + line - 1
    return [
        *((x1, y1, x1 + wide, y1 + line), (x1, y1, x1 + line, y1 + high)),
        *((x2 - wide, y1, x2, y1 + line), (x2 - line, y1, x2, y1 + high)),
        *((x1, y2 - line, x1 + wide, y2), (x1, y2 - high, x1 + line, y2)),
        *((x2 - wide, y2 - line, x2, y2), (x2 - line, y2 - high, x2, y2)),
    ]


def _paste(image: np.ndarray, picture: np.ndarray, x: int, y: int) -> None:
    """Put a picture (h, w, 3) onto an image, in place; what reaches beyond the image is cut off."""
    region = image[y : y + picture.shape[0], x : x + picture.shape[1]]
    region[:] = picture[: region.shape[0], : region.shape[1]]
