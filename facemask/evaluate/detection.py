"""Matching of detections to annotated faces, and the figures of a face detector that rest on it.

One rule for the whole project, COCO's: detections are taken from the highest score down, and each
takes the free annotated face that it overlaps most, from IOU_THRESHOLD on.

    match_boxes(faces, boxes, confidences)  the face of each box, or None
    average_precision(images)               AP50 and AP of ImageBoxes, by faster-coco-eval
    match_scene, detection_metrics, ...     the same for annotated scenes: recall and precision

Boxes are (N, 4) arrays, xyxy, in pixels. Run a detector at AP_CONFIDENCE for average precision.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from facemask.data.pascal_voc import AnnotatedFace
from facemask.evaluate.metrics import Ratio
from facemask.geometry import FaceBox, ious

# A detection is of an annotated face from this overlap on, as in Pascal VOC.
IOU_THRESHOLD = 0.5
# Average precision is of the whole curve of precision over recall, and so needs more boxes than
# people are shown. From .01 on, AP50 of the three detectors is at most .006 higher on the held-out
# scenes, while YuNet gives five to seven times as many boxes to classify.
AP_CONFIDENCE = 0.05
# Face widths in pixels, [from, to), under the names that tables give them.
SIZES = {
    "<16": (0, 16),
    "16-23": (16, 24),
    "24-31": (24, 32),
    "32-59": (32, 60),
    ">=60": (60, None),
}
WIDE_FACE_PX = 32  # from this width on, people see at a glance whether a face is masked


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


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision, 0 to 1; the mean of the classes that have faces, or None without any."""

    ap50: float | None  # at an IoU of .5
    ap: float | None  # the mean over the IoUs .5, .55, ..., .95
    ap50_by_class: dict[str, float | None]
    ap_by_class: dict[str, float | None]


@dataclass(frozen=True)
class SceneDetections:
    """The annotated faces of a scene, a detector's boxes, and the face that each box matches."""

    faces: tuple[AnnotatedFace, ...]
    boxes: tuple[FaceBox, ...]
    matches: tuple[int | None, ...]  # for each box the index of its face


@dataclass(frozen=True)
class DetectionMetrics:
    """How many faces a detector finds, whatever their classes."""

    images: int
    recall: Ratio  # annotated faces that were found
    precision: Ratio  # detections that are of an annotated face
    by_width: dict[str, Ratio]  # recall, by the width of the annotated face
    large: Ratio  # recall, of annotated faces of at least WIDE_FACE_PX pixels' width
    by_label: dict[str, Ratio]  # recall, by the annotated class
    ignored: int  # annotated faces of classes that not all classifiers know


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


Records = list[dict[str, Any]]


def _coco_records(images: Sequence[ImageBoxes], names: Sequence[str]) -> tuple[Records, Records]:
    """Annotations and results in COCO's format; a category is an index of `names`."""
    truth: Records = []
    results: Records = []
    for index, image in enumerate(images):
        face_labels = image.face_labels or [names[0]] * len(image.faces)
        box_labels = image.box_labels or [names[0]] * len(image.boxes)
        for box, label in zip(image.faces, face_labels, strict=True):
            # COCO matches each class for itself, so that what is ignored is so in every class.
            for category in [names.index(label)] if label in names else range(len(names)):
                record = _coco_record(index, box, category)
                # COCO takes an id of 0 for no match.
                record |= {"id": len(truth) + 1, "iscrowd": int(label not in names)}
                truth.append(record)
        results += [
            _coco_record(index, box, names.index(label)) | {"score": float(score)}
            for box, label, score in zip(image.boxes, box_labels, image.scores, strict=True)
            if label in names
        ]
    return truth, results


def _coco_record(image: int, box: np.ndarray, category: int) -> dict[str, Any]:
    x1, y1, x2, y2 = map(float, box)
    size = (x2 - x1, y2 - y1)
    area = size[0] * size[1]
    return {"image_id": image, "category_id": category, "bbox": [x1, y1, *size], "area": area}


def match_scene(faces: Sequence[AnnotatedFace], boxes: Sequence[FaceBox]) -> SceneDetections:
    """match_boxes of annotated faces, whatever their classes, and a detector's boxes."""
    confidences = [box.confidence for box in boxes]
    matches = match_boxes(_as_array([face.box for face in faces]), _as_array(boxes), confidences)
    return SceneDetections(tuple(faces), tuple(boxes), tuple(matches))


def _as_array(boxes: Sequence[FaceBox]) -> np.ndarray:
    """The corners of boxes, (N, 4) float64, xyxy."""
    corners = [(box.x1, box.y1, box.x2, box.y2) for box in boxes]
    return np.array(corners, dtype=np.float64).reshape(-1, 4)


def face_precision(scenes: Sequence[SceneDetections]) -> AveragePrecision:
    """Average precision of a detector alone: all annotated faces are of one class."""
    return average_precision([_image_boxes(scene) for scene in scenes])


def scene_precision(
    scenes: Sequence[SceneDetections],
    probabilities: np.ndarray,
    class_names: Sequence[str],
    known: Sequence[str],
) -> AveragePrecision:
    """Average precision of a detector with a classifier, of each of the `known` classes.

    A detection is of the class with the highest probability; its score is that probability times
    the detector's confidence. Annotated faces of classes that are not known are ignored.

    probabilities: (N, C), a row for each box of each scene in order, columns as class_names.
    """
    images, rest = [], probabilities
    for scene in scenes:
        image = _image_boxes(scene)
        rows, rest = rest[: len(scene.boxes)], rest[len(scene.boxes) :]
        labelled = replace(
            image,
            scores=image.scores * rows.max(axis=1, initial=0.0),
            face_labels=[face.label for face in scene.faces],
            box_labels=[class_names[index] for index in rows.argmax(axis=1)],
        )
        images.append(labelled)
    return average_precision(images, known)


def _image_boxes(scene: SceneDetections) -> ImageBoxes:
    return ImageBoxes(
        faces=_as_array([face.box for face in scene.faces]),
        boxes=_as_array(scene.boxes),
        scores=np.array([box.confidence for box in scene.boxes]),
    )


def size_name(width: int) -> str:
    """The one of SIZES that a face of this width in pixels (0 or more) belongs to."""
    return next(
        name
        for name, (low, high) in SIZES.items()
        if low <= width and (high is None or width < high)
    )


def detection_metrics(scenes: Sequence[SceneDetections], known: Sequence[str]) -> DetectionMetrics:
    """Recall and precision over scenes; faces of classes that are not in `known` count too."""
    faces = [
        (face, index in scene.matches) for scene in scenes for index, face in enumerate(scene.faces)
    ]

    def recall(chosen: Callable[[AnnotatedFace], bool]) -> Ratio:
        detected = [is_detected for face, is_detected in faces if chosen(face)]
        return Ratio(sum(detected), len(detected))

    overall = recall(lambda face: True)
    labels = sorted({face.label for face, _ in faces})
    return DetectionMetrics(
        images=len(scenes),
        recall=overall,
        precision=Ratio(overall.count, sum(len(scene.boxes) for scene in scenes)),
        by_width={
            name: recall(lambda face, name=name: size_name(face.box.width) == name)
            for name in SIZES
        },
        large=recall(lambda face: face.box.width >= WIDE_FACE_PX),
        by_label={label: recall(lambda face, label=label: face.label == label) for label in labels},
        ignored=sum(face.label not in known for face, _ in faces),
    )
