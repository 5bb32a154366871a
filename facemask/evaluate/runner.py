"""Showing the images of class folders and of annotated scenes to several models at once."""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from types import MappingProxyType

import numpy as np

from facemask.data.dataset import Progress, file_digest, no_progress
from facemask.data.pascal_voc import load_scenes
from facemask.detect.types import Classifier, Detector
from facemask.errors import FacemaskError
from facemask.evaluate import metrics
from facemask.evaluate.mask_colour import COLOURS, mask_colour
from facemask.evaluate.metrics import (
    SIZES,
    BoxCounts,
    DetectionMetrics,
    Ratio,
    Ratios,
    Row,
    SceneDetections,
    accuracy_by_group,
    match_faces,
    size_name,
)
from facemask.geometry import FaceBox
from facemask.images import crop_face, list_files, read_image, resize

# Crops go through the models in batches, and memory holds no more than one: so many, or so large.
BATCH_CROPS = 64
BATCH_BYTES = 64 * 2**20
# So many of the worst mistakes are kept to be looked at, none larger than this a side.
MOST_MISTAKES = 24
THUMBNAIL_SIDE = 160

# How the detectors' speed is measured: height and width, and calls of each.
TIMED_SIZE = (480, 640)
WARM_UPS, TIMED_CALLS = 3, 20

# What rows are called.
FACES = "faces cropped as at use"
WHOLE = "whole images"
DETECTED = "boxes of {}"  # of a detector

# The class whose crops have a mask to tell the colour of.
MASKED = "with_mask"

Models = Mapping[str, Classifier]  # by name, in the order of the tables
Detectors = Mapping[str, Detector]  # the same; the first is the one that crops faces


@dataclass(frozen=True)
class Misclassification:
    """A crop that a model gave the wrong class, made small."""

    truth: str
    given: str
    probability: float  # of the class given
    name: str
    image: np.ndarray  # (H, W, 3) uint8, BGR


@dataclass(frozen=True)
class Predictions:
    """What models said of crops."""

    truth: tuple[str | None, ...]
    probabilities: dict[str, np.ndarray]  # by model, (N, C) float32
    mistakes: dict[str, list[Misclassification]]  # by model, the surest first
    widths: tuple[int, ...]  # of the crops without any margin, pixels
    colours: tuple[str | None, ...]  # of the masks; None for crops of other classes


@dataclass(frozen=True)
class Crop:
    """A part of an image to be classified: of known class, or None."""

    image: np.ndarray  # (H, W, 3) uint8, BGR
    box: FaceBox | None  # the face, to which each model's margin is added; None: the whole image
    truth: str | None
    name: str  # for people


@dataclass(frozen=True)
class SetResult:
    """The figures of one folder of images."""

    name: str
    rows: tuple[Row, ...]
    mistakes: dict[str, dict[str, list[Misclassification]]]  # by row, then by model
    images: int  # that were shown to the models
    left_out: dict[str, int]  # by model, how many images it was trained on; see _unseen
    left_out_of: Ratio  # images left out for any model
    problems: tuple[str, ...]  # what was skipped, one line each
    # By detector. Those of scenes, then that of class folders.
    findings: dict[str, DetectionMetrics] = field(default_factory=dict)
    precisions: dict[str, dict[str, dict[str, float | None]]] = field(  # model, class
        default_factory=dict
    )
    milliseconds: dict[str, float] = field(default_factory=dict)
    box_counts: dict[str, BoxCounts] = field(default_factory=dict)
    # Of scenes: of all annotated faces of known classes, however narrow.
    by_width: Ratios = field(default_factory=dict)
    # Of the crops of the first row that are masked, by the colour of the mask.
    by_colour: Ratios = field(default_factory=dict)


