"""Face boxes: xyxy, integer pixels, origin at the top left; x2 and y2 are exclusive."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class FaceBox:
    """A face found in an image: `image[y1:y2, x1:x2]`, and the detector's confidence (0 to 1)."""

    x1: int
    y1: int
    x2: int
    y2: int
    confidence: float

    @property
    def width(self) -> int:
        return max(0, self.x2 - self.x1)

    @property
    def height(self) -> int:
        return max(0, self.y2 - self.y1)

    @property
    def area(self) -> int:
        """Square pixels; 0 for a box of no size."""
        return self.width * self.height

    def clip(self, width: int, height: int) -> "FaceBox":
        """The part inside an image of width x height pixels; of area 0 when none is."""
        return replace(
            self,
            x1=min(max(self.x1, 0), width),
            y1=min(max(self.y1, 0), height),
            x2=min(max(self.x2, 0), width),
            y2=min(max(self.y2, 0), height),
        )

    def expand(self, margin: float) -> "FaceBox":
        """The box grown on each side by `margin` times its width or height."""
        dx, dy = round(self.width * margin), round(self.height * margin)
        return replace(self, x1=self.x1 - dx, y1=self.y1 - dy, x2=self.x2 + dx, y2=self.y2 + dy)

    def iou(self, other: "FaceBox") -> float:
        """Intersection over union, 0 to 1; 0 when both are empty."""
        shared = FaceBox(
            max(self.x1, other.x1), max(self.y1, other.y1),
            min(self.x2, other.x2), min(self.y2, other.y2), 0.0,
        ).area  # fmt: skip
        union = self.area + other.area - shared
        return shared / union if union else 0.0


def nms(boxes: np.ndarray, most: float, inside: float = 1.0) -> list[int]:
    """Non-maximum suppression: which boxes, (N, 4), xyxy, the surest first, are to be kept.

    Of two that overlap by an IoU above `most`, or of which the smaller lies in the other with more
    than the share `inside`, it is the surer one.
    """
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    left = np.arange(len(boxes))
    kept = []
    while len(left):
        first, left = int(left[0]), left[1:]
        kept.append(first)
        low = np.maximum(boxes[first, :2], boxes[left, :2])
        high = np.minimum(boxes[first, 2:], boxes[left, 2:])
        both = np.prod(np.maximum(high - low, 0), axis=1)
        apart = both <= most * (areas[first] + areas[left] - both)
        left = left[apart & (both <= inside * np.minimum(areas[first], areas[left]))]
    return kept


def ious(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The IoU of a box (4,) with others (N, 4)."""
    both = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    overlap = np.prod(np.maximum(both, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    return overlap / np.maximum(np.prod(box[2:] - box[:2]) + areas - overlap, 1e-9)
