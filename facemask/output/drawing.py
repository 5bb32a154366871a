"""Boxes and labels on a picture; the one place that knows the classes' words and colours."""

from collections.abc import Sequence

import cv2
import numpy as np

from facemask.detect.types import MaskDetection
from facemask.output.labels import CLASS_STYLES, OTHER_COLOUR, label_text

FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_detections(
    image: np.ndarray, detections: Sequence[MaskDetection], *, in_place: bool = False
) -> np.ndarray:
    """A copy of the image (H, W, 3) uint8, BGR, with a box and a label for each detection.

    Line width and letters grow with the image, letters shrink beside small faces (but stay
    legible), and a label stays inside the image. in_place: draw on the image itself, and return
    it; a copy of 3840x2160 pixels takes 2 ms and 25 MB.
    """
    drawn = image if in_place else image.copy()
    # The least sure first, so that the surest lie on top where faces overlap.
    for detection in reversed(detections):
        _draw(drawn, detection)
    return drawn


def draw_status(image: np.ndarray, text: str) -> None:
    """Write a line into the image's upper left corner, as large as labels get at most."""
    height, width = image.shape[:2]
    one_width = cv2.getTextSize(text, FONT, 1.0, 1)[0][0]
    scale = min(max(0.45, min(height, width) / 700), 0.95 * width / one_width)
    thickness = max(1, round(scale * 1.8))
    (_, text_height), baseline = cv2.getTextSize(text, FONT, scale, thickness)
    _write(image, text, (baseline, text_height + baseline), scale, (255, 255, 255), thickness)


def _draw(image: np.ndarray, detection: MaskDetection) -> None:
    height, width = image.shape[:2]
    face = detection.face
    _, colour = CLASS_STYLES.get(detection.label, ("", OTHER_COLOUR))
    line = max(1, round(min(height, width) / 300))
    cv2.rectangle(image, (face.x1, face.y1), (face.x2 - 1, face.y2 - 1), colour, line)

    text = label_text(detection)
    scale, thickness, (text_width, text_height), baseline = _fitted(text, face.width, image.shape)
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
    """Letters with a rim, legible on any background: dark around light colours, else light."""
    light = np.dot(colour, (0.114, 0.587, 0.299)) > 127  # luma of BGR, Rec. 601
    rim = (0, 0, 0) if light else (255, 255, 255)
    for ink, extra in ((rim, 2 * thickness), (colour, 0)):
        cv2.putText(image, text, at, FONT, scale, ink, thickness + extra, cv2.LINE_AA)


def _fitted(
    text: str, face_width: int, shape: tuple[int, ...]
) -> tuple[float, int, tuple[int, int], int]:
    """Font scale, thickness, text size (width, height) and baseline, pixels, of a label."""
    height, width = shape[:2]
    largest = max(0.45, min(height, width) / 600)  # 0.45 is the least that can be read
    one_width = cv2.getTextSize(text, FONT, 1.0, 1)[0][0]
    beside_face = max(0.45, 1.6 * face_width / one_width)
    scale = min(largest, beside_face, 0.95 * width / one_width)
    thickness = max(1, round(scale * 1.8))
    size, baseline = cv2.getTextSize(text, FONT, scale, thickness)
    return scale, thickness, (size[0], size[1]), baseline