class CropCollector:
    """Takes crops one at a time, shows them to all models in batches, and keeps the answers."""

    def __init__(self, models: Models):
        self._models = models
        self._waiting: list[tuple[str | None, str]] = []
        # Models of the same margin see the same crops.
        self._crops: dict[float, list[np.ndarray]] = {model.margin: [] for model in models.values()}
        self._bytes = 0
        self._truth: list[str | None] = []
        self._widths: list[int] = []
        self._colours: list[str | None] = []
        self._rows: dict[str, list[np.ndarray]] = {
            name: [np.zeros((0, len(model.class_names)), np.float32)]
            for name, model in models.items()
        }
        self._mistakes: dict[str, list[Misclassification]] = {name: [] for name in models}

    def add(self, crop: Crop) -> None:
        for margin, crops in self._crops.items():
            # A copy, as a view would keep the whole image.
            part = (
                crop.image if crop.box is None else crop_face(crop.image, crop.box, margin).copy()
            )
            crops.append(part)
            self._bytes += part.nbytes
        seen = crop.image if crop.box is None else crop_face(crop.image, crop.box)
        self._widths.append(seen.shape[1])
        self._colours.append(mask_colour(seen) if crop.truth == MASKED else None)
        self._waiting.append((crop.truth, crop.name))
        if len(self._waiting) >= BATCH_CROPS or self._bytes >= BATCH_BYTES:
            self._flush()

    def finish(self) -> Predictions:
        if self._waiting:
            self._flush()
        probabilities = {name: np.concatenate(rows) for name, rows in self._rows.items()}
        return Predictions(
            truth=tuple(self._truth),
            probabilities=probabilities,
            mistakes=self._mistakes,
            widths=tuple(self._widths),
            colours=tuple(self._colours),
        )

    def _flush(self) -> None:
        for name, model in self._models.items():
            crops = self._crops[model.margin]
            probabilities = model.predict(crops)
            self._rows[name].append(probabilities)
            wrong = [
                Misclassification(truth, given, float(row.max()), text, crop)
                for (truth, text), row, crop in zip(
                    self._waiting, probabilities, crops, strict=True
                )
                if truth is not None and truth != (given := model.class_names[int(row.argmax())])
            ]
            self._mistakes[name] = _worst(self._mistakes[name], wrong)
        self._truth += [truth for truth, _ in self._waiting]
        self._waiting.clear()
        self._bytes = 0
        for crops in self._crops.values():
            crops.clear()


def evaluate_crops(models: Models, crops: Iterable[Crop]) -> Predictions:
    """What the models say of the crops; memory holds one batch of them."""
    collector = CropCollector(models)
    for crop in crops:
        collector.add(crop)
    return collector.finish()


def _worst(
    kept: Iterable[Misclassification], found: Iterable[Misclassification]
) -> list[Misclassification]:
    """The surest of both, in order; their images small, so that the others can go."""
    both = sorted([*kept, *found], key=lambda mistake: -mistake.probability)
    return [_small(mistake) for mistake in both[:MOST_MISTAKES]]


def _small(mistake: Misclassification) -> Misclassification:
    height, width = mistake.image.shape[:2]
    shrink = THUMBNAIL_SIDE / max(height, width)
    if shrink >= 1:
        return mistake
    size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    return replace(mistake, image=resize(mistake.image, size))


def common_classes(models: Models) -> tuple[str, ...]:
    """The classes that every model knows, in the order of the first model.

    Only images and faces of these have a right answer, so that all models answer the same
    questions. Raises FacemaskError where there is none.
    """
    first, *others = models.values()
    known = [name for name in first.class_names if all(name in o.class_names for o in others)]
    if not known:
        classes = "; ".join(f"{name}: {', '.join(m.class_names)}" for name, m in models.items())
        raise FacemaskError(f"expected models that have a class in common, found {classes}")
    return tuple(known)


