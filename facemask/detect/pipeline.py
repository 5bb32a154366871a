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
    """Find the faces of an image, and classify all of them in one call.

    image: (H, W, 3) uint8, BGR. confidence: only faces strictly above this detector confidence are
    used. uncertain: a face is labelled UNCERTAIN when the probability of its best class is strictly
    below this. timings: the stages "detect" and "classify" are added to it.
    Returns the detections, the face of the highest confidence first; an empty list without faces.
    Raises FacemaskError when `uncertain` is used with a model that has a class of that name.
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
        probabilities = classifier.predict(crops)
    detections = []
    for face, row in zip(faces, probabilities, strict=True):
        best, probability = int(row.argmax()), float(row.max())
        label = UNCERTAIN if probability < uncertain else classifier.class_names[best]
        detections.append(MaskDetection(face, label, probability))
    return detections
