"""OpenCV's Caffe SSD face detector (Liu et al., SSD: Single Shot MultiBox Detector, 2016)."""

import os
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.geometry import FaceBox, face_boxes, nms

if TYPE_CHECKING:
    from facemask.detect.ssd_litert import ConvertedSSD

WEIGHTS_NAME = "res10_300x300_ssd_iter_140000.caffemodel"

# The network is always described by the project's own file: the deploy.prototxt that usually comes
# with the weights pads two layers wrongly (opencv/opencv#15106).
PROTOTXT = PROJECT / "face_detector" / "deploy.prototxt"

# The input that the network was trained with: BGR, stretched to 300x300 pixels, this mean
# subtracted, no scaling. 177 is right; ImageNet's mean of green is 117.
INPUT_SIZE = (300, 300)
MEAN_BGR = (104.0, 177.0, 123.0)


# Boxes (N, 4) float32, x1, y1, x2 and y2 as fractions of the image's width and height; and their
# confidences (N,) float32.
Boxes = tuple[np.ndarray, np.ndarray]


class OpenCVNetwork:
    """The SSD run by cv2.dnn."""

    def __init__(self, network: cv2.dnn.Net):
        self._network = network
        self._lock = threading.Lock()  # the input and the layers' results lie in the network

    def boxes(self, image: np.ndarray, confidence: float) -> Boxes:
        """The boxes strictly above a confidence. image: (H, W, 3) uint8, BGR."""
        blob = cv2.dnn.blobFromImage(image, 1.0, INPUT_SIZE, MEAN_BGR)
        # A row of Caffe's DetectionOutput: the image's number, the class (1: face), the confidence,
        # the box. Without any box, OpenCV gives one row of zeros.
        with self._lock:
            self._network.setInput(blob)
            rows = self._network.forward()[0, 0].copy()
        rows = rows[(rows[:, 1] == 1) & (rows[:, 2] > confidence)]
        return rows[:, 3:], rows[:, 2]


class LiteRTNetwork:
    """The SSD run by LiteRT: the same boxes in two thirds of the time."""

    def __init__(self, ssd: "ConvertedSSD", weights: Path, threads: int | None = None):
        """Raises ImportError without LiteRT, FacemaskError where it can't run the network."""
        from facemask.detect.litert import LiteRTModel

        self._ssd = ssd
        self._mean = np.append(ssd.mean_bgr, 0)  # cv2.subtract takes four values for a colour
        self._model = LiteRTModel.from_bytes(weights, ssd.content, threads)
        self._model.prepare(ssd.size)

    def boxes(self, image: np.ndarray, confidence: float) -> Boxes:
        """See OpenCVNetwork."""
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
        kept = nms(boxes, ssd.nms_threshold)[: ssd.keep_top_k]
        return boxes[kept], scores[above[kept]]


def decode_boxes(offsets: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Boxes (N, 4), xyxy, from offsets (N, 4) and anchors (N, 4), by Caffe's code CENTER_SIZE.

    anchors: x and y of the centre, width and height. offsets: multiplied by their variances.
    """
    centres = anchors[:, :2] + offsets[:, :2] * anchors[:, 2:]
    halves = np.exp(offsets[:, 2:]) * anchors[:, 2:] / 2
    return np.hstack([centres - halves, centres + halves])


class SSDFaceDetector:
    """The SSD face detector: load it once, and call it for each image, from any thread."""

    def __init__(self, network: OpenCVNetwork | LiteRTNetwork):
        self._network = network

    @staticmethod
    def has_weights(folder: str | os.PathLike[str]) -> bool:
        """Whether the folder holds the detector's weights."""
        return (Path(folder) / WEIGHTS_NAME).is_file()

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], threads: int | None = None, bulk: bool = False
    ) -> "SSDFaceDetector":
        """Load the detector from the folder that holds its weights.

        bulk: whether many images follow, so that 0.2 s for the conversion to LiteRT, which is then
        faster, pays off; without LiteRT, OpenCV runs the network. threads: of LiteRT, see
        LiteRTModel.load; OpenCV uses cv2.setNumThreads.
        Raises FacemaskError when the weights are missing or those of another network.
        """
        weights = Path(folder) / WEIGHTS_NAME
        if not cls.has_weights(folder):
            raise FacemaskError(
                f"{weights}: no such file; expected the face detector's weights there"
                " (python -m facemask.downloads face-detector)"
            )
        try:
            if bulk:
                try:
                    status = weights.stat()
                    ssd = _convert(weights, status.st_size, status.st_mtime_ns)
                    return cls(LiteRTNetwork(ssd, weights, threads))
                except ImportError:
                    pass
            detector = cls(OpenCVNetwork(_read_network(weights)))
            # OpenCV notices truncated weights, or those of another network, only when it runs.
            detector.detect(np.zeros((*INPUT_SIZE, 3), np.uint8))
        except (cv2.error, ValueError) as error:
            raise FacemaskError(
                f"{weights}: not the weights of the face detector that {PROTOTXT.name} describes:"
                f" {getattr(error, 'err', None) or error}"
            ) from error
        return detector

    def detect(self, image: np.ndarray, confidence: float = 0.5) -> list[FaceBox]:
        """See types.Detector. The network itself gives no box below a confidence of 0.01."""
        height, width = image.shape[:2]
        boxes, confidences = self._network.boxes(image, confidence)
        boxes = boxes * (width, height, width, height)
        faces = [box for box in face_boxes(boxes, confidences, width, height) if box.area]
        return sorted(faces, key=lambda box: box.confidence, reverse=True)


def _read_network(weights: Path) -> cv2.dnn.Net:
    return cv2.dnn.readNetFromCaffe(str(PROTOTXT), str(weights))


@lru_cache(1)  # the copies of the detector for several threads share one conversion
def _convert(weights: Path, size: int, modified: int) -> "ConvertedSSD":
    """size and modified: of the file of weights, so that a changed file is converted again."""
    from facemask.detect.ssd_litert import convert

    return convert(_read_network(weights), PROTOTXT, MEAN_BGR)
