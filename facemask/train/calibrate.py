"""Predictions of a trained classifier, and the calibration of its probabilities."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from facemask.train.fit import stream_errors

# Temperatures that calibration may choose from. With few validation images, all of them right, the
# likelihood alone would make the model ever surer: it is never made surer than training left it.
TEMPERATURES = (1.0, 5.0)


def report(truth: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> str:
    """scikit-learn's classification report of labels, (N,) int64 each."""
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
    """The probabilities of the classes for each image of a stream, (N, C), with a progress bar."""
    with stream_errors():
        return np.asarray(model.predict(inputs))


def calibrate(model: Any, inputs: Any, labels: np.ndarray) -> float:
    """Make the model's probabilities as sure as they are right, by a temperature.

    The temperature T minimises the negative log likelihood of the labels, (N,) int64, which the
    model must not have been trained on (Guo et al., On Calibration of Modern Neural Networks,
    2017). Returns T; the last layer's weights are divided by it, so that whatever runs the model
    gets calibrated probabilities. No label changes.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logits = np.log(np.clip(predict(model, inputs).astype(np.float64), 1e-12, 1.0))

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(scaled[np.arange(len(labels)), labels].mean())

    found: Any = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded")
    temperature = float(np.exp(found.x))
    last = model.layers[-1]
    last.set_weights([weights / temperature for weights in last.get_weights()])
    return temperature
