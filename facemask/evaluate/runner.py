"""Measure several models and face detectors on class folders and on annotated scenes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from facemask.data.dataset import Progress, no_progress
from facemask.data.pascal_voc import AnnotatedFace, load_scenes
from facemask.detect.types import Detector
from facemask.errors import FacemaskError
from facemask.evaluate.crops import (
    Crop,
    CropCollector,
    CropSet,
    Models,
    accuracy_by_group,
    crop_set,
)
from facemask.evaluate.detection import (
    AP_CONFIDENCE,
    SIZES,
    AveragePrecision,
    DetectionMetrics,
    SceneDetections,
    detection_metrics,
    face_precision,
    match_scene,
    scene_precision,
    size_name,
)
from facemask.evaluate.image_sets import NO_IMAGES, ImageSet, TrainedOn, labelled_files
from facemask.evaluate.mask_colour import COLOURS
from facemask.evaluate.metrics import Ratio, Ratios
from facemask.geometry import FaceBox
from facemask.images import resize

# How the detectors' speed is measured: height and width, and calls of each.
TIMED_SIZE = (480, 640)
WARM_UPS, TIMED_CALLS = 3, 20

# Names of crop sets.
FACES = "faces cropped as at use"
WHOLE = "whole images"
DETECTED = "boxes of {}"  # of a detector

Detectors = Mapping[str, Detector]  # by name; the first is the one that crops faces


@dataclass(frozen=True)
class BoxCounts:
    """In how many images of a folder a detector finds no face, one, or several."""

    none: int
    one: int
    several: int


@dataclass(frozen=True)
class DetectorResult:
    """The figures of a detector in scenes."""

    metrics: DetectionMetrics  # of the boxes above the operating confidence
    face_precision: AveragePrecision  # without a classifier
    precision: dict[str, AveragePrecision]  # with a classifier, by model
    milliseconds: float


@dataclass(frozen=True)
class SetResult:
    """The figures of one folder of images."""

    name: str
    crop_sets: tuple[CropSet, ...]
    images: int  # that were shown to the models
    left_out: dict[str, int]  # by model, how many images it was trained on
    left_out_of: Ratio  # images left out for any model
    problems: tuple[str, ...]  # what was skipped, one line each
    detectors: dict[str, DetectorResult] = field(default_factory=dict)  # of scenes
    box_counts: dict[str, BoxCounts] = field(default_factory=dict)  # of folders, by detector
    # Of scenes: of all annotated faces of known classes, however narrow.
    by_width: Ratios = field(default_factory=dict)
    # Of the masked crops of the first crop set, by the colour of the mask.
    by_colour: Ratios = field(default_factory=dict)


def common_classes(models: Models) -> tuple[str, ...]:
    """The classes that every model knows, in the order of the first model.

    All models are measured on crops of these classes alone, and so on the same ones.
    Raises FacemaskError where there is no such class.
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
    trained_on: TrainedOn = NO_IMAGES,
    progress: Progress = no_progress,
) -> SetResult:
    """Measure models on a folder of class folders: on whole images, and on the faces in them.

    A face is the first detector's box of more than `confidence`. An image without one, or with
    several, is used whole: with several, it is unknown which face its class is of. The figures by
    colour are of the faces. trained_on: images that are left out.
    Raises FacemaskError for a folder without images of classes that all models know, or of which
    none can be read or none is left.
    """
    labels, problems = labelled_files(folder, common_classes(models))
    images = ImageSet(folder, name, list(labels), problems, trained_on, progress)
    whole, faces = CropCollector(models), CropCollector(models)
    counts: dict[str, Counter[int]] = {key: Counter() for key in detectors}
    for path, image in images:
        whole.add(Crop(image, None, labels[path], path.name))
        boxes = {key: detector.detect(image, confidence) for key, detector in detectors.items()}
        for key, detected in boxes.items():
            counts[key][min(len(detected), 2)] += 1
        candidates = next(iter(boxes.values()))
        face = candidates[0] if len(candidates) == 1 else None
        faces.add(Crop(image, face, labels[path], path.name))
    first, count = next(iter(counts.items()))
    note = (
        f"{images.images - count[1]} of {images.images} in which {first} does not find just one"
        " face, used whole"
    )
    of_faces = faces.finish()
    return SetResult(
        name=name,
        crop_sets=(
            crop_set(FACES, of_faces, models, note),
            crop_set(WHOLE, whole.finish(), models),
        ),
        images=images.images,
        left_out=images.left_out,
        left_out_of=images.left_out_of,
        problems=images.problems,
        by_colour=accuracy_by_group(of_faces.colours, COLOURS, of_faces, models),
        box_counts={key: BoxCounts(count[0], count[1], count[2]) for key, count in counts.items()},
    )


