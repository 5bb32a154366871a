"""Classify many crops by several models, in batches; their figures and the worst mistakes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, compress

import numpy as np

from facemask.detect.types import Classifier
from facemask.evaluate.mask_colour import mask_colour
from facemask.evaluate.metrics import (
    Agreement,
    Classification,
    Ratio,
    Ratios,
    agreement,
    classification,
)
from facemask.geometry import FaceBox
from facemask.images import crop_face, resize

# A batch ends at whichever limit it reaches first; memory holds one batch.
BATCH_CROPS = 64
BATCH_BYTES = 64 * 2**20
# How many of the most confident mistakes are kept for people to look at, and pixels a side.
MAX_MISTAKES = 24
THUMBNAIL_SIDE = 160

# The class whose crops have a mask of some colour.
MASKED = "with_mask"

Models = Mapping[str, Classifier]  # by name, in the order of the tables


@dataclass(frozen=True)
class Crop:
    """A part of an image to classify."""

    image: np.ndarray  # (H, W, 3) uint8, BGR
    box: FaceBox | None  # the face, to which each model's margin is added; None: the whole image
    truth: str | None  # its class; None for one that is not known
    name: str  # for people
    on_sheet: bool = True  # whether a mistake is kept to be looked at


@dataclass(frozen=True)
class Misclassification:
    """A crop for which a model predicts a wrong class, as a thumbnail."""

    truth: str
    predicted: str
    probability: float  # of the predicted class
    name: str
    image: np.ndarray  # (H, W, 3) uint8, BGR


@dataclass(frozen=True)
class Predictions:
    """What models predict for N crops."""

    truth: tuple[str | None, ...]
    probabilities: dict[str, np.ndarray]  # by model, (N, C) float32
    mistakes: dict[str, list[Misclassification]]  # by model, the most confident first
    widths: tuple[int, ...]  # of the crops without any margin, pixels
    colours: tuple[str | None, ...]  # of the masks; None for crops of other classes

    def select(self, chosen: Sequence[bool]) -> "Predictions":
        """The predictions for some of the crops; the mistakes stay those of all."""
        return Predictions(
            truth=tuple(compress(self.truth, chosen)),
            probabilities={
                name: rows[np.array(chosen, dtype=bool)]
                for name, rows in self.probabilities.items()
            },
            mistakes=self.mistakes,
            widths=tuple(compress(self.widths, chosen)),
            colours=tuple(compress(self.colours, chosen)),
        )


@dataclass(frozen=True)
class CropSet:
    """The figures of several models on the same crops: a row of the tables for each model."""

    name: str  # which crops
    crops: int
    figures: dict[str, Classification]  # by model, of the crops whose class is known; or empty
    agreements: dict[str, Agreement]  # by "model and model", where their classes are the same
    note: str = ""
    mistakes: dict[str, list[Misclassification]] = field(default_factory=dict)  # by model


class CropCollector:
    """Takes crops one at a time, has all models classify them in batches, keeps the predictions."""

    def __init__(self, models: Models):
        self._models = models
        # Crops of the current batch, by margin: models of the same margin share them.
        self._batch: dict[float, list[np.ndarray]] = {model.margin: [] for model in models.values()}
        self._batch_bytes = 0
        # Of the current batch: truth and name; a truth of None keeps the crop off the sheets.
        self._waiting: list[tuple[str | None, str]] = []
        self._truth: list[str | None] = []
        self._widths: list[int] = []
        self._colours: list[str | None] = []
        self._probabilities: dict[str, list[np.ndarray]] = {
            name: [np.zeros((0, len(model.class_names)), np.float32)]
            for name, model in models.items()
        }
        self._mistakes: dict[str, list[Misclassification]] = {name: [] for name in models}

    def add(self, crop: Crop) -> None:
        """Take a crop; its image is not kept."""
        for margin, batch in self._batch.items():
            pixels = crop.image
            if crop.box is not None:  # a copy, as a view would keep the whole image
                pixels = crop_face(crop.image, crop.box, margin).copy()
            batch.append(pixels)
            self._batch_bytes += pixels.nbytes
        face = crop.image if crop.box is None else crop_face(crop.image, crop.box)
        self._widths.append(face.shape[1])
        self._colours.append(mask_colour(face) if crop.truth == MASKED else None)
        self._truth.append(crop.truth)
        self._waiting.append((crop.truth if crop.on_sheet else None, crop.name))
        if len(self._waiting) >= BATCH_CROPS or self._batch_bytes >= BATCH_BYTES:
            self._flush()

    def finish(self) -> Predictions:
        """Classify the last batch. Returns the predictions in the order of the crops."""
        if self._waiting:
            self._flush()
        return Predictions(
            truth=tuple(self._truth),
            probabilities={
                name: np.concatenate(rows) for name, rows in self._probabilities.items()
            },
            mistakes=self._mistakes,
            widths=tuple(self._widths),
            colours=tuple(self._colours),
        )

    def _flush(self) -> None:
        for name, model in self._models.items():
            crops = self._batch[model.margin]
            probabilities = model.predict(crops)
            self._probabilities[name].append(probabilities)
            mistakes = [
                Misclassification(truth, predicted, float(row.max()), text, crop)
                for (truth, text), row, crop in zip(
                    self._waiting, probabilities, crops, strict=True
                )
                if truth is not None
                and truth != (predicted := model.class_names[int(row.argmax())])
            ]
            worst = sorted([*self._mistakes[name], *mistakes], key=lambda m: -m.probability)
            self._mistakes[name] = [_thumbnail(mistake) for mistake in worst[:MAX_MISTAKES]]
        self._waiting.clear()
        self._batch_bytes = 0
        for batch in self._batch.values():
            batch.clear()


def _thumbnail(mistake: Misclassification) -> Misclassification:
    height, width = mistake.image.shape[:2]
    scale = THUMBNAIL_SIDE / max(height, width)
    if scale >= 1:
        return mistake
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return replace(mistake, image=resize(mistake.image, size))


def accuracy_by_group(
    groups: Sequence[str | None], order: Sequence[str], predictions: Predictions, models: Models
) -> Ratios:
    """How many crops of each group each model classifies correctly; empty groups are left out.

    groups: for each crop one of `order`; None leaves the crop out, as an unknown class does.
    """
    correct = {
        name: np.array(model.class_names)[predictions.probabilities[name].argmax(axis=1)]
        == np.array(predictions.truth, dtype=object)
        for name, model in models.items()
    }
    has_class = np.array([label is not None for label in predictions.truth], dtype=bool)
    ratios: Ratios = {}
    for group in order:
        members = has_class & (np.array(groups, dtype=object) == group)
        if members.any():
            total = int(members.sum())
            ratios[group] = {
                name: Ratio(int(correct[name][members].sum()), total) for name in models
            }
    return ratios


def crop_set(name: str, predictions: Predictions, models: Models, note: str = "") -> CropSet:
    """The figures of each model, and the agreement of each two that have the same classes.

    Crops whose class is not known count for the agreement alone.
    """
    class_names = {model: classifier.class_names for model, classifier in models.items()}
    probabilities = predictions.probabilities
    known = [index for index, label in enumerate(predictions.truth) if label is not None]
    labels = [label for label in predictions.truth if label is not None]
    return CropSet(
        name=name,
        crops=len(predictions.truth),
        figures={
            model: classification(labels, rows[known], class_names[model])
            for model, rows in probabilities.items()
            if known
        },
        agreements={
            f"{first} and {second}": agreement(probabilities[first], probabilities[second])
            for first, second in combinations(probabilities, 2)
            if len(predictions.truth) and class_names[first] == class_names[second]
        },
        note=note,
        mistakes=predictions.mistakes,
    )
