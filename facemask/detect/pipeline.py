"""From an image to its faces and their labels."""

import numpy as np

from facemask.detect.types import UNCERTAIN, Classifier, Detector, MaskDetection
from facemask.errors import FacemaskError
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
