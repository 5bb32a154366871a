"""Classifying crops in batches, the mistakes that are kept, and the figures."""

import numpy as np
import pytest

from facemask.evaluate import crops
from facemask.evaluate.crops import CropClassifier

from ..conftest import FakeClassifier

DARK, BRIGHT = (np.full((100, 400, 3), value, np.uint8) for value in (20, 200))
MASKED, UNMASKED = FakeClassifier.class_names


@pytest.mark.parametrize(("limit", "value"), [("BATCH_CROPS", 2), ("BATCH_BYTES", 600)])
def test_memory_holds_one_batch(limit: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five crops, two at a time: two by number, or two by their 300 bytes each."""
    monkeypatch.setattr(crops, limit, value)
    model = FakeClassifier()
    collector = CropClassifier({"m": model})
    for _ in range(5):
        collector.add(np.full((10, 10, 3), 200, np.uint8), None, MASKED, "x")
    found = collector.finish()
    assert model.calls == [2, 2, 1]
    assert [(crop.truth, crop.predicted, crop.width) for crop in found] == [
        (MASKED, {"m": MASKED}, 10)
    ] * 5


def test_the_most_confident_mistakes_are_kept_as_thumbnails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dark crops are taken for unmasked ones with 0.8, bright ones for masked ones with 0.9."""
    monkeypatch.setattr(crops, "MAX_MISTAKES", 3)
    monkeypatch.setattr(crops, "BATCH_CROPS", 2)
    collector = CropClassifier({"m": FakeClassifier()})
    collector.add(DARK, None, MASKED, "1")
    collector.add(DARK, None, UNMASKED, "correct")
    collector.add(DARK, None, None, "of no class")
    collector.add(BRIGHT, None, UNMASKED, "2")
    collector.add(DARK, None, MASKED, "3")
    collector.add(BRIGHT, None, UNMASKED, "4")
    collector.add(BRIGHT, None, UNMASKED, "does not count", counts=False)
    row = collector.row("crops")
    assert (row["crops"], row["figures"]["m"].crops, row["figures"]["m"].correct) == (6, 5, 1)
    mistakes = collector.mistakes["m"]
    kept = [(crop.name, crop.probabilities["m"].max()) for crop, _ in mistakes]
    assert kept == [("2", 0.9), ("4", 0.9), ("1", 0.8)]
    assert mistakes[0][1].shape == (40, 160, 3)
    assert mistakes[0][1].mean() == 200
