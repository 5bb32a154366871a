"""Finding faces that are far away: a detector is shown an image and then parts of it, larger."""

import numpy as np

from facemask.detect.types import Detector
from facemask.geometry import FaceBox, nms

# Neighbouring parts share this much of their size, so that a face that one of them cuts lies whole
# in another. Faces that are too large for that are found in the whole image.
OVERLAP = 0.25
# A box this near to the edge of a part, in parts of the box's size, may be of half a face.
EDGE = 0.05
# Boxes are of the same face when they overlap by more than this, or when more than this share of
# the smaller one lies in a surer one.
NMS_IOU = 0.35
NMS_IOS = 0.5


class TiledDetector:
    """A face detector that looks at an image whole, and in tiles x tiles parts that overlap."""

    def __init__(self, detector: Detector, tiles: int):
        self._detector, self._tiles = detector, tiles

    def detect(self, image: np.ndarray, confidence: float = 0.5) -> list[FaceBox]:
        """The faces of an image, the surest first, each once; as the detector's own method."""
        height, width = image.shape[:2]
        found = self._detector.detect(image, confidence)
        for top, bottom in _parts(height, self._tiles):
            for left, right in _parts(width, self._tiles):
                inside = self._detector.detect(image[top:bottom, left:right], confidence)
                moved = [_moved(box, left, top) for box in inside]
                found += [
                    box
                    for box in moved
                    if not _cut(box.x1, box.x2, left, right, width)
                    and not _cut(box.y1, box.y2, top, bottom, height)
                ]
        found.sort(key=lambda box: box.confidence, reverse=True)
        boxes = np.array([(box.x1, box.y1, box.x2, box.y2) for box in found], float)
        return [found[index] for index in nms(boxes.reshape(-1, 4), NMS_IOU, NMS_IOS)]


def _parts(length: int, count: int) -> list[tuple[int, int]]:
    """Where so many equal parts of a side begin and end, pixels; each at least one pixel."""
    size = length / (count - (count - 1) * OVERLAP)
    starts = [round(number * size * (1 - OVERLAP)) for number in range(count)]
    return [(min(start, length - 1), min(length, round(start + size) + 1)) for start in starts]


def _moved(box: FaceBox, dx: int, dy: int) -> FaceBox:
    return FaceBox(box.x1 + dx, box.y1 + dy, box.x2 + dx, box.y2 + dy, box.confidence)


def _cut(low: int, high: int, start: int, end: int, length: int) -> bool:
    """Whether a box reaches an edge of its part that is no edge of the image."""
    near = EDGE * (high - low)
    return (start > 0 and low - start <= near) or (end < length and end - high <= near)
