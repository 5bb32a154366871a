"""The face detector YuNet (Wu et al., YuNet: A Tiny Millisecond-level Face Detector, 2023)."""

import os
import threading
from pathlib import Path

import cv2
import numpy as np

from facemask.detect.types import YUNET_NMS_IOU
from facemask.errors import FacemaskError
from facemask.geometry import FaceBox, face_boxes

WEIGHTS_NAME = "yunet_n_640_640.onnx"

# Pixels. YuNet misses faces of few pixels, so smaller images are enlarged to this longer side, but
# not more than MAX_ENLARGEMENT times. Larger ones are shrunk to it.
LONGER_SIDE = 1280
MAX_ENLARGEMENT = 2.0
# Pixels. OpenCV pads the input to multiples of 32, the largest stride. A side of 32 would leave its
# coarsest level with one row, and there OpenCV 4.14 gives random boxes.
MIN_SIDE = 33
TOP_K = 5000  # boxes that enter non-maximum suppression; OpenCV's default


class YuNetFaceDetector:
    """YuNet by cv2.FaceDetectorYN: load it once, and call it for each image, from any thread."""

    def __init__(self, network: cv2.FaceDetectorYN):
        self._network = network
        self._lock = threading.Lock()  # size and threshold lie in the network

    @staticmethod
    def has_weights(folder: str | os.PathLike[str]) -> bool:
        """Whether the folder holds the detector's weights."""
        return (Path(folder) / WEIGHTS_NAME).is_file()

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "YuNetFaceDetector":
        """Load the detector from the folder that holds its weights.

        Raises FacemaskError when the weights are missing or those of another network.
        """
        weights = Path(folder) / WEIGHTS_NAME
        if not cls.has_weights(folder):
            raise FacemaskError(
                f"{weights}: no such file; expected YuNet's weights there"
                " (python -m facemask.downloads yunet)"
            )
        try:
            detector = cls(
                cv2.FaceDetectorYN.create(str(weights), "", (320, 320), 0.5, YUNET_NMS_IOU, TOP_K)
            )
            # OpenCV notices the weights of another network only when it runs.
            detector.detect(np.zeros((320, 320, 3), np.uint8))
        except cv2.error as error:
            raise FacemaskError(
                f"{weights}: not the weights of YuNet: {error.err or error}"
            ) from error
        return detector

    def detect(self, image: np.ndarray, confidence: float = 0.5) -> list[FaceBox]:
        """See types.Detector."""
        return [box for box, _ in self.detect_landmarks(image, confidence)]

    def detect_landmarks(
        self, image: np.ndarray, confidence: float = 0.5
    ) -> list[tuple[FaceBox, np.ndarray]]:
        """The boxes that detect gives, each with the face's landmarks.

        Landmarks: (5, 2) float32, x and y in pixels, of the eyes, the tip of the nose and the
        corners of the mouth. In an upright face the eye and the corner on the image's left come
        first.
        """
        height, width = image.shape[:2]
        scale = min(MAX_ENLARGEMENT, LONGER_SIDE / max(height, width))
        size = max(MIN_SIDE, round(width * scale)), max(MIN_SIDE, round(height * scale))
        resized = cv2.resize(image, size)
        with self._lock:
            self._network.setInputSize(size)
            self._network.setScoreThreshold(confidence)
            rows = self._network.detect(resized)[1]
        if rows is None:
            return []
        rows = rows[np.isfinite(rows).all(axis=1)]  # images of one colour give infinite numbers
        # After rounding and MIN_SIDE the two sides may have different scales.
        ratios = np.array([width / size[0], height / size[1]], np.float32)
        corners = np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]]) * np.tile(ratios, 2)
        boxes = face_boxes(corners, rows[:, 14], width, height)
        faces = [
            (box, row[4:14].reshape(5, 2) * ratios)
            for box, row in zip(boxes, rows, strict=True)
            if box.area and box.confidence > confidence
        ]
        return sorted(faces, key=lambda face: face[0].confidence, reverse=True)
