"""What detection passes around: detectors, classifiers and their results."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from facemask.geometry import FaceBox

UNCERTAIN = "uncertain"  # the label of a face whose best class is not probable enough


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
    """A face, its class, and the probability (0 to 1) that the classifier gives the class.

    Where the label is UNCERTAIN, the probability is that of the best class all the same.
    """

    face: FaceBox
    label: str
    probability: float
    track: int | None = None  # the number of the face in a video, where faces are followed
