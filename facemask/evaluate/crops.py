"""Classify many crops by several models, in batches; their figures and the worst mistakes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from facemask.class_names import WITH_MASK, meaning
from facemask.detect.types import Classifier
from facemask.evaluate.detection import LIGHTS, light_group
from facemask.evaluate.mask_colour import mask_colour
from facemask.evaluate.metrics import agreement, classification
from facemask.geometry import FaceBox
from facemask.images import crop_face, resize

# A batch ends at whichever limit it reaches first; memory holds one batch.
BATCH_CROPS = 64
BATCH_BYTES = 64 * 2**20
# How many of the most confident mistakes are kept for people to look at, and pixels a side.
MAX_MISTAKES = 24
THUMBNAIL_SIDE = 160
GREY = "grey copies"  # of crops, as cameras give them at night

Models = Mapping[str, Classifier]  # by name, in the order of the tables


@dataclass
class Crop:
    """A part of an image, without its pixels, and what the models predict for it."""

    truth: str | None  # its class; None for one that is not known
    name: str  # for people
    counts: bool  # in a row of the tables and among the mistakes
    width: int  # without any margin, pixels
    colour: str | None  # of the mask; None for crops of other classes
    light: str  # on it, one of detection.LIGHTS
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)  # by model, (C,) float32
    predicted: dict[str, str] = field(default_factory=dict)  # by model, the most probable class


# Misclassified crops and their images, (H, W, 3) uint8, BGR; the most confident first.
Mistakes = list[tuple[Crop, np.ndarray]]


class CropClassifier:
    """Takes crops one at a time, and has all models classify them in batches."""

    def __init__(self, models: Models):
        self.crops: list[Crop] = []  # in the order of add(); finish() completes the last ones
        self.mistakes: dict[str, Mistakes] = {name: [] for name in models}  # as thumbnails
        self._models = models
        # The current batch: crops with their pixels by margin, which models of one margin share.
        self._batch: list[tuple[Crop, dict[float, np.ndarray]]] = []
        self._batch_bytes = 0

    def add(
        self,
        image: np.ndarray,
        box: FaceBox | None,
        truth: str | None,
        name: str,
        counts: bool = True,
    ) -> None:
        """Take the face in a box, or a whole image, (H, W, 3) uint8, BGR; the image is not kept.

        Each model's margin is added to the box. The rest: as of Crop.
        """
        face = image if box is None else crop_face(image, box)
        colour = mask_colour(face) if truth and meaning(truth) == WITH_MASK else None
        pixels = {
            # A copy, as a view would keep the whole image.
            margin: image if box is None else crop_face(image, box, margin).copy()
            for margin in {model.margin for model in self._models.values()}
        }
        self.crops.append(Crop(truth, name, counts, face.shape[1], colour, light_group(face)))
        self._batch.append((self.crops[-1], pixels))
        self._batch_bytes += sum(array.nbytes for array in pixels.values())
        if len(self._batch) >= BATCH_CROPS or self._batch_bytes >= BATCH_BYTES:
            self.finish()

    def finish(self) -> list[Crop]:
        """Classify the current batch, so that all crops taken so far are complete. Returns them."""
        for name, model in self._models.items():
            images = [pixels[model.margin] for _, pixels in self._batch]
            rows = model.predict(images) if images else []
            mistakes = self.mistakes[name]
            for (crop, _), image, row in zip(self._batch, images, rows, strict=True):
                predicted = model.class_names[int(row.argmax())]
                crop.probabilities[name], crop.predicted[name] = row, predicted
                if crop.counts and crop.truth not in (None, predicted):
                    mistakes.append((crop, image))
            mistakes.sort(key=lambda mistake: -mistake[0].probabilities[name].max())
            mistakes[:] = [(crop, _thumbnail(image)) for crop, image in mistakes[:MAX_MISTAKES]]
        self._batch, self._batch_bytes = [], 0
        return self.crops

    def row(self, name: str, note: str = "") -> dict[str, Any]:
        """The figures of the crops that count, a row of the tables for each model, as plain data.

        `figures`: the Classification of each model, of the crops of known classes; or empty.
        `agreements`: of each two models that have the same classes, of all crops.
        """
        crops = [crop for crop in self.finish() if crop.counts]
        labels = [crop.truth for crop in crops if crop.truth is not None]
        known = [index for index, crop in enumerate(crops) if crop.truth is not None]
        class_names = {model: each.class_names for model, each in self._models.items()}
        probabilities = {
            model: np.array([crop.probabilities[model] for crop in crops]) for model in class_names
        }
        return {
            "name": name,
            "crops": len(crops),
            "figures": {
                model: classification(labels, rows[known], class_names[model])
                for model, rows in probabilities.items()
                if known
            },
            "agreements": {
                f"{first} and {second}": agreement(probabilities[first], probabilities[second])
                for first, second in combinations(class_names, 2)
                if crops and class_names[first] == class_names[second]
            },
            "note": note,
        }


def _thumbnail(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    scale = THUMBNAIL_SIDE / max(height, width)
    if scale >= 1:
        return image
    return resize(image, (max(1, round(height * scale)), max(1, round(width * scale))))


def accuracy_by_group(
    crops: Sequence[Crop], group: Callable[[Crop], str | None], order: Sequence[str]
) -> dict[str, dict[str, dict[str, int]]]:
    """How many crops each model classifies correctly, by group and model; `right` of a `total`.

    crops: of known classes. group: the group of a crop, one of `order`, or None. Empty groups are
    left out.
    """
    ratios = {}
    for name in order:
        members = [crop for crop in crops if group(crop) == name]
        if members:
            ratios[name] = {
                model: {
                    "right": sum(crop.predicted[model] == crop.truth for crop in members),
                    "total": len(members),
                }
                for model in members[0].predicted
            }
    return ratios


def accuracy_by_light(crops: Sequence[Crop], grey: Sequence[Crop]) -> dict[str, Any]:
    """accuracy_by_group for the light on crops, and for grey copies of them."""
    return accuracy_by_group(crops, lambda crop: crop.light, LIGHTS) | accuracy_by_group(
        grey, lambda _: GREY, [GREY]
    )
