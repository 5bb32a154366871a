"""The card of a trained face detector: where it comes from, and how good it is; and its curves."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from facemask.detect.types import Detector
from facemask.evaluate.detection import (
    AP_CONFIDENCE,
    IOU_THRESHOLD,
    LARGE_FACE_PX,
    LIGHT_LIMITS,
    LIGHTS,
    WIDE_FACE_PX,
    WIDTHS,
    ImageBoxes,
    average_precision,
    detection_metrics,
    light_group,
)
from facemask.evaluate.metrics import Ratio
from facemask.evaluate.runner import time_detectors
from facemask.files import replacing
from facemask.geometry import FaceBox, as_array
from facemask.images import crop_face, read_image
from facemask.train.checkpoint import History
from facemask.train_face_detector.loading import Loaded
from facemask.train_face_detector.samples import AnnotatedImage
from facemask.train_face_detector.validation import F1_TOLERANCE

CONFIDENCE = 0.5  # the default of the scripts

Row = dict[str, Any]  # cells by column


def figures(
    detectors: Mapping[str, Detector],
    images: Sequence[AnnotatedImage],
    portraits: Mapping[str, Sequence[Path]],
) -> str:
    """Markdown tables of what detectors find in test images, and in how many portraits one face.

    detectors: by name, to run on one thread; portraits: by the name of their folder.
    """
    metrics: dict[tuple[str, str], dict[str, Any]] = {}
    rows: list[Row] = []
    for source in sorted({image.source for image in images}):
        members = [image for image in images if image.source == source]
        for name, boxes in _detect(detectors, members).items():
            metrics[source, name] = detection_metrics(boxes, CONFIDENCE, known=[])
            rows.append(_row(source, name, boxes, metrics[source, name]))
    groups = {"by_width": WIDTHS, "by_light": LIGHTS}
    tables = [rows] + [
        [
            {"scenes": source, "detector": name}
            | {group: _fraction_of(figures[key][group]) for group in names}
            for (source, name), figures in metrics.items()
        ]
        for key, names in groups.items()
    ]
    tables.append([
        row for source, paths in portraits.items() for row in _box_counts(source, paths, detectors)
    ])  # fmt: skip
    frame = read_image(images[0].path)
    times = time_detectors(detectors, frame), time_detectors(detectors, np.full_like(frame, 127))
    tables.append([
        {"detector": name, "a photograph": times[0][name], "no face": times[1][name]}
        for name in detectors
    ])  # fmt: skip
    dark, bright = LIGHT_LIMITS
    titles = (
        "All faces:",
        "Found by the face's width in pixels:",
        f"Found by the light on the face (grey below {dark} is dark, from {bright} on bright):",
        "Portraits and cropped faces, by how many boxes they get:",
        "Milliseconds for an image of 640x480 pixels, on one thread, the median of calls in turn: a"
        " photograph,\nand an image without a face, which the built-in detector searches in two"
        " sizes (as it does where\nit finds a large face):",
    )
    return "\n\n".join(
        f"{title}\n\n{_table(rows)}" for title, rows in zip(titles, tables, strict=True) if rows
    )


def _fraction_of(ratio: Ratio) -> str | None:
    return f"{ratio.fraction:.3f} of {ratio.total}" if ratio.total else None


def _table(rows: Sequence[Row]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[row.get(name) for name in columns] for row in rows]
    return tabulate(cells, columns, tablefmt="github", floatfmt=".3f", missingval="-")


def _detect(
    detectors: Mapping[str, Detector], images: Sequence[AnnotatedImage]
) -> dict[str, list[ImageBoxes]]:
    """The annotated faces of images, and each detector's boxes, above AP_CONFIDENCE."""
    by_detector: dict[str, list[ImageBoxes]] = {name: [] for name in detectors}
    for image in images:
        pixels = read_image(image.path)
        corners = np.rint(image.faces).astype(int).tolist()
        lights = [light_group(crop_face(pixels, FaceBox(*box, confidence=1.0))) for box in corners]
        for name, detector in detectors.items():
            boxes = detector.detect(pixels, AP_CONFIDENCE)
            scores = np.array([box.confidence for box in boxes])
            by_detector[name].append(
                ImageBoxes(image.faces, as_array(boxes), scores, image.labels, face_lights=lights)
            )
    return by_detector


