"""Matching of detections to annotated faces, and the figures of a face detector that rest on it.

One rule for the whole project, COCO's: detections are taken from the highest score down, and each
takes the free annotated face that it overlaps most, from IOU_THRESHOLD on.

    match_boxes(faces, boxes, confidences)  the face of each box, or None
    average_precision(images)               AP50 and AP of ImageBoxes, by faster-coco-eval
    match_scene, detection_metrics          the same for annotated scenes: recall and precision

Boxes are (N, 4) arrays, xyxy, in pixels. Run a detector at AP_CONFIDENCE for average precision.
Boxes above a higher confidence keep their matches when the others are dropped, since they are
matched first: one run gives the figures at each confidence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from facemask.data.pascal_voc import AnnotatedFace
from facemask.evaluate.metrics import Ratio
from facemask.geometry import FaceBox, ious

# A detection is of an annotated face from this overlap on, as in Pascal VOC.
IOU_THRESHOLD = 0.5
# Average precision needs the whole curve of precision over recall, and so far more boxes than are
# shown to people. Below this confidence, boxes add next to nothing to it and cost much time.
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


def _no_boxes() -> np.ndarray:
    return np.zeros((0, 4), np.float32)


@dataclass(frozen=True)
class ImageBoxes:
    """The annotated faces and the scored detections of one image.

    Classes are indices into the class_names of average_precision; without them, all are of the
    first class. Detections of which at least half lies in an ignored box count neither as true nor
    as false, unless they match an annotated face.
    """

    faces: np.ndarray  # (N, 4)
    boxes: np.ndarray  # (M, 4)
    scores: np.ndarray  # (M,)
    face_classes: np.ndarray | None = None  # (N,) int
    box_classes: np.ndarray | None = None  # (M,) int
    ignore_boxes: np.ndarray = field(default_factory=_no_boxes)  # (K, 4)


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

    def above(self, confidence: float) -> "SceneDetections":
        """The scene without the boxes that are not strictly above a confidence."""
        pairs = [
            (box, match)
            for box, match in zip(self.boxes, self.matches, strict=True)
            if box.confidence > confidence
        ]
        boxes, matches = zip(*pairs, strict=True) if pairs else ((), ())
        return SceneDetections(self.faces, boxes, matches)


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
    """Average precision over images, as COCO defines it: precision at 101 recalls, every detection
    counted however many an image has.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    truth, results = _coco_records(images, len(class_names))
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
        named = zip(class_names, values.tolist(), strict=True)
        has_faces = values >= 0
        mean = float(values[has_faces].mean()) if has_faces.any() else None
        return mean, {name: value if value >= 0 else None for name, value in named}

    ap50, ap50_by_class = figures(by_class[0])
    ap, ap_by_class = figures(by_class.mean(axis=0))
    return AveragePrecision(ap50, ap, ap50_by_class, ap_by_class)


def _coco_records(
    images: Sequence[ImageBoxes], classes: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Annotations and results in COCO's format."""
    truth, results = [], []
    for image, sample in enumerate(images):
        face_classes = (
            [0] * len(sample.faces) if sample.face_classes is None else sample.face_classes
        )
        box_classes = [0] * len(sample.boxes) if sample.box_classes is None else sample.box_classes
        annotated = [
            (box, int(index), 0) for box, index in zip(sample.faces, face_classes, strict=True)
        ]
        # COCO matches each class for itself, so that an ignored box is one in every class.
        annotated += [(box, index, 1) for box in sample.ignore_boxes for index in range(classes)]
        for box, index, is_crowd in annotated:
            record = _coco_record(image, box, index)
            # COCO takes an id of 0 for no match.
            truth.append({**record, "id": len(truth) + 1, "iscrowd": is_crowd})
        results += [
            {**_coco_record(image, box, int(index)), "score": float(score)}
            for box, index, score in zip(sample.boxes, box_classes, sample.scores, strict=True)
        ]
    return truth, results


def _coco_record(image: int, box: np.ndarray, category: int) -> dict[str, Any]:
    x1, y1, x2, y2 = map(float, box)
    width, height = x2 - x1, y2 - y1
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [x1, y1, width, height],
        "area": width * height,
    }


def match_scene(faces: Sequence[AnnotatedFace], boxes: Sequence[FaceBox]) -> SceneDetections:
    """match_boxes of annotated faces, whatever their classes, and a detector's boxes."""
    confidences = [box.confidence for box in boxes]
    matches = match_boxes(as_array([face.box for face in faces]), as_array(boxes), confidences)
    return SceneDetections(tuple(faces), tuple(boxes), tuple(matches))


def as_array(boxes: Sequence[FaceBox]) -> np.ndarray:
    """The corners of boxes, (N, 4) float64, xyxy."""
    corners = [(box.x1, box.y1, box.x2, box.y2) for box in boxes]
    return np.array(corners, dtype=np.float64).reshape(-1, 4)


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
