"""The face detector that comes with the project, trained on faces with and without masks.

`python -m facemask.train_face_detector` makes its weights.
"""

import os
from pathlib import Path

import numpy as np

from facemask.detect.anchor_points import SIZE_MULTIPLE, anchor_points
from facemask.detect.litert import LiteRTModel
from facemask.detect.types import BUILTIN_NMS_IOS, NMS_IOU
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.geometry import FaceBox, face_boxes, nms
from facemask.images import shrink

WEIGHTS = PROJECT / "face_detector" / "builtin.tflite"

# The longer side of the network's input, in pixels, in detection and in training.
LONGER_SIDE = 800
# But an image is enlarged at most so many times. In a blurred face that fills the input, the
# network sees several: of 133 crops of faces, 60 get one box without the limit, 125 with it
# (benchmarks/face_network_tries.py).
MAX_ENLARGEMENT = 2.0
# The network's distances are limited to e^-4 to e^4 strides, in detection and in training.
LARGEST_LOGARITHM = 4.0


class BuiltinFaceDetector:
    """The built-in face detector: load it once, and call it for each image, from any thread."""

    def __init__(self, model: LiteRTModel):
        self._model = model
        self._model.prepare((LONGER_SIDE, LONGER_SIDE))

    @classmethod
    def load(
        cls, path: str | os.PathLike[str] = WEIGHTS, threads: int | None = None
    ) -> "BuiltinFaceDetector":
        """Load the detector, to run on this many threads; by default, see LiteRTModel.load.

        Raises FacemaskError without LiteRT, and when the file is missing or another network.
        """
        path = Path(path)
        model = LiteRTModel.load(path, threads)
        if len(model.output_shape) != 3 or model.output_shape[-1] != 5:
            raise FacemaskError(
                f"{path}: expected a face detector, (1, anchor_points, 5), found outputs of shape"
                f" {model.output_shape}"
            )
        return cls(model)

    def detect(self, image: np.ndarray, confidence: float = 0.5) -> list[FaceBox]:
        """See types.Detector."""
        height, width = image.shape[:2]
        size = input_size(height, width)
        predictions = self._model(shrink(image, size)[None])[0]
        boxes, confidences = decode_predictions(predictions, *size, confidence)
        boxes *= np.tile([width / size[1], height / size[0]], 2)
        return [box for box in face_boxes(boxes, confidences, width, height) if box.area]


def input_size(height: int, width: int) -> tuple[int, int]:
    """Height and width, in pixels, that an image of height x width pixels is resized to."""
    scale = min(MAX_ENLARGEMENT, LONGER_SIDE / max(height, width))
    rows, columns = (
        max(SIZE_MULTIPLE, round(side * scale / SIZE_MULTIPLE) * SIZE_MULTIPLE)
        for side in (height, width)
    )
    return rows, columns


def decode_predictions(
    predictions: np.ndarray, height: int, width: int, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4), xyxy in pixels of the network's input, and confidences (N,), highest first.

    predictions: (A, 5) float32, a row for each anchor point of an input of height x width pixels:
    the logit of the confidence, and the logarithms of the distances from the point to the box's
    left, top, right and bottom side, in strides. Only boxes strictly above the confidence are
    returned, after non-maximum suppression.
    """
    points, strides = anchor_points(height, width)
    confidences = 1 / (1 + np.exp(-np.clip(predictions[:, 0], -80, 80)))
    chosen = np.flatnonzero(confidences > confidence)
    chosen = chosen[np.argsort(-predictions[chosen, 0], kind="stable")]
    logarithms = np.clip(predictions[chosen, 1:], -LARGEST_LOGARITHM, LARGEST_LOGARITHM)
    distances = np.exp(logarithms) * strides[chosen, None]
    boxes = np.hstack([points[chosen] - distances[:, :2], points[chosen] + distances[:, 2:]])
    kept = nms(boxes, NMS_IOU, BUILTIN_NMS_IOS)
    return boxes[kept], confidences[chosen[kept]]