def evaluate_folders(
    folder: Path,
    name: str,
    models: Models,
    detectors: Detectors,
    confidence: float = 0.5,
    trained_on: Mapping[str, Collection[str]] = MappingProxyType({}),
    progress: Progress = no_progress,
) -> SetResult:
    """Show a folder of class folders to models: whole images, and their faces.

    A face is the first detector's box of more than `confidence`; an image without one, or with
    several, is used whole. The figures by colour are of the faces.
    trained_on: by model, sha256 digests of images that are left out.
    Raises FacemaskError for a folder without images of classes that all models know, or of which
    none can be read or none is left.
    """
    known = common_classes(models)
    labels, problems = _labelled_files(folder, known)
    paths, left_out, share = _unseen(folder, list(labels), trained_on)
    whole, faces = CropCollector(models), CropCollector(models)
    images = 0
    counts: dict[str, Counter[int]] = {name: Counter() for name in detectors}
    for path in progress(paths, total=len(paths)):
        try:
            image = read_image(path)
        except FacemaskError as error:
            problems.append(str(error))
            continue
        images += 1
        whole.add(Crop(image, None, labels[path], path.name))
        found = {one: each.detect(image, confidence) for one, each in detectors.items()}
        for one, boxes in found.items():
            counts[one][min(len(boxes), 2)] += 1
        boxes = next(iter(found.values()))
        face = boxes[0] if len(boxes) == 1 else None
        faces.add(Crop(image, face, labels[path], path.name))
    _check_any(folder, images, problems)
    answers = {FACES: faces.finish(), WHOLE: whole.finish()}
    first, count = next(iter(counts.items()))
    note = (
        f"{images - count[1]} of {images} in which {first} does not find just one face, used whole"
    )
    notes = {FACES: note, WHOLE: ""}
    return SetResult(
        name=name,
        rows=tuple(_row(row, answers[row], models, notes[row]) for row in answers),
        mistakes={row: answers[row].mistakes for row in answers},
        images=images,
        left_out=left_out,
        left_out_of=share,
        problems=_within(folder, name, problems),
        by_colour=_by_colour(answers[FACES], models),
        box_counts={one: BoxCounts(count[0], count[1], count[2]) for one, count in counts.items()},
    )


def evaluate_scenes(
    folder: Path,
    name: str,
    models: Models,
    detectors: Detectors,
    confidence: float = 0.5,
    min_face: int = 24,
    trained_on: Mapping[str, Collection[str]] = MappingProxyType({}),
    progress: Progress = no_progress,
) -> SetResult:
    """Show annotated scenes to models: the annotated faces of at least min_face pixels' width
    and all faces of more than `confidence` that each detector finds.

    Narrower annotated faces count in by_width alone. Annotated faces of classes that not all
    models know are there to be found, but have no right answer.
    trained_on: by model, sha256 digests of images that are left out.
    Raises FacemaskError for a folder without usable scenes, or of which none is left.
    """
    known = common_classes(models)
    loaded = load_scenes(folder)
    problems = list(loaded.problems)
    scenes = {scene.path: scene for scene in loaded.scenes}
    paths, left_out, share = _unseen(folder, list(scenes), trained_on)
    annotated, narrow = CropCollector(models), CropCollector(models)
    detected = {one: CropCollector(models) for one in detectors}
    detections: dict[str, list[SceneDetections]] = {one: [] for one in detectors}
    images = 0
    image = np.zeros((1, 1, 3), np.uint8)
    others: Counter[str] = Counter()
    for path in progress(paths, total=len(paths)):
        try:
            image = read_image(path)
        except FacemaskError as error:
            problems.append(str(error))
            continue
        images += 1
        faces = scenes[path].faces
        for face in faces:
            if face.label not in known:
                others[face.label] += 1
                continue
            collector = narrow if face.box.width < min_face else annotated
            collector.add(Crop(image, face.box, face.label, _place(path, face.box)))
        for one, detector in detectors.items():
            matched = match_faces(faces, detector.detect(image, confidence))
            detections[one].append(matched)
            for box, match in zip(matched.boxes, matched.matches, strict=True):
                label = None if match is None else faces[match].label
                truth = label if label in known else None
                detected[one].add(Crop(image, box, truth, _place(path, box)))
    _check_any(folder, images, problems)
    for label, count in sorted(others.items()):
        problems.append(
            f"{name}: {count} face(s) of the class {label}, which not all models know:"
            " counted as found or missed, but not as right or wrong"
        )
    boxes = f"annotated boxes >= {min_face} px"
    answers = {boxes: annotated.finish()}
    all_widths = (answers[boxes], narrow.finish())
    notes = {boxes: f"{len(all_widths[1].truth)} narrower faces are not among them"}
    for one, collector in detected.items():
        row = DETECTED.format(one)
        answers[row] = collector.finish()
        truth = answers[row].truth
        notes[row] = (
            f"{sum(label is not None for label in truth)} of {len(truth)} boxes are of an annotated"
            " face of a known class; the figures are of these"
        )
    return SetResult(
        name=name,
        rows=tuple(_row(row, answers[row], models, notes[row]) for row in answers),
        mistakes={row: answers[row].mistakes for row in answers},
        images=images,
        left_out=left_out,
        left_out_of=share,
        problems=_within(folder, name, problems),
        findings={
            one: metrics.detection_metrics(found, known) for one, found in detections.items()
        },
        precisions={
            one: {
                model: metrics.average_precisions(
                    found,
                    answers[DETECTED.format(one)].probabilities[model],
                    classifier.class_names,
                    known,
                )
                for model, classifier in models.items()
            }
            for one, found in detections.items()
        },
        milliseconds=time_detectors(detectors, image),
        by_width=_by_width(all_widths, models),
        by_colour=_by_colour(answers[boxes], models),
    )


