"""Face boxes: xyxy, in pixels, origin at the top left; x2 and y2 are exclusive."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class FaceBox:
    """A face in an image, `image[y1:y2, x1:x2]`, and the detector's confidence (0 to 1)."""

    x1: int
    y1: int
    x2: int
    y2: int
    confidence: float

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2."""
        return self.x1, self.y1, self.x2, self.y2

    @property
    def width(self) -> int:
        return max(0, self.x2 - self.x1)

    @property
    def height(self) -> int:
        return max(0, self.y2 - self.y1)

    @property
    def area(self) -> int:
        """Square pixels; 0 for a box without width or height."""
        return self.width * self.height

    def clip(self, width: int, height: int) -> "FaceBox":
        """The part inside an image of width x height pixels; its area is 0 when none is inside."""
        return replace(
            self,
            x1=min(max(self.x1, 0), width),
            y1=min(max(self.y1, 0), height),
            x2=min(max(self.x2, 0), width),
            y2=min(max(self.y2, 0), height),
        )

    def move(self, dx: int, dy: int) -> "FaceBox":
        """The box moved by dx pixels to the right and dy pixels down."""
        return replace(self, x1=self.x1 + dx, y1=self.y1 + dy, x2=self.x2 + dx, y2=self.y2 + dy)

    def scale(self, x: float, y: float) -> "FaceBox":
        """The box in an image that is x times as wide and y times as high."""
        corners = round(self.x1 * x), round(self.y1 * y), round(self.x2 * x), round(self.y2 * y)
        return FaceBox(*corners, self.confidence)

    def towards(self, other: "FaceBox", ratio: float) -> "FaceBox":
        """Linear interpolation: this box at ratio 0, the other one at 1; also of the confidence."""
        pairs = zip(self.corners, other.corners, strict=True)
        x1, y1, x2, y2 = (round(start + ratio * (end - start)) for start, end in pairs)
        confidence = self.confidence + ratio * (other.confidence - self.confidence)
        return FaceBox(x1, y1, x2, y2, confidence)

    def expand(self, margin: float) -> "FaceBox":
        """The box grown on each side by `margin` times its width or height."""
        dx, dy = round(self.width * margin), round(self.height * margin)
        return replace(self, x1=self.x1 - dx, y1=self.y1 - dy, x2=self.x2 + dx, y2=self.y2 + dy)

    def iou(self, other: "FaceBox") -> float:
        """Intersection over union with one other box; for many boxes, ious() is faster."""
        width = min(self.x2, other.x2) - max(self.x1, other.x1)
        height = min(self.y2, other.y2) - max(self.y1, other.y1)
        shared = max(0, width) * max(0, height)
        return shared / max(1, self.area + other.area - shared)


def face_boxes(
    boxes: np.ndarray, confidences: np.ndarray, width: int, height: int
) -> list[FaceBox]:
    """A detector's boxes, rounded to whole pixels and clipped to the image, in the same order.

    boxes: (N, 4) floats, xyxy in pixels; confidences: (N,). width, height: of the image. A box
    that lies outside the image is returned with an area of 0.
    """
    corners = np.rint(boxes).astype(int).tolist()
    return [
        FaceBox(*box, confidence=float(confidence)).clip(width, height)
        for box, confidence in zip(corners, confidences, strict=True)
    ]


def as_array(boxes: Sequence[FaceBox]) -> np.ndarray:
    """The corners of boxes, (N, 4) float64, xyxy."""
    return np.array([box.corners for box in boxes], dtype=np.float64).reshape(-1, 4)


def areas(boxes: np.ndarray) -> np.ndarray:
    """The areas (...) of boxes (..., 4), xyxy; 0 for a box without width or height."""
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return sides[..., 0] * sides[..., 1]


def intersections(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The areas that boxes share, as ious."""
    starts = np.maximum(boxes[..., :2], others[..., :2])
    sides = np.maximum(np.minimum(boxes[..., 2:], others[..., 2:]) - starts, 0)
    return sides[..., 0] * sides[..., 1]


def ious(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The intersections over union, 0 to 1, of boxes (..., 4), xyxy; 0 for two empty boxes.

    The shapes broadcast: a box (4,) with boxes (N, 4) gives (N,), and boxes (M, 1, 4) with boxes
    (N, 4) give (M, N).
    """
    shared = intersections(boxes, others)
    return shared / np.maximum(areas(boxes) + areas(others) - shared, 1e-9)


def nms(boxes: np.ndarray, max_iou: float, max_ios: float = 1.0) -> list[int]:
    """Non-maximum suppression (greedy): the indices of the boxes to keep, in the given order.

    boxes: (N, 4), xyxy, the highest-scoring first. A box is dropped when, with a box that is kept,
    its intersection over union is above max_iou, or its intersection over the smaller of the two
    is above max_ios.
    """
    sizes = areas(boxes)
    remaining = np.arange(len(boxes))
    kept = []
    while len(remaining):
        best, remaining = int(remaining[0]), remaining[1:]
        kept.append(best)
        shared = intersections(boxes[best], boxes[remaining])
        apart = shared <= max_iou * (sizes[best] + sizes[remaining] - shared)
        apart &= shared <= max_ios * np.minimum(sizes[best], sizes[remaining])
        remaining = remaining[apart]
    return kept


def weighted_nms(
    boxes: np.ndarray, scores: np.ndarray, min_score: float, max_iou: float, max_ios: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """One box for each object, (K, 4), and its score, (K,), highest first, from several boxes each.

    boxes: (N, 4), xyxy, none empty; scores: (N,), above 0, in any order. nms() chooses among the
    boxes strictly above min_score. A chosen box is replaced by the mean of all boxes whose
    intersection over union with it is at least max_iou, weighted by their scores: the blending of
    BlazeFace (V. Bazarevsky et al., 2019).
    """
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    kept = nms(boxes[scores > min_score], max_iou, max_ios)
    means = boxes[kept]
    for row, box in enumerate(boxes[kept]):  # all at once would take memory for each pair
        weights = (ious(box, boxes) >= max_iou) * scores
        means[row] = weights @ boxes / weights.sum()
    return means, scores[kept]
