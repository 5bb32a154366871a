"""From an image to its faces and their labels."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from facemask.errors import FacemaskError
from facemask.geometry import FaceBox
from facemask.images import crop_face
from facemask.timings import NO_TIMINGS, Timings

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


def detect_masks(
    image: np.ndarray,
    detector: Detector,
    classifier: Classifier,
    confidence: float = 0.5,
    uncertain: float = 0.0,
    timings: Timings = NO_TIMINGS,
) -> list[MaskDetection]:
    """Find the faces of an image and classify them all in one call.

    image: (H, W, 3) uint8, BGR. confidence: faces of strictly more detector confidence count.
    uncertain: faces whose best class has strictly less probability are labelled UNCERTAIN.
    timings: what the stages "detect" and "classify" are added to.
    Returns the detections, the surest face first; an empty list when there is no face.
    Raises FacemaskError where `uncertain` is used with a model that has a class of that name.
    """
    if uncertain and UNCERTAIN in classifier.class_names:
        raise FacemaskError(
            f"--uncertain {uncertain:g}: the model has a class named {UNCERTAIN!r} itself, and the"
            " two could not be told apart; expected a model without"
        )
    with timings.stage("detect"):
        faces = detector.detect(image, confidence)
    if not faces:
        return []
    with timings.stage("classify"):
        crops = [crop_face(image, face, classifier.margin) for face in faces]
        rows = classifier.predict(crops)
    found = []
    for face, row in zip(faces, rows, strict=True):
        best, probability = int(row.argmax()), float(row.max())
        label = UNCERTAIN if probability < uncertain else classifier.class_names[best]
        found.append(MaskDetection(face, label, probability))
    return found
