"""Building, training, judging, plotting and saving a mask classifier."""

import os
import platform
import re
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facemask import facts
from facemask.backend import HDF5_SIGNATURE, load_keras
from facemask.errors import FacemaskError
from facemask.facts import ModelFacts
from facemask.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The recipe of the classic tutorial: a frozen MobileNetV2 under a small fully connected head.
INPUT_SIZE = (224, 224)  # pixels, of the tutorial and of the ImageNet weights
HEAD_UNITS = 128
DROPOUT = 0.5

# Training ends when the validation loss was not lower for so many epochs.
PATIENCE = 5
# Temperatures that calibration may choose from. With few validation images, all of them right, the
# likelihood alone would make the model ever surer: it is never made surer than training left it.
TEMPERATURES = (1.0, 5.0)


def check_weights(weights: str) -> None:
    """Raise FacemaskError for a weights file that is missing or not HDF5; see build_model."""
    if weights in ("imagenet", "none"):
        return
    try:
        with open(weights, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise FacemaskError(
            f"{weights}: can't be read: {error.strerror}; expected imagenet, none, or an HDF5"
            " file of MobileNetV2 weights"
        ) from error
    if start != HDF5_SIGNATURE:
        raise FacemaskError(f"{weights}: expected an HDF5 file of MobileNetV2 weights")


def make_repeatable(seed: int) -> None:
    """Let the same seed give the same figures on one machine. Call it before build_model."""
    keras = load_keras()
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def build_model(
    class_count: int, weights: str = "imagenet", size: tuple[int, int] = INPUT_SIZE
) -> Any:
    """MobileNetV2 without its top, and a new head; only the head learns.

    size: (height, width) of the images, pixels. The weights are those for 224x224 at any size: no
    layer's shape depends on it, and what they know carries over.

    weights: of the base: "imagenet" (fetched by Keras, or found in KERAS_HOME), the path of an
    HDF5 file in the layout of Keras's own for MobileNetV2 without its top, or "none": random
    ones, which are of no use as they are, so that the base then learns with the head.
    Returns a Keras model from (N, *size, 3) float32, RGB in [-1, 1], to (N, class_count)
    probabilities. Raises FacemaskError when the weights can't be had.
    """
    keras = load_keras()
    inputs = keras.Input((*size, 3))
    base = load_base(weights, size)
    base.trainable = weights == "none"
    features = base(inputs)  # (N, 7, 7, 1280) of 224x224 pixels
    hidden = keras.layers.GlobalAveragePooling2D()(features)  # (N, 1280)
    hidden = keras.layers.Dense(HEAD_UNITS, activation="relu")(hidden)
    hidden = keras.layers.Dropout(DROPOUT)(hidden)
    outputs = keras.layers.Dense(class_count, activation="softmax")(hidden)
    return keras.Model(inputs, outputs, name="mask_detector")


def load_base(weights: str, size: tuple[int, int] = INPUT_SIZE) -> Any:
    """MobileNetV2 without its top; see build_model."""
    keras = load_keras()
    check_weights(weights)
    try:
        base = keras.applications.MobileNetV2(
            input_shape=(*INPUT_SIZE, 3),
            include_top=False,
            weights=None if weights == "none" else weights,
        )
        if size == INPUT_SIZE:
            return base
        # Keras would fetch other weights for some sizes, and warn of the others.
        smaller = keras.applications.MobileNetV2((*size, 3), include_top=False, weights=None)
        smaller.set_weights(base.get_weights())
        return smaller
    except Exception as error:  # Keras raises a bare Exception for a failed download
        what = " ".join(str(error).split())[:300]
        if weights == "imagenet":
            models = Path(os.environ.get("KERAS_HOME", "~/.keras"), "models").expanduser()
            raise FacemaskError(
                f"{models}: the ImageNet weights of MobileNetV2 are not there and can't be fetched"
                f" ({what}); put them there by hand, or give --weights PATH"
            ) from error
        raise FacemaskError(
            f"{weights}: not weights of MobileNetV2 1.0 without its top: {what}"
        ) from error


def train(
    model: Any,
    training: Any,
    validation: Any,
    *,
    epochs: int,
    learning_rate: float,
    decay: bool = False,
    early_stopping: bool = True,
    quiet: bool = False,
) -> dict[str, list[float]]:
    """Train what is trainable of the model, with Keras's progress bars unless quiet.

    training, validation: as stream.batches makes them. early_stopping: end when the validation
    loss no longer falls, and keep the weights of the epoch where it was least. decay: let the
    learning rate fall to zero along a cosine; then nothing ends early and the last weights are
    kept, which had more right answers than those of the least loss, whose first epochs a few wrong
    labels cost less.
    Returns the curves, a value an epoch: loss, accuracy, val_loss, val_accuracy.
    Raises FacemaskError when an image can't be read any more.
    """
    keras = load_keras()
    steps = epochs * len(training)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps) if decay else learning_rate
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    best = keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    with _image_errors():
        history = model.fit(
            training,
            validation_data=validation,
            epochs=epochs,
            shuffle=False,  # the stream shuffles
            callbacks=[best] if early_stopping and not decay else [],
            verbose=0 if quiet else "auto",
        )
    return {name: [float(value) for value in curve] for name, curve in history.history.items()}


