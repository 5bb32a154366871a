"""Predictions of a trained classifier, and the calibration of its probabilities."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from facemask.keras_backend import verbosity
from facemask.train.fit import stream_errors

# The range of temperatures. Below 1 the model would become more confident than training made it:
# the likelihood of a few validation images that are all correct would ask for that without limit.
TEMPERATURES = (1.0, 5.0)


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


def calibrate(model: Any, inputs: Any, labels: np.ndarray) -> float:
    """Make the model's probabilities match its accuracy, by temperature scaling.

    The temperature T minimises the negative log likelihood of the labels, (N,) int64 (Guo et al.,
    On Calibration of Modern Neural Networks, 2017). The model must not have been trained on them.
    Returns T. The last layer's weights are divided by it, so that every runtime gives calibrated
    probabilities. No predicted class changes.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logits = np.log(np.clip(predict(model, inputs).astype(np.float64), 1e-12, 1.0))

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(scaled[np.arange(len(labels)), labels].mean())

    minimum: Any = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded")
    temperature = float(np.exp(minimum.x))
    last = model.layers[-1]
    last.set_weights([weights / temperature for weights in last.get_weights()])
    return temperature
