"""Measure models by group: on faces as they are, and on unmasked ones with masks drawn on."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from facemask.class_names import WITH_MASK, WITHOUT_MASK, meaning, same_class
from facemask.data.drawn_masks import WAYS, wear_mask
from facemask.errors import FacemaskError
from facemask.evaluate.crops import Crop, CropClassifier, Models
from facemask.evaluate.groups import KIND, GroupedFace, GroupTable, read_groups
from facemask.evaluate.image_sets import read_unseen
from facemask.evaluate.metrics import wilson_interval
from facemask.evaluate.runner import Evaluation, new_record
from facemask.geometry import FaceBox

# Groups of fewer faces are shown, but say too little for a comparison: with 20, one error is 5 %.
MIN_GROUP = 20
# YuNet's face of more than this IoU with the box is the one in the box.
SAME_FACE_IOU = 0.3
ALL = "all"  # the column and the group that every face is in

# Faces with their landmarks, (5, 2), as YuNetFaceDetector.detect_landmarks gives them.
Landmarks = Callable[[np.ndarray], Sequence[tuple[FaceBox, np.ndarray]]]


class Measure(NamedTuple):
    """What is counted of the crops of a way to wear a mask; None: of the faces as they are."""

    title: str
    way: str | None
    with_mask: bool = False  # count what is called with_mask, instead of errors


AS_THEY_ARE = "as they are"
# How masks are drawn on, and what the tables call it.
DRAWN = {"proper": "mask drawn on", "below_nose": "below the nose", "on_chin": "on the chin"}
MEASURES = (
    Measure(AS_THEY_ARE, None),
    *(Measure(title, way) for way, title in DRAWN.items()),
    *(
        Measure(f"{title}: {WITH_MASK}", way, with_mask=True)
        for way, title in DRAWN.items()
        if WAYS[way] != WITH_MASK
    ),
)


@dataclass(frozen=True)
class GroupCount:
    """How many faces of a group a model gets wrong, or calls with_mask."""

    count: int
    total: int
    interval: tuple[float, float]  # of the ratio, 95 %, Wilson's


def measure_groups(
    evaluation: Evaluation,
    landmarks: Landmarks | None,
    table: GroupTable | None,
    folder: Path,
    name: str,
) -> dict[str, Any]:
    """The record of a folder of faces whose groups are known; see runner and groups.read_groups.

    A face without a box is the only one that the first detector finds; where it finds none or
    several, the whole image is used. Masks are drawn on unmasked faces that nothing else covers and
    whose landmarks are found; without `landmarks`, on none.
    """
    faces, problems = read_groups(folder, table, evaluation.class_names)
    record = new_record(name, problems)
    of_path: dict[Path, list[GroupedFace]] = {}
    for face in faces:
        of_path.setdefault(face.path, []).append(face)
    crops = {way: CropClassifier(evaluation.models) for way in (None, *DRAWN)}
    members: dict[str | None, list[GroupedFace]] = {way: [] for way in crops}
    whole = 0
    images = read_unseen(folder, list(of_path), record, evaluation.trained_on, evaluation.progress)
    for path, image in images:
        detected = landmarks(image) if landmarks else []
        for face in of_path[path]:
            box = face.box.clip(*image.shape[1::-1]) if face.box else evaluation.only_face(image)
            if face.box and box and not box.area:
                record["problems"].append(f"{path}: box {face.box.corners} is outside; skipped")
                continue
            whole += box is None
            crops[None].add(image, box, face.label, path.name)
            members[None].append(face)
            points = _landmarks_of(box, detected)
            if points is None or meaning(face.label) != WITHOUT_MASK or KIND in face.groups:
                continue
            for index, way in enumerate(DRAWN):
                # The same mask in every run, whichever other faces there are.
                seed = crc32(os.fsencode(path.name)), index
                worn = wear_mask(image, points, way, np.random.default_rng(seed))
                label = same_class(WAYS[way], evaluation.class_names)
                crops[way].add(worn, box, label, path.name)
                members[way].append(face)
    if not members[None]:
        raise FacemaskError(f"{folder}: expected faces, found that no box is inside its image")
    note = (
        f"{whole} of {len(members[None])} in which {next(iter(evaluation.detectors))} does not find"
        " just one face, used whole"
    )
    evaluation.add_row(record, crops[None], f"faces {AS_THEY_ARE}", note)
    for way, title in DRAWN.items():
        if members[way] and same_class(WAYS[way], evaluation.class_names):
            drawn = f"drawn on {len(members[way])} of {len(members[None])} faces"
            evaluation.add_row(record, crops[way], f"faces, {title}", drawn)
    for measure in MEASURES:
        pairs = list(zip(crops[measure.way].finish(), members[measure.way], strict=True))
        counts = group_counts(measure, pairs, evaluation.models)
        if counts:
            record["by_group"][measure.title] = counts
            record["group_differences"][measure.title] = differences(counts)
    return record


def _landmarks_of(
    box: FaceBox | None, detected: Sequence[tuple[FaceBox, np.ndarray]]
) -> np.ndarray | None:
    """The landmarks of the face in a box; without a box, those of the highest-scoring face."""
    if box is not None:
        detected = sorted(detected, key=lambda face: -face[0].iou(box))
        detected = [face for face in detected[:1] if face[0].iou(box) > SAME_FACE_IOU]
    return detected[0][1] if detected else None


def group_counts(
    measure: Measure, pairs: Iterable[tuple[Crop, GroupedFace]], models: Models
) -> dict[str, dict[str, dict[str, GroupCount]]]:
    """What a measure counts, by column, group and model; columns in the order of the faces.

    A model that does not know the class of the faces has no errors to count, and is left out.
    """
    values: dict[tuple[str, str, str], list[bool]] = {}
    for (crop, face), (model, classifier) in product(pairs, models.items()):
        worn = WAYS[measure.way] if measure.way else face.label
        expected = WITH_MASK if measure.with_mask else worn
        label = same_class(expected, classifier.class_names)
        if label is not None:
            is_label = crop.predicted[model] == label
            for column, group in {ALL: ALL, **face.groups}.items():
                key = (column, group, model)
                values.setdefault(key, []).append(is_label == measure.with_mask)
    counts: dict[str, dict[str, dict[str, GroupCount]]] = {}
    for (column, group, model), flags in values.items():
        interval = wilson_interval(sum(flags), len(flags))
        of_group = counts.setdefault(column, {}).setdefault(group, {})
        of_group[model] = GroupCount(sum(flags), len(flags), interval)
    return {column: dict(sorted(groups.items())) for column, groups in counts.items()}


def differences(
    counts: dict[str, dict[str, dict[str, GroupCount]]],
) -> dict[str, dict[str, dict[str, Any]]]:
    """By column and model, the largest difference of the ratios of two groups, 0 to 1, and these.

    Groups of fewer than MIN_GROUP faces are left out, and columns of fewer than two groups.
    """
    largest: dict[str, dict[str, dict[str, Any]]] = {}
    for column, groups in counts.items():
        for model in dict.fromkeys(model for models in groups.values() for model in models):
            ratios = {
                group: models[model].count / models[model].total
                for group, models in groups.items()
                if model in models and models[model].total >= MIN_GROUP
            }
            if len(ratios) > 1:
                high, low = max(ratios, key=ratios.__getitem__), min(ratios, key=ratios.__getitem__)
                largest.setdefault(column, {})[model] = {
                    "difference": ratios[high] - ratios[low],
                    "highest": high,
                    "lowest": low,
                }
    return largest
