"""Telling masked faces from bare ones with a trained model of Keras or LiteRT."""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from facemask.detect import litert, metadata
from facemask.detect.litert import LiteRTModel
from facemask.detect.metadata import ModelMetadata
from facemask.errors import FacemaskError
from facemask.images import model_input
from facemask.keras_backend import HDF5_SIGNATURE, ZIP_SIGNATURE, load_keras

# More faces than this in one frame are sent in several batches: memory stays bounded.
MAX_BATCH = 64


class MaskClassifier:
    """A trained model with its class names; one call for all faces of a frame."""

    def __init__(self, forward: Callable[[np.ndarray], np.ndarray], model_metadata: ModelMetadata):
        """forward: a model run, (N, height, width, 3) float32 to (N, C) float32 probabilities."""
        self.facts = model_metadata
        self._forward = forward

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.facts.class_names

    @property
    def margin(self) -> float:
        """How far the model wants a face box grown before cropping; see FaceBox.expand."""
        return self.facts.margin

    @classmethod
    def load(cls, path: str | os.PathLike[str], threads: int | None = None) -> "MaskClassifier":
        """Load a `.keras` or `.tflite` file, or an HDF5 file (`.h5`, the classic `.model`).

        The content decides, not the name; nothing in the file is run or unpickled. A `.tflite`
        file is loaded without Keras and TensorFlow, to run on so many threads, by default as
        LiteRTModel.load chooses. The model has run once when this returns, so
        that the first faces take no longer than the next.
        Raises FacemaskError for a file that is missing, is no such model, takes something else
        than colour images, or whose classes are unknown; and for a `.tflite` file where LiteRT
        is not installed.
        """
        path = Path(path)
        kind = _kind(path)
        model_metadata = metadata.read(path)
        if kind == ".tflite":
            model = LiteRTModel.load(path, threads)
            agreed = _agreed(path, model, model_metadata)
            model.prepare(agreed.input_size)
            return cls(model, agreed)
        model = _load_keras_model(path, kind)
        agreed = _agreed(path, model, model_metadata)
        return cls(_keras_forward(model, agreed.input_size), agreed)

    def predict(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Class probabilities of face crops.

        crops: N images (H, W, 3) uint8, BGR, of any sizes. Returns: (N, C) float32, each row
        summing to 1, columns as class_names; (0, C) for no crops.
        """
        batches = [
            self._forward(
                np.stack(
                    [model_input(crop, self.facts.input_size) for crop in crops[i:][:MAX_BATCH]]
                )
            )
            for i in range(0, len(crops), MAX_BATCH)
        ]
        return np.concatenate([np.zeros((0, len(self.class_names)), np.float32), *batches])


def check_model_file(path: str | os.PathLike[str]) -> None:
    """Raise FacemaskError, before TensorFlow's slow start, for a file that is no model."""
    _kind(Path(path))
    metadata.read(path)


def prefer_tflite(path: str | os.PathLike[str], announce: Callable[[str], None]) -> Path:
    """The model to load for a path: its LiteRT twin, announced, or the path itself.

    The twin of `NAME.keras` is the `NAME.tflite` beside it, if it was made from these very
    weights and says the same of them. One made from others, as from the model before the last
    training, is passed over, and so is any where LiteRT can't be imported.
    """
    path = Path(path)
    twin = path.with_suffix(".tflite")
    try:
        if twin == path or not twin.is_file() or _kind(twin) != ".tflite":
            return path
        said = metadata.read(twin)
        if said is None or said.twin_of is None or said.twin_of != metadata.weights_digest(path):
            return path
        if replace(said, twin_of=None) != (metadata.read(path) or ModelMetadata()):
            return path
        litert.load_interpreter()
    except (FacemaskError, ImportError):
        return path
    announce(f"using {twin.name}, the LiteRT twin of {path.name}")
    return twin


def _kind(path: Path) -> str:
    """`.keras`, `.h5` or `.tflite`, from the first bytes of the file."""
    if not path.exists():
        raise FacemaskError(
            f"{path}: no such model; make one with"
            " `python train_mask_detector.py --dataset dataset"
            f" --model {path.with_suffix('.keras')}`"
        )
    if path.is_dir():
        raise FacemaskError(f"{path}: expected a .keras, .tflite or HDF5 model, found a folder")
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise FacemaskError(f"{path}: can't be read: {error.strerror}") from error
    if start.startswith(ZIP_SIGNATURE):
        return ".keras"
    if start == HDF5_SIGNATURE:
        return ".h5"
    if start[4:] == litert.IDENTIFIER:
        return ".tflite"
    raise FacemaskError(f"{path}: expected a .keras, .tflite or HDF5 model, found none of them")


def _load_keras_model(path: Path, kind: str) -> Any:
    keras = load_keras()

    class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
        """Keras 2 wrote `groups: 1` for this layer, which Keras 3 does not know."""

        def __init__(self, *args: Any, groups: int = 1, **kwargs: Any):
            super().__init__(*args, **kwargs)

    with tempfile.TemporaryDirectory() as folder:
        try:
            # Keras goes by the suffix, so it is shown the one that the content has.
            named = path
            if path.suffix != kind:
                named = Path(shutil.copyfile(path, Path(folder, f"model{kind}")))
            return keras.models.load_model(
                named,
                compile=False,
                safe_mode=True,
                custom_objects={"DepthwiseConv2D": DepthwiseConv2D} if kind == ".h5" else None,
            )
        except Exception as error:  # Keras raises many kinds for files that are not its own
            raise FacemaskError(
                f"{path}: Keras can't load it as a {kind} model: {_first_line(error)}"
            ) from error


def _keras_forward(model: Any, size: tuple[int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """The Keras model as a function, traced and run once; size is (height, width), pixels."""
    import tensorflow as tf

    # Traced once for any number of faces. Model.predict sets up a data pipeline at each call, and
    # the model called by itself runs operation by operation: both take several times as long for
    # one face.
    traced = tf.function(
        lambda batch: model(batch, training=False),
        input_signature=[tf.TensorSpec((None, *size, 3), tf.float32)],
    )
    traced(np.zeros((1, *size, 3), np.float32))
    return lambda batch: traced(batch).numpy()


def _agreed(path: Path, model: Any, found: ModelMetadata | None) -> ModelMetadata:
    """The model's facts, checked against its shapes; the classic ones where it has none."""
    takes, gives = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if not isinstance(takes, tuple) or len(takes) != 4 or takes[3] != 3:
        raise FacemaskError(f"{path}: expected a model of colour images, found input {takes}")
    if not isinstance(gives, tuple) or len(gives) != 2:
        raise FacemaskError(f"{path}: expected a model that gives classes, found output {gives}")
    classes = gives[1]
    if found is None:
        if classes != len(metadata.CLASSIC_CLASSES):
            raise FacemaskError(
                f"{path}: a model of {classes} classes without their names; expected"
                f" {metadata.ENTRY} inside, or the two classes"
                f" {' and '.join(metadata.CLASSIC_CLASSES)}"
            )
        height, width = (
            side or classic
            for side, classic in zip(takes[1:3], ModelMetadata.input_size, strict=True)
        )
        return ModelMetadata(input_size=(height, width))
    if classes != len(found.class_names):
        raise FacemaskError(
            f"{path}: its {metadata.ENTRY} names {len(found.class_names)} classes, its output has"
            f" {classes}"
        )
    if any(
        side not in (None, stated)
        for side, stated in zip(takes[1:3], found.input_size, strict=True)
    ):
        raise FacemaskError(
            f"{path}: its {metadata.ENTRY} states input {found.input_size}, the model takes"
            f" {takes[1:3]}"
        )
    return found


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
