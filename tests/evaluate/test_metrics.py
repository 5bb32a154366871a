"""The figures, on examples small enough to work out by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from facemask.evaluate import metrics
from facemask.evaluate.metrics import expected_calibration_error

MASKED, UNMASKED = NAMES = ("with_mask", "without_mask")


def rows(*masked: float) -> np.ndarray:
    """Probabilities of two classes, given those of with_mask."""
    return np.array([[value, 1 - value] for value in masked], np.float32).reshape(-1, 2)


# --- classes ---


def test_classification() -> None:
    """Three masked faces, two of them correct, and one unmasked face, correct."""
    found = metrics.classification(
        [MASKED, MASKED, MASKED, UNMASKED], rows(0.9, 0.8, 0.3, 0.1), NAMES
    )
    assert (found.crops, found.correct, found.accuracy) == (4, 3, 0.75)
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert found.confusion == ((2, 1), (0, 1))
    masked, unmasked = found.classes[MASKED], found.classes[UNMASKED]
    assert (masked.precision, masked.recall, masked.support) == (1.0, pytest.approx(2 / 3), 3)
    assert masked.f1 == pytest.approx(0.8)
    assert (unmasked.precision, unmasked.recall, unmasked.support) == (0.5, 1.0, 1)


def test_a_class_without_crops_has_no_recall_and_does_not_count() -> None:
    found = metrics.classification(
        [MASKED, MASKED], np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]), (*NAMES, "other")
    )
    assert found.balanced_accuracy == 0.5
    assert found.classes[UNMASKED] == metrics.ClassFigures(0.0, None, 0.0, 0)
    assert found.classes["other"] == metrics.ClassFigures(None, None, None, 0)
    assert found.confusion == ((1, 1, 0), (0, 0, 0), (0, 0, 0))


def test_with_or_without_counts_the_two_classes_beside_a_third() -> None:
    """Two masked faces, one called incorrect but rather masked; one bare face called masked."""
    names = ("no_mask", "incorrect", "Mask")
    found = metrics.classification(
        ["Mask", "Mask", "no_mask", "incorrect"],
        np.array([[0.1, 0.1, 0.8], [0.1, 0.6, 0.3], [0.3, 0.1, 0.6], [0.2, 0.5, 0.3]]),
        names,
    )
    assert found.correct == 2
    assert found.with_or_without == metrics.Ratio(2, 3)
    assert metrics.classification([MASKED], rows(0.9), NAMES).with_or_without is None


def test_truth_goes_by_name_whatever_the_models_order() -> None:
    found = metrics.classification([UNMASKED], np.array([[0.9, 0.1]]), (UNMASKED, MASKED))
    assert found.accuracy == 1.0


@pytest.mark.parametrize("truth", [[], ["unknown"]])
def test_no_figures_of_nothing(truth: list[str]) -> None:
    with pytest.raises(ValueError, match="Expected crops of"):
        metrics.classification(truth, rows(*[0.5] * len(truth)), NAMES)


@pytest.mark.parametrize(
    ("correct", "crops", "low", "high"),
    [
        (0, 10, 0.0, 0.27753), (10, 10, 0.72247, 1.0), (5, 10, 0.23659, 0.76341),
        (275, 276, 0.97977, 0.99936),
    ],
)  # fmt: skip
def test_the_interval_is_wilsons(correct: int, crops: int, low: float, high: float) -> None:
    probabilities = rows(*[0.9] * correct, *[0.1] * (crops - correct))
    found = metrics.classification([MASKED] * crops, probabilities, NAMES)
    assert found.interval == pytest.approx((low, high), abs=1e-5)


@pytest.mark.parametrize(
    ("labels", "masked", "error"),
    [
        ([0, 1, 0, 0], (0.9, 0.9, 0.6, 0.6), 0.4),  # at .9 one of two right, at .6 both
        ([0, 0, 0, 1], (0.75,) * 4, 0.0),  # three of four right, as often as was said
        ([0, 1], (1.0, 1.0), 0.5),  # certain answers have a bin too
    ],
)
def test_calibration_error(labels: list[int], masked: Sequence[float], error: float) -> None:
    found = expected_calibration_error(np.array(labels), rows(*masked))
    assert found == pytest.approx(error)


def test_agreement() -> None:
    found = metrics.agreement(rows(0.9, 0.6, 0.2, 0.1), rows(0.8, 0.4, 0.2, 0.1))
    assert found == {"crops": 4, "same_label": 0.75, "largest_difference": pytest.approx(0.2)}


def test_the_record_keeps_its_old_keys() -> None:
    found = metrics.classification([MASKED, UNMASKED, MASKED], rows(0.9, 0.2, 0.3), NAMES)
    record = metrics.classification_record(found)
    assert list(record)[:3] == ["right", "crops", "accuracy"]
    assert (record["right"], record["crops"], record["accuracy"]) == (2, 3, 0.666667)
    assert record["confusion"] == [[1, 1], [0, 1]]
    assert record["classes"][UNMASKED]["recall"] == 1.0