def unfreeze(model: Any) -> None:
    """Let train() change the whole base, but for batch normalization.

    Layers of it that are not trainable keep their stored statistics: a few hundred images are too
    few to estimate new ones.
    """
    keras = load_keras()
    base = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    base.trainable = True
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


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
    with _image_errors():
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


@contextmanager
def _image_errors() -> Iterator[None]:
    """An image that went missing while training: its line instead of a library's traceback."""
    try:
        yield
    except FacemaskError as error:
        raise FacemaskError(f"{error} (it could be read when training began)") from error
    except Exception as error:  # TensorFlow wraps what a stream raises in errors of its own
        found = re.search(r"FacemaskError: (.*)", str(error))
        if not found:
            raise
        raise FacemaskError(f"{found[1]} (it could be read when training began)") from error


def save_model(path: str | os.PathLike[str], model: Any, model_facts: ModelFacts) -> None:
    """Write a `.keras` file with the facts inside it: whole, or not at all.

    The optimizer's state is left out; detection has no use for it. What Keras stores plainly is
    compressed, which takes a seventh off.
    """
    keras = load_keras()
    with replacing(path) as part:
        keras.Model(model.inputs, model.outputs, name=model.name).save(part)
        _compress(part)
        facts.write(part, model_facts)


def _compress(archive: Path) -> None:
    with zipfile.ZipFile(archive) as plain:
        entries = {name: plain.read(name) for name in plain.namelist()}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in entries.items():
            packed.writestr(name, content)


def versions() -> dict[str, str]:
    """What a model was made with."""
    keras = load_keras()
    backend = keras.backend.backend()
    return {
        "python": platform.python_version(),
        backend: sys.modules[backend].__version__,
        "keras": keras.__version__,
    }


def plot_history(path: str | os.PathLike[str], history: dict[str, list[float]]) -> None:
    """Draw the curves of train() into a picture; the suffix decides its format."""
    figure = history_figure(history)
    with replacing(path) as part:
        figure.savefig(part, dpi=120)


def history_figure(history: dict[str, list[float]]) -> "Figure":
    """The curves of train(), loss beside accuracy, over as many epochs as ran."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = range(1, len(history["loss"]) + 1)
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        # Markers too: a single epoch is a point, of which a line shows nothing.
        axes.plot(epochs, history[name], marker=".", label=f"train_{name}")
        axes.plot(epochs, history[f"val_{name}"], marker=".", label=f"val_{name}")
        axes.set(xlabel="Epoch", title=f"Training and validation {name}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    return figure
