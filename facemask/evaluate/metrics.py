"""How good a mask detector is, in figures: classes, calibration, faces found, average precision."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from facemask.data.pascal_voc import AnnotatedFace
from facemask.geometry import FaceBox

if TYPE_CHECKING:
    pass

# A detection is of an annotated face from this overlap on, as in Pascal VOC.
IOU_THRESHOLD = 0.5
# As in C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
CALIBRATION_BINS = 15
# Face widths in pixels, [from, to), under the names that tables give them.
SIZES = {
    "<16": (0, 16),
    "16-23": (16, 24),
    "24-31": (24, 32),
    "32-59": (32, 60),
    ">=60": (60, None),
}


WIDE_FACE_PX = 32  # pixels across; from here on people can tell at a glance


@dataclass(frozen=True)
class ClassFigures:
    """Fractions, 0 to 1, and counts of one class; None where there is nothing to divide by."""

    precision: float | None
    recall: float | None
    f1: float | None
    support: int  # crops of the class


@dataclass(frozen=True)
class Classification:
    """How often a model gives crops their class."""

    crops: int
    right: int
    accuracy: float
    interval: tuple[float, float]  # of the accuracy, 95 %, Wilson's
    balanced_accuracy: float  # mean recall of the classes that have crops
    classes: dict[str, ClassFigures]
    confusion: tuple[tuple[int, ...], ...]  # (C, C), rows: true class, columns: given class
    calibration_error: float  # expected calibration error, 0 to 1


@dataclass(frozen=True)
class Ratio:
    """So many of so many."""

    count: int
    total: int

    @property
    def fraction(self) -> float | None:
        return self.count / self.total if self.total else None


# How often crops are given their class: by what they have in common, then by model.
Ratios = dict[str, dict[str, Ratio]]


@dataclass(frozen=True)
class SceneDetections:
    """The annotated faces of a scene, what a detector found there, and which is of which."""

    faces: tuple[AnnotatedFace, ...]
    boxes: tuple[FaceBox, ...]
    matches: tuple[int | None, ...]  # for each box the index of its face


@dataclass(frozen=True)
class DetectionMetrics:
    """How many faces a detector finds; it takes no classifier to tell."""

    images: int
    recall: Ratio  # annotated faces that were found
    precision: Ratio  # detections that are of an annotated face
    by_width: dict[str, Ratio]  # recall, by the width of the annotated face
    large: Ratio  # recall, of annotated faces of WIDE_FACE_PX pixels' width or more
    by_label: dict[str, Ratio]  # recall, by the annotated class
    ignored: int  # annotated faces of classes that are not known: see average_precisions


@dataclass(frozen=True)
class BoxCounts:
    """In how many images of a folder a detector finds no face, one, or several."""

    none: int
    one: int
    several: int


@dataclass(frozen=True)
class Agreement:
    """How far two models answer alike to the same crops."""

    crops: int
    same_label: float
    largest_difference: float  # of a probability


@dataclass(frozen=True)
class Row:
    """What several models say of the same crops."""

    name: str  # which crops
    crops: int  # all that the models were shown
    figures: dict[str, Classification]  # by model, of the crops whose class is known; or empty
    agreements: dict[str, Agreement]  # by "model and model", where their classes are the same
    note: str = ""


def classification(
    truth: Sequence[str], probabilities: np.ndarray, class_names: Sequence[str]
) -> Classification:
    """The figures of a model's answers.

    truth: N class names; probabilities: (N, C), columns as class_names.
    Raises ValueError for no crops, or a class that is not in class_names.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    if not len(truth) or not set(truth) <= set(class_names):
        raise ValueError(f"Expected crops of {class_names}. Received: {sorted(set(truth))}")
    every = np.arange(len(class_names))
    labels = np.array([class_names.index(name) for name in truth])
    given = probabilities.argmax(axis=1)
    right = int((given == labels).sum())
    columns = np.array(  # (4, C): precision, recall, F1, support
        precision_recall_fscore_support(
            labels,
            given,
            labels=every,
            zero_division=np.nan,  # pyright: ignore[reportArgumentType]
        )
    )
    classes = {
        name: ClassFigures(_known(precision), _known(recall), _known(f1), int(support))
        for name, (precision, recall, f1, support) in zip(class_names, columns.T, strict=True)
    }
    return Classification(
        crops=len(labels),
        right=right,
        accuracy=right / len(labels),
        interval=wilson_interval(right, len(labels)),
        balanced_accuracy=float(np.nanmean(columns[1])),
        classes=classes,
        confusion=tuple(map(tuple, confusion_matrix(labels, given, labels=every).tolist())),
        calibration_error=expected_calibration_error(labels, probabilities),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def wilson_interval(right: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a fraction; unlike the textbook one, sound near 0 and 1."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    fraction, spread = right / count, z * z / count
    middle = (fraction + spread / 2) / (1 + spread)
    half = math.sqrt(fraction * (1 - fraction) * spread + spread * spread / 4) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error: how far a model's probabilities are from how often it is right.

    labels: (N,) int, columns of probabilities, (N, C). The crops are put into CALIBRATION_BINS
    bins of equal width by their top probability; the result is the mean over crops of the
    distance between accuracy and mean top probability in the crop's bin.
    """
    top = probabilities.max(axis=1).astype(float)
    right = probabilities.argmax(axis=1) == labels
    bins = np.clip(np.ceil(top * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    return float(np.abs(np.bincount(bins, weights=right - top)).sum() / len(labels))


def match_faces(faces: Sequence[AnnotatedFace], boxes: Sequence[FaceBox]) -> SceneDetections:
    """Say which detection is of which annotated face, as Pascal VOC does, whatever the classes.

    The surest box comes first. Each belongs to the face that it overlaps most, if by IOU_THRESHOLD
    or more and no surer box has that face already.
    """
    matches: list[int | None] = [None] * len(boxes)
    taken: set[int] = set()
    for index in sorted(range(len(boxes)), key=lambda i: -boxes[i].confidence):
        overlaps = [face.box.iou(boxes[index]) for face in faces]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if overlaps and overlaps[best] >= IOU_THRESHOLD and best not in taken:
            matches[index] = best
            taken.add(best)
    return SceneDetections(tuple(faces), tuple(boxes), tuple(matches))


def size_name(width: int) -> str:
    """Which of SIZES a face of so many pixels' width (0 or more) is of."""
    return next(
        name
        for name, (low, high) in SIZES.items()
        if low <= width and (high is None or width < high)
    )


def detection_metrics(scenes: Sequence[SceneDetections], known: Sequence[str]) -> DetectionMetrics:
    """How many of all annotated faces were found; those of classes that are not known too."""
    faces = [
        (face, index in scene.matches) for scene in scenes for index, face in enumerate(scene.faces)
    ]
    found_of_width = {
        name: [found for face, found in faces if size_name(face.box.width) == name]
        for name in SIZES
    }
    found_of_label = {
        label: [found for face, found in faces if face.label == label]
        for label in sorted({face.label for face, _ in faces})
    }
    matched = sum(found for _, found in faces)
    return DetectionMetrics(
        images=len(scenes),
        recall=Ratio(matched, len(faces)),
        precision=Ratio(matched, sum(len(scene.boxes) for scene in scenes)),
        by_width={name: Ratio(sum(all_), len(all_)) for name, all_ in found_of_width.items()},
        large=Ratio(
            sum(found for face, found in faces if face.box.width >= WIDE_FACE_PX),
            sum(face.box.width >= WIDE_FACE_PX for face, _ in faces),
        ),
        by_label={name: Ratio(sum(all_), len(all_)) for name, all_ in found_of_label.items()},
        ignored=sum(face.label not in known for face, _ in faces),
    )


def average_precisions(
    scenes: Sequence[SceneDetections],
    probabilities: np.ndarray,
    class_names: Sequence[str],
    known: Sequence[str],
) -> dict[str, float | None]:
    """The average precision of each known class over all scenes; None for one without faces.

    probabilities: (N, C), a row for each box of each scene in order, columns as class_names. A
    detection is of the class with the most probability, and its score is that probability times
    the detector's confidence. It is true if its face (see match_faces) is of that class. What is
    of a face whose class is not known is neither true nor false.
    """
    boxes = [box for scene in scenes for box in scene.boxes]
    labels = [
        None if match is None else scene.faces[match].label
        for scene in scenes
        for match in scene.matches
    ]
    confidences = np.array([box.confidence for box in boxes])
    given = probabilities.argmax(axis=1)
    scores = confidences * probabilities.max(axis=1, initial=0.0)
    counts = np.array([label is None or label in known for label in labels], dtype=bool)
    result: dict[str, float | None] = {}
    for name in known:
        chosen = counts & (given == class_names.index(name))
        true = np.array([label == name for label in labels], dtype=bool)
        faces = sum(face.label == name for scene in scenes for face in scene.faces)
        result[name] = average_precision(scores[chosen], true[chosen], faces) if faces else None
    return result


def average_precision(scores: np.ndarray, true: np.ndarray, positives: int) -> float:
    """The area under the envelope of precision over recall, at all points (Pascal VOC 2010).

    scores: (N,) of the detections; true: (N,) bool; positives: what there was to find.
    """
    found = np.cumsum(true[np.argsort(-scores, kind="stable")])
    precision = found / np.arange(1, len(found) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(found / positives, prepend=0.0) * envelope).sum())


def nanmean(values: Sequence[float | None]) -> float | None:
    """The mean of those that are not None, as of average precisions; None if all are."""
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None


def row(
    name: str,
    truth: Sequence[str | None],
    probabilities: Mapping[str, np.ndarray],
    class_names: Mapping[str, Sequence[str]],
    note: str = "",
) -> Row:
    """The figures of crops: each model's, and of each two how far they agree.

    truth: N class names; None for a crop of no class, which counts for agreement alone.
    probabilities: by model, (N, C), columns as that model's class_names.
    """
    chosen = [index for index, label in enumerate(truth) if label is not None]
    labels = [label for label in truth if label is not None]
    return Row(
        name=name,
        crops=len(truth),
        figures={
            model: classification(labels, values[chosen], class_names[model])
            for model, values in probabilities.items()
            if chosen
        },
        agreements={
            f"{first} and {second}": agreement(probabilities[first], probabilities[second])
            for first, second in combinations(probabilities, 2)
            if len(truth) and class_names[first] == class_names[second]
        },
        note=note,
    )


def accuracy_by_group(
    groups: Sequence[str | None],
    order: Sequence[str],
    truth: Sequence[str | None],
    probabilities: Mapping[str, np.ndarray],
    class_names: Mapping[str, Sequence[str]],
) -> Ratios:
    """How often each model gives crops their class, by group; in order, without empty groups.

    groups: of N crops the one of `order` that each is of; None leaves it out, as a truth of None
    does. truth, probabilities, class_names: as of row.
    """
    right = {
        model: [
            class_names[model][given] == label
            for given, label in zip(values.argmax(axis=1), truth, strict=True)
        ]
        for model, values in probabilities.items()
    }
    groups_of_known = [
        None if label is None else group for group, label in zip(groups, truth, strict=True)
    ]
    members = {
        name: [index for index, group in enumerate(groups_of_known) if group == name]
        for name in order
    }
    return {
        name: {
            model: Ratio(sum(answers[index] for index in chosen), len(chosen))
            for model, answers in right.items()
        }
        for name, chosen in members.items()
        if chosen
    }


def agreement(first: np.ndarray, second: np.ndarray) -> Agreement:
    """Compare two models' probabilities, (N, C) each with the same columns, N at least 1."""
    return Agreement(
        crops=len(first),
        same_label=float((first.argmax(axis=1) == second.argmax(axis=1)).mean()),
        largest_difference=float(np.abs(first.astype(float) - second).max()),
    )


def rounded(data: Any) -> Any:
    """Plain data for JSON, from dataclasses' asdict: fractions to six decimals."""
    if isinstance(data, dict):
        return {key: rounded(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [rounded(value) for value in data]
    return round(data, 6) if isinstance(data, float) else data
