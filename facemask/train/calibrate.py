"""Predictions of a trained classifier, and the calibration of its probabilities."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from facemask.class_names import INCORRECT, same_class
from facemask.keras_backend import verbosity
from facemask.train.fit import stream_errors

# The range of temperatures. Below 1 the model would become more confident than training made it:
# the likelihood of a few validation images that are all correct would ask for that without limit.
TEMPERATURES = (1.0, 5.0)
OFFSETS = np.arange(-30, 31) / 10
OFFSET_TOLERANCE = 0.001


def report(truth: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> str:
    """scikit-learn's classification report; truth, predicted: labels, (N,) int64."""
    from sklearn.metrics import classification_report

    return str(
        classification_report(
            truth,
            predicted,
            labels=np.arange(len(class_names)),
            target_names=list(class_names),
            zero_division=0,  # pyright: ignore[reportArgumentType]
        )
    )


def predict(model: Any, inputs: Any) -> np.ndarray:
    """The class probabilities of all inputs, (N, C) float32.

    inputs: as batches() or feature_batches() make them. Raises FacemaskError when an image can no
    longer be read.
    """
    with stream_errors():
        return np.asarray(model.predict(inputs, verbose=verbosity(0)))


def calibrate(
    model: Any, inputs: Any, labels: np.ndarray, class_names: Sequence[str] = ()
) -> float:
    """Make the model's probabilities match its accuracy, by temperature scaling.

    If there is a class of masks worn incorrectly, incorrect_offset moves its logit before that.

    The temperature T minimises the negative log likelihood of the labels, (N,) int64 (Guo et al.,
    On Calibration of Modern Neural Networks, 2017). The model must not have been trained on them.
    Returns T. The last layer's weights are divided by it, so that every runtime gives calibrated
    probabilities.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logits = np.log(np.clip(predict(model, inputs).astype(np.float64), 1e-12, 1.0))
    offset = np.zeros(logits.shape[1])
    incorrect = same_class(INCORRECT, class_names)
    if incorrect is not None:
        offset[class_names.index(incorrect)] = incorrect_offset(
            logits, labels, class_names.index(incorrect)
        )
    logits += offset

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(scaled[np.arange(len(labels)), labels].mean())

    minimum: Any = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded")
    temperature = float(np.exp(minimum.x))
    last = model.layers[-1]
    kernel, bias = last.get_weights()
    last.set_weights([kernel / temperature, (bias + offset) / temperature])
    return temperature


def incorrect_offset(logits: np.ndarray, labels: np.ndarray, incorrect: int) -> float:
    """What to add to the rare class's logit, so that it is called neither too often nor too rarely.

    The training gives the classes of a collection the same weight, as if every third face were of
    the rare one. The offset is that with the highest mean of accuracy and balanced accuracy; of
    those within OFFSET_TOLERANCE of it, the nearest to 0.

    logits: (N, C); labels: (N,) int64; incorrect: the column of the class.
    """
    from sklearn.metrics import balanced_accuracy_score

    scores = []
    for offset in OFFSETS:
        shifted = logits.copy()
        shifted[:, incorrect] += offset
        predicted = shifted.argmax(axis=1)
        accuracy = (predicted == labels).mean()
        scores.append((accuracy + balanced_accuracy_score(labels, predicted)) / 2)
    good = OFFSETS[np.array(scores) >= max(scores) - OFFSET_TOLERANCE]
    return float(good[np.abs(good).argmin()])
