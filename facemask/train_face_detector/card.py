"""The card of a trained face detector: where it comes from, and how good it is; and its curves."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate

from facemask.detect.builtin import BuiltinFaceDetector
from facemask.evaluate.detection import (
    AP_CONFIDENCE,
    IOU_THRESHOLD,
    WIDE_FACE_PX,
    ImageBoxes,
    average_precision,
    detection_metrics,
)
from facemask.files import replacing
from facemask.geometry import as_array
from facemask.train.checkpoint import History
from facemask.train_face_detector.loading import Images
from facemask.train_face_detector.samples import AnnotatedImage
from facemask.train_face_detector.validation import F1_TOLERANCE, detect_images

CONFIDENCE = 0.5  # the default of the scripts


def figures_table(path: Path, images: Sequence[AnnotatedImage]) -> str:
    """A Markdown table of what a detector finds in the test images.

    path: the written `.tflite`.
    """
    detector = BuiltinFaceDetector.load(path)

    def detect(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        boxes = detector.detect(image, AP_CONFIDENCE)
        return as_array(boxes), np.array([box.confidence for box in boxes])

    rows = []
    for source in sorted({image.source for image in images}):
        members = [image for image in images if image.source == source]
        rows.append(_row(source, detect_images(detect, members)))
    return tabulate(rows, "keys", tablefmt="github", floatfmt=".3f", missingval="-")


def _row(source: str, images: Sequence[ImageBoxes]) -> dict[str, str | int | float | None]:
    metrics = detection_metrics(images, CONFIDENCE, known=[])
    precision = average_precision(images)
    return {
        "scenes": source,
        "photographs": len(images),
        "faces": metrics["recall"].total,
        "found": metrics["recall"].fraction,
        f"of {WIDE_FACE_PX} pixels or more": metrics["large"].fraction,
        "precision": metrics["precision"].fraction,
        "mAP@.5": precision.ap50,
        "mAP@[.5:.95]": precision.ap,
    }


def card_text(
    name: str,
    command: str,
    settings: Mapping[str, object],
    versions: Mapping[str, str],
    images: Images,
    table: str,
    calibration: tuple[float, float],
) -> str:
    """The card in Markdown.

    name: of the detector's file; command, settings, versions: what it was made by; table: see
    figures_table; calibration: the scale and the offset of the logit.
    """
    scale, offset = calibration
    calibrated_on = len(images["validation"])
    scenes = [image for image in images["train"] if not image.portrait]
    portraits = [image for image in images["train"] if image.portrait]
    return f"""# The built-in face detector: {name}

Made by

    {command}

with the settings `{json.dumps(settings)}` and the versions `{json.dumps(versions)}`.

- Trained on {len(scenes)} scenes and video frames with {_faces(scenes)} faces: annotated ones in
  scenes, pseudo-labels of YuNet in frames. Faces that only YuNet finds in a scene are ignored.
- Trained on {len(portraits)} portraits with {_faces(portraits)} faces: pseudo-labels of YuNet, in
  the shape of the annotated boxes. Some have a mask drawn onto the face.
- Calibrated on {calibrated_on} other scenes: the logit times {scale:.2f} plus {offset:.2f}. On
  these, F1 at a confidence of {CONFIDENCE:g} is within {F1_TOLERANCE:g} of its greatest.

The photographs of the following figures were used for neither. A box counts as found from an IoU
of {IOU_THRESHOLD:g} on and above a confidence of {CONFIDENCE:g}. The average precision (mAP) is
COCO's, of all boxes above a confidence of {AP_CONFIDENCE:g}.

{table}

How the detector of this project came about: [docs/face_detector.md](../docs/face_detector.md).
"""


def _faces(images: Sequence[AnnotatedImage]) -> int:
    return sum(len(image.faces) for image in images)


def plot_history(path: Path, history: History) -> None:
    """Draw the loss, and beside it the average precision; the suffix decides the format."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(range(1, len(history["loss"]) + 1), history["loss"])
    left.set(xlabel="Epoch", title="Training loss")
    for name, label in (("ap50", "mAP@.5"), ("ap", "mAP@[.5:.95]")):
        right.plot(history["epoch"], history[name], marker=".", label=label)
    right.set(xlabel="Epoch", title="Average precision on validation, EMA weights")
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
