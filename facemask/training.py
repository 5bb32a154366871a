"""Building, training, judging, plotting and saving a mask classifier."""

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facemask import facts
from facemask.backend import HDF5_SIGNATURE, load_keras
from facemask.dataset import LabelledImages, Split, batches
from facemask.errors import FacemaskError
from facemask.facts import ModelFacts
from facemask.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The recipe of the classic tutorial: a frozen MobileNetV2 under a small fully connected head.
INPUT_SIZE = (224, 224)
HEAD_UNITS = 128
DROPOUT = 0.5


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
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def build_model(class_count: int, weights: str = "imagenet") -> Any:
    """MobileNetV2 without its top, and a new head; only the head learns.

    weights: of the base: "imagenet" (fetched by Keras, or found in KERAS_HOME), the path of an
    HDF5 file in the layout of Keras's own for MobileNetV2 without its top, or "none": random
    ones, which are of no use as they are, so that the base then learns with the head.
    Returns a Keras model from (N, 224, 224, 3) float32, RGB in [-1, 1], to (N, class_count)
    probabilities. Raises FacemaskError when the weights can't be had.
    """
    keras = load_keras()
    inputs = keras.Input((*INPUT_SIZE, 3))
    base = _load_base(weights)
    base.trainable = weights == "none"
    features = base(inputs)  # (N, 7, 7, 1280)
    hidden = keras.layers.GlobalAveragePooling2D()(features)  # (N, 1280)
    hidden = keras.layers.Dense(HEAD_UNITS, activation="relu")(hidden)
    hidden = keras.layers.Dropout(DROPOUT)(hidden)
    outputs = keras.layers.Dense(class_count, activation="softmax")(hidden)
    return keras.Model(inputs, outputs, name="mask_detector")


def _load_base(weights: str) -> Any:
    keras = load_keras()
    check_weights(weights)
    try:
        return keras.applications.MobileNetV2(
            input_shape=(*INPUT_SIZE, 3),
            include_top=False,
            weights=None if weights == "none" else weights,
        )
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
    images: LabelledImages,
    split: Split,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
) -> dict[str, list[float]]:
    """Train what is trainable of the model, with Keras's progress bars.

    Returns the curves, a value an epoch: loss, accuracy, val_loss, val_accuracy.
    Raises FacemaskError when an image can't be read any more.
    """
    keras = load_keras()
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    with _image_errors():
        history = model.fit(
            batches(images, split.train, INPUT_SIZE, batch_size, augment_seed=seed),
            validation_data=batches(images, split.validation, INPUT_SIZE, batch_size),
            epochs=epochs,
            shuffle=False,  # the stream shuffles
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


def predict_labels(
    model: Any, images: LabelledImages, indices: np.ndarray, batch_size: int
) -> np.ndarray:
    """The class the model gives each image, (N,) int64, with a progress bar."""
    with _image_errors():
        return model.predict(batches(images, indices, INPUT_SIZE, batch_size)).argmax(axis=1)


@contextmanager
def _image_errors() -> Iterator[None]:
    """An image that went missing while training: its line instead of TensorFlow's traceback."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        found = re.search(r"FacemaskError: (.*)", str(error))
        if not found:
            raise
        raise FacemaskError(f"{found[1]} (it could be read when training began)") from error


def save_model(path: str | os.PathLike[str], model: Any, model_facts: ModelFacts) -> None:
    """Write a `.keras` file with the facts inside it: whole, or not at all.

    The optimizer's state is left out; detection has no use for it.
    """
    keras = load_keras()
    with replacing(path) as part:
        keras.Model(model.inputs, model.outputs, name=model.name).save(part)
        facts.write(part, model_facts)


def versions() -> dict[str, str]:
    """What a model was made with."""
    import tensorflow as tf

    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": load_keras().__version__,
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