def evaluate_scenes(
    folder: Path,
    name: str,
    models: Models,
    detectors: Detectors,
    confidence: float = 0.5,
    min_face: int = 24,
    trained_on: TrainedOn = NO_IMAGES,
    progress: Progress = no_progress,
) -> SetResult:
    """Measure models and detectors on annotated scenes: on the annotated faces of at least
    min_face pixels' width, and on the boxes of more than `confidence` of each detector.

    Narrower annotated faces count in by_width alone. Average precision is of all boxes from
    AP_CONFIDENCE on. Annotated faces of classes that not all models know count for the detectors
    alone. trained_on: images that are left out.
    Raises FacemaskError for a folder without usable scenes, or of which none is left.
    """
    known = common_classes(models)
    loaded = load_scenes(folder)
    faces_of = {scene.path: scene.faces for scene in loaded.scenes}
    images = ImageSet(folder, name, list(faces_of), loaded.problems, trained_on, progress)
    annotated = CropCollector(models)
    runs = {key: _DetectorRun(each, models, known, confidence) for key, each in detectors.items()}
    unknown: Counter[str] = Counter()
    image = np.zeros((1, 1, 3), np.uint8)
    for path, image in images:
        for face in faces_of[path]:
            if face.label in known:
                is_wide = face.box.width >= min_face
                place = _place(path, face.box)
                annotated.add(Crop(image, face.box, face.label, place, on_sheet=is_wide))
            else:
                unknown[face.label] += 1
        for run in runs.values():
            run.add(path, image, faces_of[path])
    of_all = annotated.finish()
    of_wide = of_all.select([width >= min_face for width in of_all.widths])
    note = f"{len(of_all.truth) - len(of_wide.truth)} narrower faces are not among them"
    sets = [crop_set(f"annotated boxes >= {min_face} px", of_wide, models, note)]
    results = {}
    times = time_detectors(detectors, image)
    for key, run in runs.items():
        crops, results[key] = run.finish(key, times[key])
        sets.append(crops)
    return SetResult(
        name=name,
        crop_sets=tuple(sets),
        images=images.images,
        left_out=images.left_out,
        left_out_of=images.left_out_of,
        problems=(*images.problems, *_of_unknown_classes(name, unknown)),
        detectors=results,
        by_width=accuracy_by_group(
            [size_name(width) for width in of_all.widths], list(SIZES), of_all, models
        ),
        by_colour=accuracy_by_group(of_wide.colours, COLOURS, of_wide, models),
    )


class _DetectorRun:
    """A detector's boxes in scenes, and what the models predict for them.

    Detecting once, at the lower of `confidence` and AP_CONFIDENCE, gives all figures. All but
    average precision are of the boxes above `confidence`.
    """

    def __init__(self, detector: Detector, models: Models, known: Sequence[str], confidence: float):
        self._detector, self._models = detector, models
        self._known, self._confidence = known, confidence
        self._crops = CropCollector(models)
        self._above: list[SceneDetections] = []  # above the confidence
        self._scenes: list[SceneDetections] = []  # with all boxes

    def add(self, path: Path, image: np.ndarray, faces: Sequence[AnnotatedFace]) -> None:
        boxes = self._detector.detect(image, min(AP_CONFIDENCE, self._confidence))
        scene = match_scene(faces, boxes)
        self._scenes.append(scene)
        above = [box for box in boxes if box.confidence > self._confidence]
        self._above.append(match_scene(faces, above))
        for box, match in zip(boxes, scene.matches, strict=True):
            label = None if match is None else faces[match].label
            truth = label if label in self._known else None
            self._crops.add(Crop(image, box, truth, _place(path, box), on_sheet=box in above))

    def finish(self, name: str, milliseconds: float) -> tuple[CropSet, DetectorResult]:
        predictions = self._crops.finish()
        boxes = [box for scene in self._scenes for box in scene.boxes]
        above = predictions.select([box.confidence > self._confidence for box in boxes])
        labelled = sum(label is not None for label in above.truth)
        note = (
            f"{labelled} of {len(above.truth)} boxes are of an annotated face of a known class; the"
            " figures are of these"
        )
        result = DetectorResult(
            metrics=detection_metrics(self._above, self._known),
            face_precision=face_precision(self._scenes),
            precision={
                key: scene_precision(
                    self._scenes, predictions.probabilities[key], model.class_names, self._known
                )
                for key, model in self._models.items()
            },
            milliseconds=milliseconds,
        )
        return crop_set(DETECTED.format(name), above, self._models, note), result


def time_detectors(detectors: Detectors, image: np.ndarray) -> dict[str, float]:
    """Milliseconds that each detector takes for an image stretched to TIMED_SIZE, the median.

    They take turns, so that whatever else the machine does slows all of them.
    """
    frame = resize(image, TIMED_SIZE)
    seconds: dict[str, list[float]] = {name: [] for name in detectors}
    for turn in range(WARM_UPS + TIMED_CALLS):
        for name, detector in detectors.items():
            start = perf_counter()
            detector.detect(frame)
            if turn >= WARM_UPS:
                seconds[name].append(perf_counter() - start)
    return {name: median(values) * 1e3 for name, values in seconds.items()}


def _of_unknown_classes(name: str, counts: Counter[str]) -> list[str]:
    return [
        f"{name}: {count} face(s) of the class {label}, which not all models know:"
        " counted as found or missed, but not as right or wrong"
        for label, count in sorted(counts.items())
    ]


def _place(path: Path, box: FaceBox) -> str:
    return f"{path.name} ({box.x1}, {box.y1})"
