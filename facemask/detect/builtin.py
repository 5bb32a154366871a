"""The face detector that comes with the project, trained on faces with and without masks.

`python -m facemask.train_face_detector` makes its weights.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from facemask.detect.anchor_points import SIZE_MULTIPLE, anchor_points
from facemask.detect.litert import LiteRTModel
from facemask.detect.types import BUILTIN_NMS_IOS, NMS_IOU
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.geometry import FaceBox, face_boxes, weighted_nms
from facemask.images import shrink

WEIGHTS = PROJECT / "face_detector" / "builtin.tflite"

# The longer side of the network's input, in pixels, in detection and in training.
LONGER_SIDE = 800
# Large faces are found more often in a smaller input, so an image is searched in two sizes, the
# second time in a fifth of the time. The coarse search counts for large faces alone and the fine
# one for the others, with some overlap. Where the fine one finds small faces alone, the coarse one
# is left out. Widths are ratios of the image's longer side. What changes without it is in
# benchmarks/face_network_tries.py.
COARSE_SIDE = 320
COARSE_SEARCH_FROM = 0.15  # the width of the largest face that the fine search finds
COARSE_FROM, FINE_BELOW = 0.25, 0.35
# Several anchor points find each face, and the mean of their boxes fits better than the box of the
# best one. From this confidence on, a box counts in it; from .2 on, the mean fits less well.
BLENDED_FROM = 0.05
# An image is enlarged at most so many times, which saves time with small ones. To enlarge them
# further gains nothing (benchmarks/face_network_tries.py).
MAX_ENLARGEMENT = 2.0
# The network's distances are limited to e^-4 to e^4 strides, in detection and in training.
LARGEST_LOGARITHM = 4.0

# From an image, (1, height, width, 3) uint8, BGR, to the network's predictions (1, A, 5) float32.
Predict = Callable[[np.ndarray], np.ndarray]


class BuiltinFaceDetector:
    """The built-in face detector: load it once, and call it for each image, from any thread."""

    def __init__(self, fine: LiteRTModel, coarse: LiteRTModel):
        """fine, coarse: the same network. In one model, each change of size would take 4 ms."""
        self._fine, self._coarse = fine, coarse
        self._fine.prepare((LONGER_SIDE, LONGER_SIDE))
        self._coarse.prepare((COARSE_SIDE, COARSE_SIDE))

    @classmethod
    def load(
        cls, path: str | os.PathLike[str] = WEIGHTS, threads: int | None = None
    ) -> "BuiltinFaceDetector":
        """Load the detector, to run on this many threads; by default, see LiteRTModel.load.

        Raises FacemaskError without LiteRT, and when the file is missing or another network.
        """
        path = Path(path)
        fine, coarse = (LiteRTModel.load(path, threads) for _ in range(2))
        if len(fine.output_shape) != 3 or fine.output_shape[-1] != 5:
            raise FacemaskError(
                f"{path}: expected a face detector, (1, anchor_points, 5), found outputs of shape"
                f" {fine.output_shape}"
            )
        return cls(fine, coarse)

    def detect(self, image: np.ndarray, confidence: float = 0.5) -> list[FaceBox]:
        """See types.Detector."""
        boxes, confidences = find_faces(image, confidence, self._fine, self._coarse)
        height, width = image.shape[:2]
        return [box for box in face_boxes(boxes, confidences, width, height) if box.area]


def find_faces(
    image: np.ndarray, confidence: float, fine: Predict, coarse: Predict
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4), xyxy in pixels of the image, and confidences (N,), highest first.

    image: (height, width, 3) uint8, BGR. fine, coarse: the network, for a search with a longer side
    of LONGER_SIDE and of COARSE_SIDE pixels; the second is not always needed.
    """
    boxes, confidences = _search(image, LONGER_SIDE, confidence, fine)
    widths = _widths(boxes, image)
    largest = widths[confidences > confidence].max(initial=0)
    if largest == 0 or largest >= COARSE_SEARCH_FROM:
        large, large_confidences = _search(image, COARSE_SIDE, confidence, coarse)
        is_small, is_large = widths < FINE_BELOW, _widths(large, image) >= COARSE_FROM
        boxes = np.concatenate([large[is_large], boxes[is_small]])
        confidences = np.concatenate([large_confidences[is_large], confidences[is_small]])
    return weighted_nms(boxes, confidences, confidence, NMS_IOU, BUILTIN_NMS_IOS)


def _search(
    image: np.ndarray, longer_side: int, confidence: float, predict: Predict
) -> tuple[np.ndarray, np.ndarray]:
    """The boxes of all anchor points, as find_faces, in one size of the image."""
    height, width = image.shape[:2]
    rows, columns = input_size(height, width, longer_side)
    predictions = predict(shrink(image, (rows, columns))[None])[0]
    boxes, confidences = decode_predictions(
        predictions, rows, columns, min(confidence, BLENDED_FROM)
    )
    return boxes * np.tile([width / columns, height / rows], 2), confidences


def _widths(boxes: np.ndarray, image: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) / max(image.shape[:2])


def input_size(height: int, width: int, longer_side: int = LONGER_SIDE) -> tuple[int, int]:
    """Height and width, in pixels, that an image of height x width pixels is resized to."""
    scale = min(MAX_ENLARGEMENT, longer_side / max(height, width))
    rows, columns = (
        max(SIZE_MULTIPLE, round(side * scale / SIZE_MULTIPLE) * SIZE_MULTIPLE)
        for side in (height, width)
    )
    return rows, columns


def decode_predictions(
    predictions: np.ndarray, height: int, width: int, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4), xyxy in pixels of the network's input, and confidences (N,), by anchor point.

    predictions: (A, 5) float32, a row for each anchor point of an input of height x width pixels:
    the logit of the confidence, and the logarithms of the distances from the point to the box's
    left, top, right and bottom side, in strides. Only boxes strictly above the confidence are
    returned, several of each face.
    """
    points, strides = anchor_points(height, width)
    confidences = 1 / (1 + np.exp(-np.clip(predictions[:, 0], -80, 80)))
    chosen = np.flatnonzero(confidences > confidence)
    logarithms = np.clip(predictions[chosen, 1:], -LARGEST_LOGARITHM, LARGEST_LOGARITHM)
    distances = np.exp(logarithms) * strides[chosen, None]
    boxes = np.hstack([points[chosen] - distances[:, :2], points[chosen] + distances[:, 2:]])
    return boxes, confidences[chosen]
