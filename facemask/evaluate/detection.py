"""Matching of detections to annotated faces, and the figures of a face detector that rest on it.

One rule for the whole project, COCO's: detections are taken from the highest score down, and each
takes the free annotated face that it overlaps most, from IOU_THRESHOLD on.

    match_boxes(faces, boxes, confidences)  the face of each box, or None
    average_precision(images)               AP50 and AP of ImageBoxes, by faster-coco-eval
    detection_metrics(images, ...)          recall and precision at one confidence

Boxes are (N, 4) arrays, xyxy, in pixels. Run a detector at AP_CONFIDENCE for average precision.
"""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from statistics import fmean
from typing import Any

import cv2
import numpy as np

from facemask.evaluate.metrics import Ratio
from facemask.geometry import ious

# A detection is of an annotated face from this overlap on, as in Pascal VOC.
IOU_THRESHOLD = 0.5
# Average precision is of the whole curve of precision over recall, and so needs more boxes than
# people are shown. From .01 on, AP50 of the three detectors is at most .006 higher on the held-out
# scenes, while YuNet gives five to seven times as many boxes to classify.
AP_CONFIDENCE = 0.05
# Groups of face widths, whole pixels, and the limits between them.
WIDTH_LIMITS = (16, 24, 32, 60)
WIDTHS = ("<16", "16-23", "24-31", "32-59", ">=60")
WIDE_FACE_PX = 32  # from this width on, people see at a glance whether a face is masked
# From this width on, how well a box fits counts as well: crops of such faces show what is in it.
LARGE_FACE_PX = 100
# The light on a face: the mean grey of its box, 0 to 255, and the limits between the groups. A
# backlit face is dark, too.
LIGHT_LIMITS = (60, 180)
LIGHTS = ("dark", "usual", "bright")


