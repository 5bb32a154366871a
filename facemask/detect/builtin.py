"""Finding faces: the detector that comes with the project, which knows masks."""

import os
from pathlib import Path

import numpy as np

from facemask.detect.anchor_points import SIZE_MULTIPLE, anchor_points
from facemask.detect.litert import LiteRTModel
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.geometry import FaceBox, nms
from facemask.images import resize

WEIGHTS = PROJECT / "face_detector" / "builtin.tflite"

# Every image is stretched or shrunk to so many pixels along its longer side, which the network was
# trained for; both sides become multiples of SIZE_MULTIPLE.
LONGER_SIDE = 640
# Boxes are of the same face when they overlap by more than this, or when more than this share of
# the smaller one lies in a surer one: in a face that fills the image the network sees more faces.
NMS_IOU = 0.35
NMS_IOS = 0.55
# Beside a face that is sure, one of less than this part of its width must be sure as well: what
# beside a portrait's face is an ear, a badge or a bush seldom is. It cost 48 scenes no face.
SMALL_BESIDE, SURE = 0.3, 0.9


class BuiltinFaceDetector:
    """The built-in face detector, loaded once and called for each image."""

    def __init__(self, model: LiteRTModel):
        self._model = model
        self._size = (LONGER_SIDE, LONGER_SIDE)
        self._model.prepare(self._size)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str] = WEIGHTS, threads: int | None = None
    ) -> "BuiltinFaceDetector":
        """Load the detector, to run on so many threads; by default, on one for each core.

        Raises FacemaskError when the file is missing or no such network, and without LiteRT.
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
        """The faces of an image, the surest first; an empty list when there are none.

        image: (H, W, 3) uint8, BGR. confidence: only boxes strictly above it are returned. Boxes
        lie inside the image and are not empty.
        """
        height, width = image.shape[:2]
        size = input_size(height, width)
        if size != self._size:
            self._model.resize(size)
            self._size = size
        answers = self._model(resize(image, size)[None].astype(np.float32))[0]
        boxes, confidences = decode(answers, *size, confidence)
        boxes *= np.tile([width / size[1], height / size[0]], 2)
        found = [
            FaceBox(*box, confidence=float(sure)).clip(width, height)
            for box, sure in zip(np.rint(boxes).astype(int).tolist(), confidences, strict=True)
        ]
        return [box for box in found if box.area]


def input_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of what the network sees of an image, pixels."""
    scale = LONGER_SIDE / max(height, width)
    rows, columns = (
        max(SIZE_MULTIPLE, round(side * scale / SIZE_MULTIPLE) * SIZE_MULTIPLE)
        for side in (height, width)
    )
    return rows, columns


def decode(
    answers: np.ndarray, height: int, width: int, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4), xyxy in pixels of the network's input, and confidences (N,), surest first.

    answers: (N, 5) float32, a row for each anchor point of an input of that height and
    width: the confidence, and the distances from the point to the box's sides, in strides.
    Of boxes of the same face, see NMS_IOU and NMS_IOS, only the surest is kept; and of small
    ones beside a large face only those that are sure, see SMALL_BESIDE.
    """
    centres, strides = anchor_points(height, width)
    chosen = np.flatnonzero(answers[:, 0] > confidence)
    chosen = chosen[np.argsort(-answers[chosen, 0], kind="stable")]
    reach = answers[chosen, 1:] * strides[chosen, None]
    boxes = np.concatenate([centres[chosen] - reach[:, :2], centres[chosen] + reach[:, 2:]], axis=1)
    kept = nms(boxes, NMS_IOU, NMS_IOS)
    boxes, confidences = boxes[kept], answers[chosen[kept], 0]
    widths, sure = boxes[:, 2] - boxes[:, 0], confidences > SURE
    likely = sure | (widths >= SMALL_BESIDE * widths[sure].max(initial=0))
    return boxes[likely], confidences[likely]
