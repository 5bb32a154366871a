"""Small faces in large images: a detector is run on the whole image and on tiles of it."""

import numpy as np

from facemask.detect.types import NMS_IOU, TILES_NMS_IOS, Detector
from facemask.geometry import FaceBox, as_array, nms

# Neighbouring tiles overlap by this ratio of their side, so that a face on the border of one tile
# lies whole in another. The whole image has the faces that are too large for the overlap.
OVERLAP = 0.25
# A box nearer to a tile's border than this ratio of the box's side may be of a part of a face.
BORDER = 0.05


class TiledDetector:
    """A face detector that runs on the whole image and on tiles x tiles overlapping parts."""

    def __init__(self, detector: Detector, tiles: int):
        self._detector, self._tiles = detector, tiles

    def detect(self, image: np.ndarray, confidence: float = 0.5) -> list[FaceBox]:
        """See types.Detector. A face that several tiles show is returned once."""
        height, width = image.shape[:2]
        faces = self._detector.detect(image, confidence)
        for top, bottom in _intervals(height, self._tiles):
            for left, right in _intervals(width, self._tiles):
                tile = image[top:bottom, left:right]
                boxes = [box.move(left, top) for box in self._detector.detect(tile, confidence)]
                faces += [
                    box
                    for box in boxes
                    if not _is_cut(box.x1, box.x2, left, right, width)
                    and not _is_cut(box.y1, box.y2, top, bottom, height)
                ]
        faces.sort(key=lambda box: box.confidence, reverse=True)
        kept = nms(as_array(faces), NMS_IOU, TILES_NMS_IOS)
        return [faces[index] for index in kept]


def _intervals(length: int, count: int) -> list[tuple[int, int]]:
    """Where `count` equal tiles start and end along a side, in pixels; each has at least one."""
    size = length / (count - (count - 1) * OVERLAP)
    starts = [round(number * size * (1 - OVERLAP)) for number in range(count)]
    return [(min(start, length - 1), min(length, round(start + size) + 1)) for start in starts]


def _is_cut(low: int, high: int, start: int, end: int, length: int) -> bool:
    """Whether a box touches a border of its tile that is not a border of the image."""
    near = BORDER * (high - low)
    return (start > 0 and low - start <= near) or (end < length and end - high <= near)
