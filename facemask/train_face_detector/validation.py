"""Average precision and calibration of the built-in face detector's network."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from facemask.detect.builtin import find_faces
from facemask.evaluate import detection
from facemask.evaluate.detection import AP_CONFIDENCE, AveragePrecision, ImageBoxes, match_boxes
from facemask.images import read_image
from facemask.train_face_detector.samples import AnnotatedImage

# The default confidence is the lowest one whose F1 is this near to the greatest: on so few
# photographs that is no difference, and a face that is not found gets no label at all.
F1_TOLERANCE = 0.0125

# From an image, (H, W, 3) uint8, BGR, to boxes (N, 4), xyxy in its pixels, and confidences (N,).
Detect = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def detect_images(detect: Detect, images: Sequence[AnnotatedImage]) -> list[ImageBoxes]:
    """The annotated faces of images, and a detector's boxes."""
    return [ImageBoxes(image.faces, *detect(read_image(image.path))) for image in images]


def network_detector(network: Any) -> Detect:
    """A detector that runs a Keras network, and gives all boxes above AP_CONFIDENCE."""

    def predict(batch: np.ndarray) -> np.ndarray:
        return np.array(network(batch.astype(np.float32), training=False))

    def detect(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return find_faces(image, AP_CONFIDENCE, predict, predict)

    return detect


def average_precision(network: Any, images: Sequence[AnnotatedImage]) -> AveragePrecision:
    """The average precision of a network, as evaluate.detection defines it."""
    return detection.average_precision(detect_images(network_detector(network), images))


def describe(precision: AveragePrecision) -> str:
    """Average precision as a part of a log line."""
    return f"mAP@.5 {precision.ap50 or 0:.3f}, mAP@[.5:.95] {precision.ap or 0:.3f}"


def calibrate(network: Any, images: Sequence[AnnotatedImage]) -> tuple[float, float]:
    """The scale and the offset that calibrate a network's logit of a face; see calibration."""
    return calibration(detect_images(network_detector(network), images))


def calibration(images: Sequence[ImageBoxes]) -> tuple[float, float]:
    """The scale and the offset that calibrate the logit of a face, from boxes of validation images.

    The scale is that of a logistic regression of whether a box matches a face (Platt, Probabilistic
    Outputs for Support Vector Machines, 1999). The offset moves the confidence that F1_TOLERANCE
    selects to .5, the default of the scripts.
    """
    from sklearn.linear_model import LogisticRegression

    scores, correct = [], []
    for image in images:
        scores += image.scores.tolist()
        matches = match_boxes(image.faces, image.boxes, image.scores)
        correct += [match is not None for match in matches]
    if all(correct) or not any(correct):
        return 1.0, 0.0  # no regression is possible, as after a short trial run
    order = np.argsort(-np.array(scores), kind="stable")
    is_correct = np.array(correct)[order]
    confidences = np.clip(np.array(scores)[order], 1e-6, 1 - 1e-6)
    logits = np.log(confidences / (1 - confidences))
    scale = float(LogisticRegression(C=1e6).fit(logits[:, None], is_correct).coef_[0, 0])
    if scale <= 0:
        return 1.0, 0.0
    count = np.arange(1, len(logits))  # boxes that are kept, from the highest confidence down
    faces = sum(len(image.faces) for image in images)
    f1 = 2 * np.cumsum(is_correct)[:-1] / (count + faces)
    last = int(np.flatnonzero(f1 >= f1.max() - F1_TOLERANCE)[-1])
    return scale, -scale * float(logits[last] + logits[last + 1]) / 2
