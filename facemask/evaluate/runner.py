"""Measure several models and face detectors on class folders and on annotated scenes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import cv2
import numpy as np

from facemask.data.dataset import Progress, no_progress
from facemask.data.face_crops import only_face
from facemask.data.scenes import AnnotatedFace, load_scenes
from facemask.detect.types import Detector
from facemask.errors import FacemaskError
from facemask.evaluate.crops import (
    Crop,
    CropClassifier,
    Mistakes,
    Models,
    accuracy_by_group,
    accuracy_by_light,
)
from facemask.evaluate.detection import (
    AP_CONFIDENCE,
    WIDTHS,
    ImageBoxes,
    average_precision,
    detection_metrics,
    light_group,
    match_boxes,
    width_group,
)
from facemask.evaluate.image_sets import TrainedOn, labelled_files, read_unseen
from facemask.evaluate.mask_colour import COLOURS
from facemask.geometry import FaceBox, as_array
from facemask.images import crop_face, resize

# How the detectors' speed is measured: height and width, and calls of each.
TIMED_SIZE = (480, 640)
WARM_UPS, TIMED_CALLS = 3, 20

# Images of class folders by how many faces a detector finds in them.
BOX_COUNTS = ("none", "one", "several")


def new_record(name: str, problems: Sequence[str]) -> dict[str, Any]:
    """The record of a set without figures: its keys in evaluation.json, in their order."""
    return {
        "name": name,
        "rows": [],  # of the tables, see CropClassifier.row
        "images": 0,  # that were shown to the models
        "left_out": {},  # by model, how many images it was trained on
        "left_out_of": None,  # Ratio of the images left out for any model
        "problems": list(problems),  # what was skipped, one line each
        # Of scenes, by detector, at the confidence: see detection_metrics.
        "findings": {},
        # Of scenes, by detector, without a classifier.
        "face_average_precision": {},
        # Of scenes, by detector and model, at an IoU of .5; those at .5 to .95 came later, under
        # names of their own.
        "precisions": {},
        "mean_average_precision": {},
        "precisions_50_95": {},
        "mean_average_precision_50_95": {},
        "milliseconds": {},  # of scenes, by detector
        "box_counts": {},  # of class folders, by detector: images by BOX_COUNTS
        "by_width": {},  # of scenes: of all annotated faces of known classes, however narrow
        "by_colour": {},  # of the masked crops of the first row, by the colour of the mask
        "by_light": {},  # of the crops of the first row, and of grey copies of them
        # Of folders of groups, see group_figures: by measure and column.
        "by_group": {},
        "group_differences": {},
    }


@dataclass(frozen=True)
class Evaluation:
    """Models and detectors, by name, and how they are measured.

    The first detector crops the faces of class folders. Detections of more than `confidence` count.
    Each folder gives the record of a set, which metrics.rounded makes ready for evaluation.json.
    """

    models: Models
    detectors: Mapping[str, Detector]
    confidence: float = 0.5
    min_face: int = 24  # the width from which annotated faces count, pixels
    trained_on: TrainedOn = field(default_factory=dict)  # images that are left out
    progress: Progress = no_progress
    # Gathered from all sets: by set, row and model.
    mistakes: dict[tuple[str, str, str], Mistakes] = field(default_factory=dict, init=False)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The classes that every model knows, in the order of the first model.

        All models are measured on crops of these classes alone, and so on the same ones.
        Raises FacemaskError where there is no such class.
        """
        first, *others = self.models.values()
        known = [name for name in first.class_names if all(name in o.class_names for o in others)]
        if not known:
            classes = "; ".join(
                f"{name}: {', '.join(model.class_names)}" for name, model in self.models.items()
            )
            raise FacemaskError(f"expected models that have a class in common, found {classes}")
        return tuple(known)

    def class_folders(self, folder: Path, name: str) -> dict[str, Any]:
        """Measure on a folder of class folders: on whole images, and on the faces in them.

        An image without a face, or with several, is used whole: with several, it is unknown which
        face its class is of. The figures by colour are of the faces.
        Raises FacemaskError for a folder without images of classes that all models know, or of
        which none can be read or none is left.
        """
        labels, problems = labelled_files(folder, self.class_names)
        record = new_record(name, problems)
        whole, faces, grey = (CropClassifier(self.models) for _ in range(3))
        counts = {key: dict.fromkeys(BOX_COUNTS, 0) for key in self.detectors}
        images = read_unseen(folder, list(labels), record, self.trained_on, self.progress)
        for path, image in images:
            whole.add(image, None, labels[path], path.name)
            boxes = {
                key: detector.detect(image, self.confidence)
                for key, detector in self.detectors.items()
            }
            for key, detected in boxes.items():
                counts[key][BOX_COUNTS[min(len(detected), 2)]] += 1
            candidates = next(iter(boxes.values()))
            face = candidates[0] if len(candidates) == 1 else None
            faces.add(image, face, labels[path], path.name)
            grey.add(_grey(image), face, labels[path], path.name)
        first, count = next(iter(counts.items()))
        note = (
            f"{record['images'] - count['one']} of {record['images']} in which {first} does not"
            " find just one face, used whole"
        )
        self.add_row(record, faces, "faces cropped as at use", note)
        self.add_row(record, whole, "whole images")
        record["box_counts"] = counts
        record["by_colour"] = accuracy_by_group(faces.crops, lambda crop: crop.colour, COLOURS)
        record["by_light"] = accuracy_by_light(faces.crops, grey.finish())
        return record

    def scenes(self, folder: Path, name: str) -> dict[str, Any]:
        """Measure on annotated scenes: on the annotated faces of at least min_face pixels' width,
        and on the boxes of more than `confidence` of each detector.

        Narrower annotated faces count in by_width alone. Average precision is of all boxes from
        AP_CONFIDENCE on. Annotated faces of classes that not all models know count for the
        detectors alone.
        Raises FacemaskError for a folder without usable scenes, or of which none is left.
        """
        loaded = load_scenes(folder, self.progress).in_terms_of(self.class_names)
        faces_of = {scene.path: scene.faces for scene in loaded.scenes}
        record = new_record(name, loaded.problems)
        annotated, grey = CropClassifier(self.models), CropClassifier(self.models)
        detected = {key: CropClassifier(self.models) for key in self.detectors}
        scenes: dict[str, list[ImageBoxes]] = {key: [] for key in self.detectors}
        unknown: Counter[str] = Counter()
        image = np.zeros((1, 1, 3), np.uint8)
        images = read_unseen(folder, list(faces_of), record, self.trained_on, self.progress)
        for path, image in images:
            for face in faces_of[path]:
                if face.label in self.class_names:
                    counts = face.box.width >= self.min_face
                    annotated.add(image, face.box, face.label, _place(path, face.box), counts)
                    if counts:
                        grey.add(_grey(image), face.box, face.label, _place(path, face.box))
                else:
                    unknown[face.label] += 1
            for key, crops in detected.items():
                scenes[key].append(self._detect(key, path, image, faces_of[path], crops))
        record["problems"] += [
            f"{name}: {count} face(s) of the class {label}, which not all models know:"
            " counted as found or missed, but not as right or wrong"
            for label, count in sorted(unknown.items())
        ]
        faces = annotated.finish()
        wide = [crop for crop in faces if crop.counts]
        note = f"{len(faces) - len(wide)} narrower faces are not among them"
        self.add_row(record, annotated, f"annotated boxes >= {self.min_face} px", note)
        record["by_width"] = accuracy_by_group(faces, lambda crop: width_group(crop.width), WIDTHS)
        record["by_colour"] = accuracy_by_group(wide, lambda crop: crop.colour, COLOURS)
        record["by_light"] = accuracy_by_light(wide, grey.finish())
        record["milliseconds"] = time_detectors(self.detectors, image)
        for key, crops in detected.items():
            self._measure_detector(record, key, scenes[key], crops)
        return record

    def only_face(self, image: np.ndarray) -> FaceBox | None:
        """The face of a portrait, as the first detector finds it; None for none or several."""
        return only_face(image, next(iter(self.detectors.values())), self.confidence)

    def add_row(
        self, record: dict[str, Any], crops: CropClassifier, name: str, note: str = ""
    ) -> None:
        record["rows"].append(crops.row(name, note))
        for model, mistakes in crops.mistakes.items():
            self.mistakes[record["name"], name, model] = mistakes

    def _detect(
        self,
        key: str,
        path: Path,
        image: np.ndarray,
        faces: Sequence[AnnotatedFace],
        crops: CropClassifier,
    ) -> ImageBoxes:
        """A detector's boxes in a scene; each becomes a crop with the label of its face.

        Detecting once, at the lower of `confidence` and AP_CONFIDENCE, gives all figures. All but
        average precision are of the boxes above `confidence`.
        """
        boxes = self.detectors[key].detect(image, min(AP_CONFIDENCE, self.confidence))
        scene = ImageBoxes(
            faces=as_array([face.box for face in faces]),
            boxes=as_array(boxes),
            scores=np.array([box.confidence for box in boxes]),
            face_labels=[face.label for face in faces],
            face_lights=[light_group(crop_face(image, face.box)) for face in faces],
        )
        matches = match_boxes(scene.faces, scene.boxes, scene.scores)
        for box, match in zip(boxes, matches, strict=True):
            label = None if match is None else faces[match].label
            truth = label if label in self.class_names else None
            crops.add(image, box, truth, _place(path, box), box.confidence > self.confidence)
        return scene

    def _measure_detector(
        self, record: dict[str, Any], key: str, scenes: Sequence[ImageBoxes], crops: CropClassifier
    ) -> None:
        """Add the figures of a detector to a record; crops: its boxes, in the order of scenes."""
        above = [crop for crop in crops.finish() if crop.counts]
        labelled = sum(crop.truth is not None for crop in above)
        note = (
            f"{labelled} of {len(above)} boxes are of an annotated face of a known class; the"
            " figures are of these"
        )
        self.add_row(record, crops, f"boxes of {key}", note)
        record["findings"][key] = detection_metrics(scenes, self.confidence, self.class_names)
        faces = average_precision([replace(scene, face_labels=None) for scene in scenes])
        record["face_average_precision"][key] = {"AP50": faces.ap50, "AP": faces.ap}
        precision = {
            model: average_precision(with_labels(scenes, crops.crops, model), self.class_names)
            for model in self.models
        }
        for name, measure in (
            ("precisions", "ap50_by_class"),
            ("mean_average_precision", "ap50"),
            ("precisions_50_95", "ap_by_class"),
            ("mean_average_precision_50_95", "ap"),
        ):
            record[name][key] = {model: getattr(ap, measure) for model, ap in precision.items()}


def with_labels(
    scenes: Sequence[ImageBoxes], crops: Sequence[Crop], model: str
) -> list[ImageBoxes]:
    """The detections in scenes, each of the class that a model finds most probable.

    The score becomes the detector's confidence times that probability. crops: of all boxes, in the
    order of the scenes.
    """
    images, rest = [], iter(crops)
    for scene in scenes:
        of_scene = list(islice(rest, len(scene.boxes)))
        probabilities = np.array([crop.probabilities[model].max() for crop in of_scene])
        labels = [crop.predicted[model] for crop in of_scene]
        images.append(replace(scene, scores=scene.scores * probabilities, box_labels=labels))
    return images


def time_detectors(detectors: Mapping[str, Detector], image: np.ndarray) -> dict[str, float]:
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


def _grey(image: np.ndarray) -> np.ndarray:
    """An image without its colours, as cameras give it at night; (H, W, 3) all the same."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def _place(path: Path, box: FaceBox) -> str:
    return f"{path.name} ({box.x1}, {box.y1})"