def time_detectors(detectors: Detectors, image: np.ndarray) -> dict[str, float]:
    """Milliseconds that each detector takes for an image stretched to TIMED_SIZE, the median.

    They take turns, so that whatever else the machine does slows all of them.
    """
    frame = resize(image, TIMED_SIZE)
    times: dict[str, list[float]] = {name: [] for name in detectors}
    for turn in range(WARM_UPS + TIMED_CALLS):
        for name, detector in detectors.items():
            start = perf_counter()
            detector.detect(frame)
            if turn >= WARM_UPS:
                times[name].append(perf_counter() - start)
    return {name: median(found) * 1e3 for name, found in times.items()}


def _labelled_files(folder: Path, known: Sequence[str]) -> tuple[dict[Path, str], list[str]]:
    """The files of class folders and their classes, and a line for each folder left aside."""
    if not folder.is_dir():
        raise FacemaskError(
            f"{folder}: no such folder; expected one with a sub-folder of images for each class"
        )
    labels: dict[Path, str] = {}
    problems = []
    folders = sorted(one for one in folder.iterdir() if one.is_dir() and one.name[0] not in "._")
    for one in folders:
        files = list_files(one)
        if one.name in known:
            labels |= dict.fromkeys(files, one.name)
        else:
            problems.append(f"{one}: {len(files)} file(s) of a class that not all models know")
    if not labels:
        found = ", ".join(one.name for one in folders) or "no folder"
        raise FacemaskError(
            f"{folder}: expected images in folders named {' or '.join(known)}, found {found}"
        )
    return labels, problems


def _unseen(
    folder: Path, paths: list[Path], trained_on: Mapping[str, Collection[str]]
) -> tuple[list[Path], dict[str, int], Ratio]:
    """The images that no model was trained on; how many each was; how many of all are left out.

    Raises FacemaskError when none is left.
    """
    if not trained_on:
        return paths, {}, Ratio(0, len(paths))
    kept = []
    left_out: Counter[str] = Counter()
    for path in paths:
        digest = _digest(path)
        seen_by = [model for model, digests in trained_on.items() if digest in digests]
        left_out.update(seen_by)
        if not seen_by:
            kept.append(path)
    if not kept:
        raise FacemaskError(
            f"{folder}: all {len(paths)} images are ones that {' or '.join(left_out)} was trained"
            " on; expected others (--include-seen keeps them)"
        )
    return kept, dict(left_out), Ratio(len(paths) - len(kept), len(paths))


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError:  # reading the image will say so
        return ""


def _check_any(folder: Path, images: int, problems: Sequence[str]) -> None:
    if not images:
        raise FacemaskError(
            f"{folder}: expected images, found none that can be read: {problems[0]}"
        )


def _row(name: str, answers: Predictions, models: Models, note: str) -> Row:
    return metrics.row(name, answers.truth, answers.probabilities, _class_names(models), note)


def _by_width(parts: Sequence[Predictions], models: Models) -> Ratios:
    return accuracy_by_group(
        [size_name(width) for part in parts for width in part.widths],
        list(SIZES),
        [label for part in parts for label in part.truth],
        {model: np.concatenate([part.probabilities[model] for part in parts]) for model in models},
        _class_names(models),
    )


def _by_colour(answers: Predictions, models: Models) -> Ratios:
    return accuracy_by_group(
        answers.colours, COLOURS, answers.truth, answers.probabilities, _class_names(models)
    )


def _class_names(models: Models) -> dict[str, tuple[str, ...]]:
    return {model: classifier.class_names for model, classifier in models.items()}


def _place(path: Path, box: FaceBox) -> str:
    return f"{path.name} ({box.x1}, {box.y1})"


def _within(folder: Path, name: str, problems: Iterable[str]) -> tuple[str, ...]:
    """The lines with the set's name in place of its path, which may tell of the machine."""
    return tuple(problem.replace(f"{folder}{os.sep}", f"{name}/") for problem in problems)
