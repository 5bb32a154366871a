"""From an image to its faces and their labels."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from facemask.geometry import FaceBox
from facemask.images import crop_face


class Detector(Protocol):
    """What finds faces; see detector.FaceDetector."""

    def detect(self, image: np.ndarray, confidence: float = ...) -> list[FaceBox]: ...


class Classifier(Protocol):
    """What names crops; see classifier.MaskClassifier."""

    @property
    def class_names(self) -> tuple[str, ...]: ...

    @property
    def margin(self) -> float: ...

    def predict(self, crops: list[np.ndarray]) -> np.ndarray: ...


@dataclass(frozen=True)
class MaskDetection:
    """A face, its class, and the probability (0 to 1) that the classifier gives the class."""

    face: FaceBox
    label: str
    probability: float


def detect_masks(
    image: np.ndarray, detector: Detector, classifier: Classifier, confidence: float = 0.5
) -> list[MaskDetection]:
    """Find the faces of an image and classify them all in one call.

    image: (H, W, 3) uint8, BGR. confidence: faces of strictly more detector confidence count.
    Returns the detections, the surest face first; an empty list when there is no face.
    """
    faces = detector.detect(image, confidence)
    if not faces:
        return []
    crops = [crop_face(image, face, classifier.margin) for face in faces]
    probabilities = classifier.predict(crops)
    return [
        MaskDetection(face, classifier.class_names[int(row.argmax())], float(row.max()))
        for face, row in zip(faces, probabilities, strict=True)
    ]
