"""From an image to its faces and their labels."""

from collections.abc import Sequence

import numpy as np

from facemask.detect.types import UNCERTAIN, Classifier, Detector, MaskDetection
from facemask.errors import FacemaskError
from facemask.geometry import FaceBox
from facemask.images import crop_face
from facemask.timings import NO_TIMINGS, Timings


def detect_masks(
    image: np.ndarray,
    detector: Detector,
    classifier: Classifier,
    confidence: float = 0.5,
    uncertain: float = 0.0,
    timings: Timings = NO_TIMINGS,
) -> list[MaskDetection]:
    """Find the faces of an image, and classify all of them in one call.

    image: (H, W, 3) uint8, BGR. confidence: only faces strictly above this detector confidence are
    used. timings: the stages "detect" and "classify" are added to it.
    Returns the detections, the face of the highest confidence first; an empty list without faces.
    uncertain, and what is raised: as check_uncertain and classify_faces.
    """
    check_uncertain(classifier, uncertain)
    with timings.stage("detect"):
        faces = detector.detect(image, confidence)
    return classify_faces(image, faces, classifier, uncertain, timings)


def classify_faces(
    image: np.ndarray,
    faces: Sequence[FaceBox],
    classifier: Classifier,
    uncertain: float = 0.0,
    timings: Timings = NO_TIMINGS,
) -> list[MaskDetection]:
    """The faces of an image (H, W, 3) uint8, BGR, with their classes, in the same order.

    uncertain: a face is labelled UNCERTAIN when the probability of its best class is strictly
    below this. timings: the stage "classify" is added to it, where there are faces.
    """
    if not faces:
        return []
    with timings.stage("classify"):
        crops = [crop_face(image, face, classifier.margin) for face in faces]
        probabilities = classifier.predict(crops)
    detections = []
    for face, row in zip(faces, probabilities, strict=True):
        best, probability = int(row.argmax()), float(row.max())
        label = UNCERTAIN if probability < uncertain else classifier.class_names[best]
        detections.append(MaskDetection(face, label, probability))
    return detections


def check_uncertain(classifier: Classifier, uncertain: float) -> None:
    """Raise FacemaskError when `uncertain` is used with a model that has a class of that name."""
    if uncertain and UNCERTAIN in classifier.class_names:
        raise FacemaskError(
            f"--uncertain {uncertain:g}: the model has a class named {UNCERTAIN!r} itself, and the"
            " two could not be told apart; expected a model without"
        )
