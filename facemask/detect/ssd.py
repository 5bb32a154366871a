"""OpenCV's Caffe SSD face detector (Liu et al., SSD: Single Shot MultiBox Detector, 2016)."""

import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from facemask.detect.dynamic_int8 import quantize_weights
from facemask.detect.litert import LiteRTModel
from facemask.detect.ssd_litert import ConvertedSSD, convert
from facemask.detect.types import Detector
from facemask.errors import FacemaskError
from facemask.files import PROJECT, reason
from facemask.geometry import FaceBox, face_boxes, nms

WEIGHTS_NAME = "res10_300x300_ssd_iter_140000.caffemodel"

# The network is always described by the project's own file: the deploy.prototxt that usually comes
# with the weights pads two layers wrongly (opencv/opencv#15106).
PROTOTXT = PROJECT / "face_detector" / "deploy.prototxt"

# The input that the network was trained with: BGR, stretched to the size in the prototxt, this mean
# subtracted, no scaling. 177 is right; ImageNet's mean of green is 117.
MEAN_BGR = (104.0, 177.0, 123.0)

# The size at which PortraitSSD looks first, in pixels a side; the confidence that it asks for, and
# that from which a second box may be a face too. Most classic photographs show one face then,
# in a third of the time.
PORTRAIT_SIDE, PORTRAIT_CONFIDENCE, PORTRAIT_DOUBT = 160, 0.7, 0.25


class SSDFaceDetector:
    """The SSD run by LiteRT: load it once, and call it for each image, from any thread."""

    def __init__(self, ssd: ConvertedSSD, model: LiteRTModel):
        """model: that of ssd.content."""
        self._ssd, self._model = ssd, model
        self._mean = np.append(ssd.mean_bgr, 0)  # cv2.subtract takes four values for a colour

    @staticmethod
    def has_weights(folder: str | os.PathLike[str]) -> bool:
        """Whether the folder holds the detector's weights."""
        return (Path(folder) / WEIGHTS_NAME).is_file()

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        threads: int | None = None,
        int8: bool = False,
        side: int | None = None,
    ) -> "SSDFaceDetector":
        """Load the detector from the folder that holds its weights.

        threads: see LiteRTModel.load. int8: whether to compute in int8, see dynamic_int8: faster,
        with nearly the same boxes. side: height and width that images are stretched to, in pixels;
        the prototxt's 300 by default.
        Raises FacemaskError when the weights are missing or those of
        another network, ImportError without LiteRT.
        """
        weights = Path(folder) / WEIGHTS_NAME
        if not cls.has_weights(folder):
            raise FacemaskError(
                f"{weights}: no such file; expected the face detector's weights there"
                " (python -m facemask.downloads face-detector)"
            )
        try:
            status = weights.stat()
            ssd = _convert(weights, status.st_size, status.st_mtime_ns, int8, side)
        except OSError as error:
            raise FacemaskError(f"{weights}: can't be read: {reason(error)}") from error
        except ValueError as error:
            raise FacemaskError(
                f"{weights}: not the weights of the face detector that {PROTOTXT.name} describes:"
                f" {error}"
            ) from error
        model = LiteRTModel.from_bytes(weights, ssd.content, threads)
        model.prepare(ssd.size)
        return cls(ssd, model)

    def detect(self, image: np.ndarray, confidence: float = 0.5) -> list[FaceBox]:
        """See types.Detector. The network itself gives no box below a confidence of 0.01."""
        ssd = self._ssd
        resized = cv2.resize(image, ssd.size[::-1], interpolation=cv2.INTER_LINEAR)
        blob = cv2.subtract(resized, self._mean, dtype=cv2.CV_32F)
        predictions = self._model(blob[None])[0]
        # The softmax of two classes is the sigmoid of the difference of their scores.
        scores = 1 / (1 + np.exp(-np.maximum(predictions[:, 4], -80)))  # exp(89) exceeds float32
        # A box is suppressed only by one of a higher score, so nearly all can be dropped first.
        above = np.flatnonzero(scores > max(confidence, ssd.confidence_threshold))
        above = above[np.argsort(-scores[above], kind="stable")][: ssd.top_k]
        boxes = decode_boxes(predictions[above, :4] * ssd.variances, ssd.anchors[above])
        kept = nms(boxes, ssd.nms_threshold)[: ssd.keep_top_k]  # the highest-scoring come first
        height, width = image.shape[:2]
        boxes = boxes[kept] * (width, height, width, height)
        return [box for box in face_boxes(boxes, scores[above[kept]], width, height) if box.area]


class PortraitSSD:
    """The SSD for images of one face each: first at few pixels, which are enough for large faces.

    Its boxes differ a little from those of the whole size, most at the chin.
    """

    def __init__(self, small: Detector, full: Detector):
        self._small, self._full = small, full

    def detect(self, image: np.ndarray, confidence: float = 0.5) -> list[FaceBox]:
        """The face of a portrait; what the full size finds where the small one shows not one."""
        faces = self._small.detect(image, PORTRAIT_DOUBT)
        if len(faces) == 1 and faces[0].confidence > max(confidence, PORTRAIT_CONFIDENCE):
            return faces
        return self._full.detect(image, confidence)


def decode_boxes(offsets: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Boxes (N, 4), xyxy, from offsets (N, 4) and anchors (N, 4), by Caffe's code CENTER_SIZE.

    anchors: x and y of the centre, width and height. offsets: multiplied by their variances.
    """
    centres = anchors[:, :2] + offsets[:, :2] * anchors[:, 2:]
    halves = np.exp(offsets[:, 2:]) * anchors[:, 2:] / 2
    return np.hstack([centres - halves, centres + halves])


@lru_cache(2)  # the copies of the detector for several threads share one conversion
def _convert(weights: Path, size: int, modified: int, int8: bool, side: int | None) -> ConvertedSSD:
    """size and modified: of the file of weights, so that a changed file is converted again."""
    ssd = convert(weights, PROTOTXT, MEAN_BGR, side)
    return replace(ssd, content=quantize_weights(ssd.content)) if int8 else ssd
