"""The interfaces of detectors and classifiers, their results, and the thresholds they share."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from facemask.geometry import FaceBox

UNCERTAIN = "uncertain"  # the label of a face whose best class is not probable enough

# Thresholds of non-maximum suppression, see geometry.nms. The SSD's are in its prototxt.
NMS_IOU = 0.35  # for the built-in detector, and between tiles
YUNET_NMS_IOU = 0.3  # the default of YuNet's authors
# In a face that fills the image, the built-in detector finds smaller faces as well.
BUILTIN_NMS_IOS = 0.55
TILES_NMS_IOS = 0.5  # neighbouring tiles may give boxes of different size for the same face


class Detector(Protocol):
    """A face detector, such as ssd.SSDFaceDetector."""

    def detect(self, image: np.ndarray, confidence: float = ...) -> list[FaceBox]:
        """The faces of an image, the highest-scoring first; an empty list when there are none.

        image: (H, W, 3) uint8, BGR; it is not changed, and may be a view. confidence: 0 to 1; only
        boxes strictly above it are returned. Boxes lie inside the image and are not empty.
        """
        ...


class Classifier(Protocol):
    """A classifier of face crops, such as classifier.MaskClassifier."""

    @property
    def class_names(self) -> tuple[str, ...]: ...

    @property
    def margin(self) -> float:
        """How far face boxes are grown before cropping; see FaceBox.expand."""
        ...

    def predict(self, crops: list[np.ndarray]) -> np.ndarray:
        """Class probabilities (N, C) of N crops (H, W, 3) uint8, BGR, of any sizes."""
        ...


@dataclass(frozen=True)
class MaskDetection:
    """A face, its class, and the probability (0 to 1) that the classifier gives the class.

    For the label UNCERTAIN, the probability is that of the most probable class.
    """

    face: FaceBox
    label: str
    probability: float
    track: int | None = None  # the number of the face's track in a video, where there are tracks