def _row(source: str, name: str, images: Sequence[ImageBoxes], metrics: dict[str, Any]) -> Row:
    # Of faces of any class.
    precision = average_precision(
        [ImageBoxes(image.faces, image.boxes, image.scores) for image in images]
    )
    return {
        "scenes": source,
        "detector": name,
        "photographs": len(images),
        "faces": metrics["recall"].total,
        "mAP@.5": precision.ap50,
        "mAP@[.5:.95]": precision.ap,
        "found": metrics["recall"].fraction,
        f">= {WIDE_FACE_PX} px": metrics["large"].fraction,
        "precision": metrics["precision"].fraction,
        f"IoU >= {LARGE_FACE_PX} px": metrics["large_iou"],
        **{f"{label}": ratio.fraction for label, ratio in metrics["by_label"].items()},
    }


def _box_counts(source: str, paths: Sequence[Path], detectors: Mapping[str, Detector]) -> list[Row]:
    counts = {name: [0, 0, 0] for name in detectors}
    for path in paths:
        pixels = read_image(path)
        for name, detector in detectors.items():
            counts[name][min(2, len(detector.detect(pixels, CONFIDENCE)))] += 1
    return [
        {
            "photographs": source,
            "detector": name,
            "number": len(paths),
            "no box": none,
            "one": one,
            "several": several,
            "one, ratio": one / max(1, len(paths)),
        }
        for name, (none, one, several) in counts.items()
    ]


def card_text(
    name: str,
    command: str,
    settings: Mapping[str, object],
    versions: Mapping[str, str],
    loaded: Loaded,
    tables: str,
    calibration: tuple[float, float],
) -> str:
    """The card in Markdown.

    name: of the detector's file; command, settings, versions: what it was made by; tables: see
    figures; calibration: the scale and the offset of the logit.
    """
    scale, offset = calibration
    calibrated_on = len(loaded.images["validation"])
    train = loaded.images["train"]
    scenes = [image for image in train if not image.portrait]
    portraits = [image for image in train if image.portrait]
    conventions = _table([
        {"scenes": source, "faces": "unmasked" if unmasked else "masked"}
        | dict(zip(("left", "top", "right", "bottom"), offsets.tolist(), strict=True))
        for (source, unmasked), offsets in loaded.conventions.items()
    ])  # fmt: skip
    return f"""# The built-in face detector: {name}

Made by

    {command}

with the settings `{json.dumps(settings)}` and the versions `{json.dumps(versions)}`.

- Trained on {len(scenes)} scenes and video frames with {_faces(scenes)} faces: annotated ones in
  scenes, pseudo-labels of YuNet in frames. What only one of an annotation and YuNet holds for a
  face is ignored: faces that only YuNet finds, and boxes of `--detected` that YuNet does not find.
- Trained on {len(portraits)} portraits with {_faces(portraits)} faces: pseudo-labels of YuNet.
- Some of both are copies with masks drawn onto the faces.
- Calibrated on {calibrated_on} other scenes: the logit times {scale:.2f} plus {offset:.2f}. On
  these, F1 at a confidence of {CONFIDENCE:g} is within {F1_TOLERANCE:g} of its greatest.

Boxes of all sources have the mean convention of the folders of `--scenes`. The median differences
to YuNet's boxes, as ratios of their width and height:

{conventions}

## Figures

The photographs of these figures were used for neither; the `.split.json` beside the detector lists
them. Boxes are as annotated. A box counts as found from an IoU of {IOU_THRESHOLD:g} on and above a
confidence of {CONFIDENCE:g}. The average precision (mAP) is COCO's, of all boxes above a confidence
of {AP_CONFIDENCE:g}.

{tables}

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