@dataclass(frozen=True)
class ImageBoxes:
    """The annotated faces and the scored detections of one image.

    Labels are names of classes; without them, all boxes are of the first class that is asked for.
    """

    faces: np.ndarray  # (N, 4)
    boxes: np.ndarray  # (M, 4)
    scores: np.ndarray  # (M,)
    face_labels: Sequence[str] | None = None  # N
    box_labels: Sequence[str] | None = None  # M
    face_lights: Sequence[str] | None = None  # N, of LIGHTS


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision, 0 to 1; the mean of the classes that have faces, or None without any."""

    ap50: float | None  # at an IoU of .5
    ap: float | None  # the mean over the IoUs .5, .55, ..., .95
    ap50_by_class: dict[str, float | None]
    ap_by_class: dict[str, float | None]


def match_boxes(
    faces: np.ndarray, boxes: np.ndarray, confidences: Sequence[float] | np.ndarray
) -> list[int | None]:
    """For each box the index of the annotated face that it is a detection of, or None.

    The box with the highest confidence comes first. Each takes the free face with the highest IoU,
    if that is at least IOU_THRESHOLD: the rule of COCO (T.-Y. Lin et al., "Microsoft COCO: Common
    Objects in Context", ECCV 2014).

    faces: (N, 4); boxes: (M, 4), xyxy; confidences: (M,).
    """
    matches: list[int | None] = [None] * len(boxes)
    if not len(faces):
        return matches
    free = np.ones(len(faces), dtype=bool)
    for index in np.argsort(-np.asarray(confidences), kind="stable").tolist():
        overlaps = np.where(free, ious(np.asarray(boxes[index]), faces), -1.0)
        best = int(overlaps.argmax())
        if overlaps[best] >= IOU_THRESHOLD:
            matches[index] = best
            free[best] = False
    return matches


def average_precision(
    images: Sequence[ImageBoxes], class_names: Sequence[str] = ("face",)
) -> AveragePrecision:
    """Average precision over images, as COCO defines it: the mean precision at 101 recalls.

    Unlike COCO's own figures, it is of all detections of an image, not of a hundred. Annotated
    faces of other classes are regions to ignore (COCO's iscrowd): a detection of which at least
    half lies in one counts neither as true nor as false. Detections of other classes are left out.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    truth, results = _coco_records(images, class_names)
    dataset = {
        "images": [{"id": index} for index in range(len(images))],
        "categories": [{"id": index, "name": name} for index, name in enumerate(class_names)],
        "annotations": truth,
    }
    coco = COCO(dataset)
    evaluation = COCOeval_faster(coco, coco.loadRes(results), iouType="bbox")
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.params.maxDets = [max(1, len(results))]
    evaluation.evaluate()
    evaluation.accumulate()
    # (IoU thresholds, recalls, classes); -1 for a class without faces.
    by_class = np.asarray(evaluation.eval["precision"])[..., 0, 0].mean(axis=1)

    def figures(values: np.ndarray) -> tuple[float | None, dict[str, float | None]]:
        has_faces = values >= 0
        mean = float(values[has_faces].mean()) if has_faces.any() else None
        named = zip(class_names, values.tolist(), strict=True)
        return mean, {name: value if value >= 0 else None for name, value in named}

    ap50, ap50_by_class = figures(by_class[0])
    ap, ap_by_class = figures(by_class.mean(axis=0))
    return AveragePrecision(ap50, ap, ap50_by_class, ap_by_class)


def _coco_records(
    images: Sequence[ImageBoxes], names: Sequence[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Annotations and results in COCO's format; a category is an index of `names`."""
    truth, results = [], []
    for index, image in enumerate(images):
        face_labels = image.face_labels or [names[0]] * len(image.faces)
        box_labels = image.box_labels or [names[0]] * len(image.boxes)
        truth += [
            _coco_record(index, box, category) | {"iscrowd": int(label not in names)}
            for box, label in zip(image.faces, face_labels, strict=True)
            # COCO matches each class for itself, so that what is ignored is so in every class.
            for category in ([names.index(label)] if label in names else range(len(names)))
        ]
        results += [
            _coco_record(index, box, names.index(label)) | {"score": float(score)}
            for box, label, score in zip(image.boxes, box_labels, image.scores, strict=True)
            if label in names
        ]
    # COCO takes an id of 0 for no match.
    return [record | {"id": number} for number, record in enumerate(truth, start=1)], results


def _coco_record(image: int, box: np.ndarray, category: int) -> dict[str, Any]:
    x1, y1, x2, y2 = map(float, box)
    size = (x2 - x1, y2 - y1)
    area = size[0] * size[1]
    return {"image_id": image, "category_id": category, "bbox": [x1, y1, *size], "area": area}


def width_group(width: float) -> str:
    """The one of WIDTHS that a face of this width in pixels belongs to."""
    return WIDTHS[bisect(WIDTH_LIMITS, width)]


def light_group(face: np.ndarray) -> str:
    """The one of LIGHTS that a face belongs to. face: its box's pixels, (H, W, 3) uint8, BGR."""
    return LIGHTS[bisect(LIGHT_LIMITS, float(cv2.cvtColor(face, cv2.COLOR_BGR2GRAY).mean()))]


def detection_metrics(
    images: Sequence[ImageBoxes], confidence: float, known: Sequence[str]
) -> dict[str, Any]:
    """How many faces a detector finds by its boxes above a confidence: Ratios and counts.

    `recall`, also by_width, by_label, by_light, and of `large` faces (WIDE_FACE_PX), is of the
    annotated faces, whatever their classes; `precision` is of the boxes; `large_iou` is the mean
    IoU of the found faces from LARGE_FACE_PX on, None where there are none; `ignored` faces are of
    classes that are not in `known`. images: with face_labels.
    """
    widths: list[float] = []
    labels: list[str] = []
    lights: list[str] = []
    detected: list[bool] = []  # for each face
    overlaps: list[float] = []  # of found large faces
    detections = 0
    for image in images:
        above = image.scores > confidence
        matches = match_boxes(image.faces, image.boxes[above], image.scores[above])
        widths += (image.faces[:, 2] - image.faces[:, 0]).tolist()
        labels += image.face_labels or []
        lights += image.face_lights or []
        for box, match in zip(image.boxes[above], matches, strict=True):
            face = None if match is None else image.faces[match]
            if face is not None and face[2] - face[0] >= LARGE_FACE_PX:
                overlaps.append(float(ious(box, face)))
        detected += [index in matches for index in range(len(image.faces))]
        detections += len(matches)

    def recall(chosen: Sequence[bool]) -> Ratio:
        return Ratio(sum(compress(detected, chosen)), sum(chosen))

    groups = [width_group(width) for width in widths]
    return {
        "images": len(images),
        "recall": Ratio(sum(detected), len(detected)),
        "precision": Ratio(sum(detected), detections),
        "by_width": {name: recall([group == name for group in groups]) for name in WIDTHS},
        "large": recall([width >= WIDE_FACE_PX for width in widths]),
        "by_label": {
            name: recall([label == name for label in labels]) for name in sorted(set(labels))
        },
        "by_light": {name: recall([light == name for light in lights]) for name in LIGHTS},
        "large_iou": fmean(overlaps) if overlaps else None,
        "ignored": sum(label not in known for label in labels),
    }
