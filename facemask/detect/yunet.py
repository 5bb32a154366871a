"""Finding faces: YuNet (Wu, Peng and Yu, YuNet: A Tiny Millisecond-level Face Detector, 2023)."""

import os
from pathlib import Path

import cv2
import numpy as np

from facemask.errors import FacemaskError
from facemask.geometry import FaceBox

WEIGHTS_NAME = "yunet_n_640_640.onnx"

# YuNet misses faces of few pixels, so that small images are enlarged to this, twice at most; and
# large ones are shrunk to it.
LONGER_SIDE = 1280
MOST_ENLARGED = 2.0
LEAST_SIDE = 32  # pixels: of less, its coarsest cells see nothing, and say anything
NMS_IOU = 0.3  # YuNet's own default
MOST_BOXES = 5000


class YuNetFaceDetector:
    """YuNet through cv2.FaceDetectorYN, loaded once and called for each image."""

    def __init__(self, network: cv2.FaceDetectorYN):
        self._network = network

    @staticmethod
    def has_weights(folder: str | os.PathLike[str]) -> bool:
        """Whether the folder holds the detector's weights."""
        return (Path(folder) / WEIGHTS_NAME).is_file()

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "YuNetFaceDetector":
        """Load the detector from the folder that holds its weights.

        Raises FacemaskError when the weights are missing, or are not those of this network.
        """
        weights = Path(folder) / WEIGHTS_NAME
        if not cls.has_weights(folder):
            raise FacemaskError(
                f"{weights}: no such file; expected YuNet's weights there"
                " (python -m facemask.downloads yunet)"
            )
        try:
            network = cv2.FaceDetectorYN.create(
                str(weights), "", (320, 320), 0.5, NMS_IOU, MOST_BOXES
            )
            # Weights of another network show only when the network runs.
            detector = cls(network)
            detector.detect(np.zeros((320, 320, 3), np.uint8))
        except cv2.error as error:
            raise FacemaskError(
                f"{weights}: not the weights of YuNet: {error.err or error}"
            ) from error
        return detector

    def detect(self, image: np.ndarray, confidence: float = 0.5) -> list[FaceBox]:
        """The faces of an image, the surest first; an empty list when there are none.

        image: (H, W, 3) uint8, BGR. confidence: only boxes strictly above it are returned. Boxes
        lie inside the image and are not empty.
        """
        return [box for box, _ in self.detect_landmarks(image, confidence)]

    def detect_landmarks(
        self, image: np.ndarray, confidence: float = 0.5
    ) -> list[tuple[FaceBox, np.ndarray]]:
        """The same with each face's landmarks, (5, 2) float32, x and y in pixels.

        These are the eyes, the tip of the nose and the corners of the mouth; of pairs the one on
        the picture's left comes first, in a face that is upright.
        """
        height, width = image.shape[:2]
        scale = min(MOST_ENLARGED, LONGER_SIDE / max(height, width))
        # Both scales as they come out, or boxes would be off.
        size = max(LEAST_SIDE, round(width * scale)), max(LEAST_SIDE, round(height * scale))
        self._network.setInputSize(size)
        self._network.setScoreThreshold(confidence)
        rows = self._network.detect(cv2.resize(image, size))[1]
        if rows is None:
            return []
        rows = rows[np.isfinite(rows).all(axis=1)]  # of very flat images some are not
        shrink = np.array([width / size[0], height / size[1]], np.float32)
        corners = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        corners = np.rint(corners * np.tile(shrink, 2)).astype(int)
        boxes = [
            FaceBox(*box, confidence=float(row[14])).clip(width, height)
            for box, row in zip(corners.tolist(), rows, strict=True)
        ]
        found = [
            (box, row[4:14].reshape(5, 2) * shrink)
            for box, row in zip(boxes, rows, strict=True)
            if box.area and box.confidence > confidence
        ]
        return sorted(found, key=lambda one: one[0].confidence, reverse=True)
