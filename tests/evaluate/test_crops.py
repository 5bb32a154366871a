"""Classifying crops in batches, the mistakes that are kept, and the figures by group."""

import numpy as np
import pytest

from facemask.evaluate import crops
from facemask.evaluate.crops import (
    Crop,
    CropCollector,
    Models,
    Predictions,
    accuracy_by_group,
    crop_set,
)
from facemask.evaluate.metrics import Ratio

from ..conftest import FakeClassifier

DARK, BRIGHT = (np.full((100, 400, 3), value, np.uint8) for value in (20, 200))
MASKED, UNMASKED = NAMES = FakeClassifier.class_names


class Reversed(FakeClassifier):
    """A model with the classes in the other order."""

    class_names = ("without_mask", "with_mask")


def classify(models: Models, *taken: Crop) -> Predictions:
    collector = CropCollector(models)
    for crop in taken:
        collector.add(crop)
    return collector.finish()


def predictions(truth: list[str | None], *masked: float, model: str = "m") -> Predictions:
    """Hand-made ones of a model with the classes NAMES."""
    probabilities = {model: np.array([[value, 1 - value] for value in masked])}
    nothing = (None,) * len(truth)
    return Predictions(tuple(truth), probabilities, {model: []}, tuple(range(len(truth))), nothing)


@pytest.mark.parametrize(("limit", "value"), [("BATCH_CROPS", 2), ("BATCH_BYTES", 600)])
def test_memory_holds_one_batch(limit: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five crops, two at a time: two by number, or two by their 300 bytes each."""
    monkeypatch.setattr(crops, limit, value)
    model = FakeClassifier()
    crop = Crop(np.full((10, 10, 3), 200, np.uint8), None, MASKED, "x")
    found = classify({"m": model}, *[crop] * 5)
    assert model.calls == [2, 2, 1]
    assert found.probabilities["m"].shape == (5, 2)
    assert found.truth == (MASKED,) * 5


def test_no_crops() -> None:
    found = classify({"m": FakeClassifier()})
    assert found.probabilities["m"].shape == (0, 2)
    assert found.mistakes == {"m": []}
    assert crop_set("none", found, {"m": FakeClassifier()}).figures == {}


def test_the_most_confident_mistakes_are_kept_as_thumbnails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dark crops are taken for unmasked ones with 0.8, bright ones for masked ones with 0.9."""
    monkeypatch.setattr(crops, "MAX_MISTAKES", 3)
    monkeypatch.setattr(crops, "BATCH_CROPS", 2)
    found = classify(
        {"m": FakeClassifier()},
        Crop(DARK, None, MASKED, "1"),
        Crop(DARK, None, UNMASKED, "correct"),
        Crop(DARK, None, None, "of no class"),
        Crop(BRIGHT, None, UNMASKED, "2"),
        Crop(DARK, None, MASKED, "3"),
        Crop(BRIGHT, None, UNMASKED, "4"),
        Crop(BRIGHT, None, UNMASKED, "on no sheet", on_sheet=False),
    )
    mistakes = found.mistakes["m"]
    kept = [(mistake.name, mistake.probability) for mistake in mistakes]
    assert kept == [("2", 0.9), ("4", 0.9), ("1", 0.8)]
    assert (mistakes[0].truth, mistakes[0].predicted) == (UNMASKED, MASKED)
    assert mistakes[0].image.shape == (40, 160, 3)
    assert mistakes[0].image.mean() == 200
    assert found.truth[-1] == UNMASKED


def test_select() -> None:
    chosen = predictions([MASKED, UNMASKED, None], 0.9, 0.2, 0.6).select([True, False, True])
    assert (chosen.truth, chosen.widths) == ((MASKED, None), (0, 2))
    assert chosen.probabilities["m"][:, 0].tolist() == [0.9, 0.6]


def test_accuracy_by_group_and_model() -> None:
    """The first model is correct on the first and the last crop, the reversed one on the second.

    Crops of no group or of no class count nowhere.
    """
    found = predictions([MASKED, MASKED, UNMASKED, None, UNMASKED], 0.9, 0.1, 0.1, 0.1, 0.2)
    found.probabilities["reversed"] = found.probabilities["m"]
    models = {"m": FakeClassifier(), "reversed": Reversed()}
    groups = ["near", "far", None, "far", "far"]
    ratios = accuracy_by_group(groups, ["far", "none", "near"], found, models)
    assert ratios == {
        "far": {"m": Ratio(1, 2), "reversed": Ratio(1, 2)},
        "near": {"m": Ratio(1, 1), "reversed": Ratio(0, 1)},
    }
    assert list(ratios) == ["far", "near"]
    assert accuracy_by_group([], ["near"], classify(models), models) == {}
