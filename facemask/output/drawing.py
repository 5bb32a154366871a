"""Boxes and labels on a picture."""

from collections.abc import Sequence

import cv2
import numpy as np

from facemask.detect.types import MaskDetection
from facemask.output.labels import class_style, label_text

FONT = cv2.FONT_HERSHEY_SIMPLEX
SMALLEST_SCALE = 0.45  # of the font, that can still be read


def draw_detections(
    image: np.ndarray, detections: Sequence[MaskDetection], *, in_place: bool = False
) -> np.ndarray:
    """A copy of the image (H, W, 3) uint8, BGR, with a box and a label for each detection.

    Lines and letters grow with the image. Letters are smaller at small faces, but stay legible. A
    label stays inside the image.
    detections: the highest-scoring first. in_place: draw on the image itself and return it; a copy
    of 3840x2160 pixels would take 2 ms and 25 MB.
    """
    drawn = image if in_place else image.copy()
    # In reverse, so that the highest-scoring face is on top where faces overlap.
    for detection in reversed(detections):
        _draw(drawn, detection)
    return drawn


def draw_status(image: np.ndarray, text: str) -> None:
    """Draw white text into the upper left corner of an image (H, W, 3) uint8, in place."""
    largest = max(SMALLEST_SCALE, min(image.shape[:2]) / 700)
    scale, thickness, (_, text_height), baseline = _fit_text(text, largest, image.shape[1])
    _write(image, text, (baseline, text_height + baseline), scale, (255, 255, 255), thickness)


def _draw(image: np.ndarray, detection: MaskDetection) -> None:
    height, width = image.shape[:2]
    face = detection.face
    _, colour = class_style(detection.label)
    line = max(1, round(min(height, width) / 300))
    cv2.rectangle(image, (face.x1, face.y1), (face.x2 - 1, face.y2 - 1), colour, line)

    text = label_text(detection)
    largest = max(SMALLEST_SCALE, min(height, width) / 600)
    at_face = max(SMALLEST_SCALE, 1.6 * face.width / _text_width(text))
    scale, thickness, (text_width, text_height), baseline = _fit_text(
        text, min(largest, at_face), width
    )
    gap = line + max(2, thickness)
    above = face.y1 - gap - baseline // 2
    below = face.y2 + gap + text_height
    inside = face.y1 + gap + text_height
    y = next((y for y in (above, below, inside) if text_height <= y <= height - baseline), inside)
    y = min(max(y, text_height), max(height - baseline, text_height))
    x = min(max(face.x1, 0), max(0, width - text_width))
    _write(image, text, (x, y), scale, colour, thickness)


def _write(
    image: np.ndarray,
    text: str,
    at: tuple[int, int],
    scale: float,
    colour: tuple[int, int, int],
    thickness: int,
) -> None:
    """Draw letters with a rim, so that they are legible on any background.

    The rim is dark around light colours, and otherwise light. at: lower left corner, (x, y).
    """
    light = np.dot(colour, (0.114, 0.587, 0.299)) > 127  # luma of BGR, Rec. 601
    rim = (0, 0, 0) if light else (255, 255, 255)
    for ink, extra in ((rim, 2 * thickness), (colour, 0)):
        cv2.putText(image, text, at, FONT, scale, ink, thickness + extra, cv2.LINE_AA)


def _fit_text(text: str, scale: float, width: int) -> tuple[float, int, tuple[int, int], int]:
    """Font scale, thickness, size (width, height) and baseline, in pixels, of a line of text.

    The scale is the given one, or less where the text is wider than `width` pixels.
    """
    scale = min(scale, 0.95 * width / _text_width(text))
    thickness = max(1, round(scale * 1.8))
    size, baseline = cv2.getTextSize(text, FONT, scale, thickness)
    return scale, thickness, (size[0], size[1]), baseline


def _text_width(text: str) -> int:
    """Width in pixels at font scale 1."""
    return cv2.getTextSize(text, FONT, 1.0, 1)[0][0]
