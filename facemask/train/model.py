"""The mask classifier: a backbone under a small head."""

import os
import platform
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from facemask.data.dataset import LabelledImages, Progress
from facemask.detect import metadata
from facemask.detect.metadata import ModelMetadata
from facemask.files import replacing
from facemask.keras_backend import held_back_stderr, load_keras
from facemask.threads import until_failure
from facemask.train import backbones
from facemask.train.export import give_back_memory

# As in the tutorial: a frozen backbone under a small fully connected head.
HEAD_UNITS = 128
DROPOUT = 0.5


def set_seed(seed: int) -> None:
    """Make training repeatable on one machine, from the initial weights on: before build_model."""
    keras = load_keras()
    with held_back_stderr():  # it imports TensorFlow on any backend, which prints lines
        keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def load_meanwhile(
    load_images: Callable[[Progress], LabelledImages], progress: Progress, seed: int, *backbone: Any
) -> tuple[LabelledImages, Any]:
    """What load_images(progress) gives, and a backbone: TensorFlow is imported meanwhile.

    Importing it takes four seconds of one core, which the search for faces leaves. seed: as for
    set_seed; backbone: the arguments of backbones.load_backbone. Where that raises FacemaskError,
    load_images ends with it at the next step of its progress.
    """

    def load() -> Any:
        set_seed(seed)
        return backbones.load_backbone(*backbone)

    with ThreadPoolExecutor(1) as thread:
        network = thread.submit(load)
        images = load_images(until_failure(progress, network))
        loaded = network.result()
    give_back_memory()  # of the face detectors and the largest photographs
    set_seed(seed)  # Keras keeps a part of it for each thread
    return images, loaded


def build_model(
    class_count: int,
    weights: str = "imagenet",
    size: tuple[int, int] = backbones.SIZE,
    *,
    backbone: str = backbones.DEFAULT,
    network: Any = None,
) -> Any:
    """A backbone without its top, and a new head; only the head is trainable.

    backbone: a name of backbones.BACKBONES; weights and size: as backbones.load_backbone takes
    them; network: what it gave for them, if it was loaded before. A backbone with random weights is
    trainable too, since it is of no use otherwise.
    Returns a Keras model from (N, *size, 3) float32, RGB in [-1, 1] for every backbone, to
    (N, class_count) probabilities. Raises FacemaskError when the weights can't be loaded.
    """
    keras = load_keras()
    inputs = hidden = keras.Input((*size, 3))
    network = network or backbones.load_backbone(weights, size, backbone)
    network.trainable = weights == "none"
    if backbones.BACKBONES[backbone].rescales_input:
        hidden = backbones.input_rescaling(backbones.BACKBONES[backbone])(hidden)
    hidden = network(hidden)  # (N, 7, 7, 1280) for MobileNetV2 at 224x224 pixels
    hidden = keras.layers.GlobalAveragePooling2D()(hidden)  # (N, 1280)
    hidden = keras.layers.Dense(HEAD_UNITS, activation="relu")(hidden)
    hidden = keras.layers.Dropout(DROPOUT)(hidden)
    outputs = keras.layers.Dense(class_count, activation="softmax")(hidden)
    return keras.Model(inputs, outputs, name="mask_detector")


def unfreeze(model: Any) -> None:
    """Make the whole backbone trainable, except for batch normalization.

    A few hundred images are too few to estimate its statistics anew: layers that are not trainable
    keep those that they have.
    """
    keras = load_keras()
    network = backbones.backbone_of(model)
    network.trainable = True
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def save_model(path: str | os.PathLike[str], model: Any, model_metadata: ModelMetadata) -> None:
    """Write a `.keras` file with its metadata inside: whole, or not at all.

    The optimizer's state is left out, because detection has no use for it. Keras stores the file
    uncompressed; compressing it takes off a seventh. Raises FacemaskError when it can't be written.
    """
    keras = load_keras()
    with replacing(path) as temporary:
        keras.Model(model.inputs, model.outputs, name=model.name).save(temporary)
        _compress(temporary)
        metadata.write(temporary, model_metadata)


def _compress(archive: Path) -> None:
    with zipfile.ZipFile(archive) as stored:
        entries = {name: stored.read(name) for name in stored.namelist()}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as compressed:
        for name, content in entries.items():
            compressed.writestr(name, content)


def versions() -> dict[str, str]:
    """The versions of Python, Keras and its backend that a model was made with."""
    keras = load_keras()
    backend = keras.backend.backend()
    return {
        "python": platform.python_version(),
        backend: sys.modules[backend].__version__,
        "keras": keras.__version__,
    }
