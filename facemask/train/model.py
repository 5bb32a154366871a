"""The mask classifier: a backbone under a small head."""

import os
import platform
import sys
import zipfile
from pathlib import Path
from typing import Any

from facemask.detect import metadata
from facemask.detect.metadata import ModelMetadata
from facemask.files import replacing
from facemask.keras_backend import load_keras
from facemask.train import backbones

# The recipe of the classic tutorial: a frozen base under a small fully connected head.
HEAD_UNITS = 128
DROPOUT = 0.5


def set_seed(seed: int) -> None:
    """Let the same seed give the same figures on one machine. Call it before build_model."""
    keras = load_keras()
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def build_model(
    class_count: int,
    weights: str = "imagenet",
    size: tuple[int, int] = backbones.SIZE,
    *,
    base: str = backbones.DEFAULT,
) -> Any:
    """A base without its top, and a new head; only the head learns.

    base: a name of backbones.BACKBONES; weights and size: as backbones.load_backbone takes
    them. A base with random weights is of no use as it is, so that it then learns with the head.
    Returns a Keras model from (N, *size, 3) float32, RGB in [-1, 1] whatever the base takes, to
    (N, class_count) probabilities. Raises FacemaskError when the weights can't be had.
    """
    keras = load_keras()
    inputs = hidden = keras.Input((*size, 3))
    network = backbones.load_backbone(weights, size, base)
    network.trainable = weights == "none"
    if not backbones.BACKBONES[base].plain:
        hidden = backbones.colours(backbones.BACKBONES[base])(hidden)
    hidden = network(hidden)  # (N, 7, 7, 1280) of 224x224 pixels by MobileNetV2
    hidden = keras.layers.GlobalAveragePooling2D()(hidden)  # (N, 1280)
    hidden = keras.layers.Dense(HEAD_UNITS, activation="relu")(hidden)
    hidden = keras.layers.Dropout(DROPOUT)(hidden)
    outputs = keras.layers.Dense(class_count, activation="softmax")(hidden)
    return keras.Model(inputs, outputs, name="mask_detector")


def unfreeze(model: Any) -> None:
    """Let train() change the whole base, but for batch normalization.

    Layers of it that are not trainable keep their stored statistics: a few hundred images are too
    few to estimate new ones.
    """
    keras = load_keras()
    base = backbones.backbone_of(model)
    base.trainable = True
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def save_model(path: str | os.PathLike[str], model: Any, model_metadata: ModelMetadata) -> None:
    """Write a `.keras` file with the facts inside it: whole, or not at all.

    The optimizer's state is left out; detection has no use for it. What Keras stores plainly is
    compressed, which takes a seventh off.
    """
    keras = load_keras()
    with replacing(path) as part:
        keras.Model(model.inputs, model.outputs, name=model.name).save(part)
        _compress(part)
        metadata.write(part, model_metadata)


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
