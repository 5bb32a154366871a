"""The figures of a mask classifier: accuracy, classes, calibration, agreement of two models."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

import numpy as np

from facemask.class_names import WITH_MASK, WITHOUT_MASK, same_class

# As in C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
CALIBRATION_BINS = 15


@dataclass(frozen=True)
class ClassFigures:
    """Fractions, 0 to 1, and counts of one class; None where there is nothing to divide by."""

    precision: float | None
    recall: float | None
    f1: float | None
    support: int  # crops of the class


@dataclass(frozen=True)
class Classification:
    """How often a model predicts the class of a crop."""

    crops: int
    correct: int
    accuracy: float
    interval: tuple[float, float]  # of the accuracy, 95 %, Wilson's
    balanced_accuracy: float  # mean recall of the classes that have crops
    classes: dict[str, ClassFigures]
    confusion: tuple[tuple[int, ...], ...]  # (C, C), rows: true class, columns: predicted class
    calibration_error: float  # expected calibration error, 0 to 1
    # Of a model with further classes: how many crops with or without a mask are given the right one
    # of these two, whatever the probabilities of the others. None where a model has no others.
    with_or_without: "Ratio | None" = None


@dataclass(frozen=True)
class Ratio:
    """A count and the total that it is a part of."""

    count: int
    total: int

    @property
    def fraction(self) -> float | None:
        """0 to 1; None where the total is 0."""
        return self.count / self.total if self.total else None


def classification(
    truth: Sequence[str], probabilities: np.ndarray, class_names: Sequence[str]
) -> Classification:
    """The figures of a model's predictions.

    truth: N class names; probabilities: (N, C), columns as class_names.
    Raises ValueError for no crops, or a class that is not in class_names.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    if not len(truth) or not set(truth) <= set(class_names):
        raise ValueError(f"Expected crops of {class_names}. Received: {sorted(set(truth))}")
    indices = np.arange(len(class_names))
    labels = np.array([class_names.index(name) for name in truth])
    predicted = probabilities.argmax(axis=1)
    correct = int((predicted == labels).sum())
    columns = np.array(  # (4, C): precision, recall, F1, support
        precision_recall_fscore_support(
            labels,
            predicted,
            labels=indices,
            zero_division=np.nan,  # pyright: ignore[reportArgumentType]
        )
    )
    known = columns.astype(object)
    known[np.isnan(columns)] = None
    return Classification(
        crops=len(labels),
        correct=correct,
        accuracy=correct / len(labels),
        interval=wilson_interval(correct, len(labels)),
        balanced_accuracy=float(np.nanmean(columns[1])),
        classes={
            name: ClassFigures(precision, recall, f1, int(support))
            for name, (precision, recall, f1, support) in zip(
                class_names, known.T.tolist(), strict=True
            )
        },
        confusion=tuple(map(tuple, confusion_matrix(labels, predicted, labels=indices).tolist())),
        calibration_error=expected_calibration_error(labels, probabilities),
        with_or_without=_with_or_without(labels, probabilities, class_names),
    )


def _with_or_without(
    labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]
) -> Ratio | None:
    names = [same_class(name, class_names) for name in (WITH_MASK, WITHOUT_MASK)]
    columns = [class_names.index(name) for name in names if name]
    if len(columns) < 2 or len(class_names) == 2:
        return None
    of_two = np.isin(labels, columns)
    predicted = np.array(columns)[probabilities[of_two][:, columns].argmax(axis=1)]
    return Ratio(int((predicted == labels[of_two]).sum()), int(of_two.sum()))


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a ratio, 0 to 1; unlike the textbook one, Wilson's holds near 0 and 1.

    total: at least 1.
    """
    from scipy.stats import binomtest

    interval = binomtest(count, total).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error, 0 to 1: how far probabilities are from the accuracy.

    labels: (N,) int, columns of probabilities, (N, C). The crops are put into CALIBRATION_BINS
    bins of equal width by their top probability; the result is the mean over crops of the
    distance between accuracy and mean top probability in the crop's bin.
    """
    top = probabilities.max(axis=1).astype(float)
    correct = probabilities.argmax(axis=1) == labels
    bins = np.clip(np.ceil(top * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    return float(np.abs(np.bincount(bins, weights=correct - top)).sum() / len(labels))


def agreement(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """How far two models predict the same: of how many crops, the fraction of the same label, and
    the largest difference of a probability.

    first, second: probabilities, (N, C) each with the same columns, N at least 1.
    """
    return {
        "crops": len(first),
        "same_label": float((first.argmax(axis=1) == second.argmax(axis=1)).mean()),
        "largest_difference": float(np.abs(first.astype(float) - second).max()),
    }


def classification_record(figures: Classification) -> dict[str, Any]:
    """The figures as plain data for JSON, where `correct` has the key `right`."""
    record = asdict(figures)
    return rounded({"right": record.pop("correct"), **record})


def rounded(data: Any) -> Any:
    """Plain data for JSON: fractions to six decimals, tuples as lists, dataclasses as objects."""
    if isinstance(data, Classification):
        return classification_record(data)
    if is_dataclass(data):
        data = vars(data)
    if isinstance(data, dict):
        return {key: rounded(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [rounded(value) for value in data]
    return round(data, 6) if isinstance(data, float) else data
