"""Finding faces: OpenCV's Caffe SSD face detector."""

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.geometry import FaceBox, nms

if TYPE_CHECKING:
    from facemask.detect.ssd_litert import ConvertedSSD

WEIGHTS_NAME = "res10_300x300_ssd_iter_140000.caffemodel"

# The weights' name fixes the network, so it is always described by the project's own file: the
# deploy.prototxt that usually comes with the weights pads two layers wrongly (opencv/opencv#15106).
PROTOTXT = PROJECT / "face_detector" / "deploy.prototxt"

# What the network was trained with: BGR, stretched to 300x300, this mean taken off, no scaling.
# 177 is right, though it looks like a slip for ImageNet's 117.
INPUT_SIZE = (300, 300)
MEAN_BGR = (104.0, 177.0, 123.0)


class Network(Protocol):
    """What runs the SSD."""

    def rows(self, image: np.ndarray, confidence: float) -> np.ndarray:
        """What is above a confidence, the surest first: (N, 7) float32, as the prototxt has it.

        That is the image's number, the class (1: face), the confidence, then x1, y1, x2 and y2 as
        fractions of the image's width and height.
        """
        ...


class OpenCVNetwork:
    """The SSD run by cv2.dnn."""

    def __init__(self, network: cv2.dnn.Net):
        self._network = network

    def rows(self, image: np.ndarray, confidence: float) -> np.ndarray:
        """See Network."""
        self._network.setInput(cv2.dnn.blobFromImage(image, 1.0, INPUT_SIZE, MEAN_BGR))
        rows = self._network.forward()[0, 0]
        # For no boxes at all OpenCV gives one row of zeros.
        return rows[(rows[:, 1] == 1) & (rows[:, 2] > confidence)]


class LiteRTNetwork:
    """The SSD run by LiteRT: the same boxes, in two thirds of the time."""

    def __init__(self, ssd: "ConvertedSSD", weights: Path, threads: int | None = None):
        """Raises ImportError without LiteRT, FacemaskError where it can't run the network."""
        from facemask.detect.litert import LiteRTModel

        self._ssd = ssd
        self._zero = np.append(ssd.zero, 0)  # a Scalar of OpenCV's has four values
        self._model = LiteRTModel.from_bytes(weights, ssd.content, threads)
        self._model.prepare(ssd.size)

    def rows(self, image: np.ndarray, confidence: float) -> np.ndarray:
        """See Network."""
        ssd = self._ssd
        resized = cv2.resize(image, ssd.size[::-1], interpolation=cv2.INTER_LINEAR)
        blob = cv2.subtract(resized, self._zero, dtype=cv2.CV_32F)
        answers = self._model(blob[None])[0]
        # The softmax of two classes, for the second, from how much higher it scores.
        scores = 1 / (1 + np.exp(-np.maximum(answers[:, 4], -80)))  # exp(89) is beyond float32
        # Only a surer box suppresses another. So those not asked for, nearly all, can go first.
        above = np.flatnonzero(scores > max(confidence, ssd.least))
        above = above[np.argsort(-scores[above], kind="stable")][: ssd.top]
        boxes = decode(answers[above, :4] * ssd.variances, ssd.anchors[above])
        kept = nms(boxes, ssd.overlap)[: ssd.most]
        rows = np.empty((len(kept), 7), np.float32)
        rows[:, :2] = 0, 1
        rows[:, 2] = scores[above[kept]]
        rows[:, 3:] = boxes[kept]
        return rows


def decode(offsets: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """SSD's code CENTER_SIZE: (N, 4) offsets from (N, 4) anchors to (N, 4) x1, y1, x2, y2.

    anchors: x and y of the centre, width and height. offsets: their variances multiplied in.
    """
    centres = anchors[:, :2] + offsets[:, :2] * anchors[:, 2:]
    halves = np.exp(offsets[:, 2:]) * anchors[:, 2:] / 2
    return np.hstack([centres - halves, centres + halves])


class FaceDetector:
    """The SSD face detector, loaded once and called for each image."""

    def __init__(self, network: Network):
        self._network = network

    @staticmethod
    def has_weights(folder: str | os.PathLike[str]) -> bool:
        """Whether the folder holds the detector's weights."""
        return (Path(folder) / WEIGHTS_NAME).is_file()

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], threads: int | None = None, bulk: bool = False
    ) -> "FaceDetector":
        """Load the detector from the folder that holds its weights.

        bulk: whether many images are to come, so that it pays to spend 0.2 s on moving the network
        to LiteRT, which is then faster; without LiteRT it stays with OpenCV. threads: that LiteRT
        takes, by default one for each core; OpenCV follows cv2.setNumThreads.
        Raises FacemaskError when the weights are missing, or are not those of this network.
        """
        weights = Path(folder) / WEIGHTS_NAME
        if not cls.has_weights(folder):
            raise FacemaskError(
                f"{weights}: no such file; expected the face detector's weights there"
                " (python -m facemask.downloads face-detector)"
            )
        try:
            if bulk:
                state = weights.stat()
                ssd = _converted(weights, state.st_size, state.st_mtime_ns)
                return cls(LiteRTNetwork(ssd, weights, threads))
        except ImportError:
            pass
        except cv2.error as error:
            raise _refusal(weights, error) from error
        try:
            # Weights that are cut off or of another network show only when the network runs.
            detector = cls(OpenCVNetwork(cv2.dnn.readNetFromCaffe(str(PROTOTXT), str(weights))))
            detector.detect(np.zeros((*INPUT_SIZE, 3), np.uint8))
        except cv2.error as error:
            raise _refusal(weights, error) from error
        return detector

    def detect(self, image: np.ndarray, confidence: float = 0.5) -> list[FaceBox]:
        """The faces of an image, the surest first; an empty list when there are none.

        image: (H, W, 3) uint8, BGR. confidence: only boxes strictly above it are returned
        (the network itself gives none below 0.01). Boxes lie inside the image and are not empty.
        """
        height, width = image.shape[:2]
        rows = self._network.rows(image, confidence)
        corners = np.rint(rows[:, 3:7] * (width, height, width, height)).astype(int)
        boxes = [
            FaceBox(*box, confidence=float(row[2])).clip(width, height)
            for box, row in zip(corners.tolist(), rows, strict=True)
        ]
        found = [box for box in boxes if box.area]
        return sorted(found, key=lambda box: box.confidence, reverse=True)


@lru_cache(1)  # for the copies of the detector that work side by side
def _converted(weights: Path, size: int, modified: int) -> "ConvertedSSD":
    from facemask.detect.ssd_litert import convert

    return convert(
        cv2.dnn.readNetFromCaffe(str(PROTOTXT), str(weights)), weights, PROTOTXT, MEAN_BGR
    )


def _refusal(weights: Path, error: cv2.error) -> FacemaskError:
    return FacemaskError(
        f"{weights}: not the weights of the face detector that {PROTOTXT.name} describes:"
        f" {error.err or error}"
    )
