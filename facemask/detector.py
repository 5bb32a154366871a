"""Finding faces: OpenCV's Caffe SSD face detector."""

import os
from pathlib import Path

import cv2
import numpy as np

from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.geometry import FaceBox

WEIGHTS_NAME = "res10_300x300_ssd_iter_140000.caffemodel"

# The weights' name fixes the network, so it is always described by the project's own file: the
# deploy.prototxt that usually comes with the weights pads two layers wrongly (opencv/opencv#15106).
PROTOTXT = PROJECT / "face_detector" / "deploy.prototxt"

# What the network was trained with: BGR, stretched to 300x300, this mean taken off, no scaling.
# 177 is right, though it looks like a slip for ImageNet's 117.
INPUT_SIZE = (300, 300)
MEAN_BGR = (104.0, 177.0, 123.0)


class FaceDetector:
    """The SSD face detector, loaded once and called for each image."""

    def __init__(self, network: cv2.dnn.Net):
        self._network = network

    @staticmethod
    def is_at_hand(folder: str | os.PathLike[str]) -> bool:
        """Whether the folder holds the detector's weights."""
        return (Path(folder) / WEIGHTS_NAME).is_file()

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "FaceDetector":
        """Load the detector from the folder that holds its weights.

        Raises FacemaskError when the weights are missing, or are not those of this network.
        """
        weights = Path(folder) / WEIGHTS_NAME
        if not cls.is_at_hand(folder):
            raise FacemaskError(
                f"{weights}: no such file; expected the face detector's weights there"
                " (python -m facemask.downloads face-detector)"
            )
        try:
            network = cv2.dnn.readNetFromCaffe(str(PROTOTXT), str(weights))
            # Weights that are cut off or of another network show only when the network runs.
            detector = cls(network)
            detector.detect(np.zeros((*INPUT_SIZE, 3), np.uint8))
        except cv2.error as error:
            raise FacemaskError(
                f"{weights}: not the weights of the face detector that"
                f" {PROTOTXT.name} describes: {error.err or error}"
            ) from error
        return detector

    def detect(self, image: np.ndarray, confidence: float = 0.5) -> list[FaceBox]:
        """The faces of an image, the surest first; an empty list when there are none.

        image: (H, W, 3) uint8, BGR. confidence: only boxes strictly above it are returned
        (the network itself gives none below 0.01). Boxes lie inside the image and are not empty.
        """
        height, width = image.shape[:2]
        self._network.setInput(cv2.dnn.blobFromImage(image, 1.0, INPUT_SIZE, MEAN_BGR))
        rows = self._network.forward()[0, 0]  # (N, 7): image, class, confidence, x1, y1, x2, y2
        # For no boxes at all OpenCV gives one row of zeros.
        rows = rows[(rows[:, 1] == 1) & (rows[:, 2] > confidence)]
        corners = np.rint(rows[:, 3:7] * (width, height, width, height)).astype(int)
        boxes = [
            FaceBox(*box, confidence=float(row[2])).clip(width, height)
            for box, row in zip(corners.tolist(), rows, strict=True)
        ]
        found = [box for box in boxes if box.area]
        return sorted(found, key=lambda box: box.confidence, reverse=True)
