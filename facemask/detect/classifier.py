"""Classifying face crops, by mask, with a trained model of Keras or LiteRT."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from facemask.class_names import INCORRECT, same_class, without_incorrect
from facemask.detect import foreign, litert, metadata
from facemask.detect.litert import LiteRTModel
from facemask.detect.metadata import ModelMetadata
from facemask.errors import FacemaskError
from facemask.files import reason
from facemask.images import model_input
from facemask.keras_backend import HDF5_SIGNATURE, ZIP_SIGNATURE, load_keras

# The faces of an image that are classified at once. More go in several batches, to bound memory.
MAX_BATCH = 64


class MaskClassifier:
    """A trained model with its metadata; one call classifies all faces of an image.

    Threads may share it. One copy a thread is faster: see pool.Networks.
    """

    def __init__(self, forward: Callable[[np.ndarray], np.ndarray], model_metadata: ModelMetadata):
        """forward: from (N, height, width, 3) float32 to probabilities (N, C) float32."""
        self.metadata = model_metadata
        self._forward = forward

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.metadata.class_names

    @property
    def margin(self) -> float:
        """How far face boxes are grown before cropping; see FaceBox.expand."""
        return self.metadata.margin

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        threads: int | None = None,
        announce: Callable[[str], None] = lambda _: None,
    ) -> "MaskClassifier":
        """Load a `.keras` or `.tflite` file, or an HDF5 file (`.h5`, the classic `.model`).

        The content decides, not the suffix; no code in the file is run or unpickled. A `.tflite`
        file needs neither Keras nor TensorFlow. threads: for LiteRT, see LiteRTModel.load. The
        model has run once when this returns, so that the first faces take no longer than others.
        announce: takes a line for each way in which a model without metadata is not as the classic
        one; see foreign.adapt.
        Raises FacemaskError for a file that is missing or not such a model, whose input is not
        images, or whose classes are unknown; and for a `.tflite` file without LiteRT.
        """
        path = Path(path)
        kind = _file_kind(path)
        stored = metadata.read(path)
        if kind == ".tflite":
            model = forward = LiteRTModel.load(path, threads)
            checked = _check_shapes(path, model, stored)
            model.prepare(checked.input_size)
        else:
            model, checked = load_keras_model(path)
            forward = _keras_forward(model, (*checked.input_size, model.input_shape[3]))
        if stored is None:
            grey = model.input_shape[3] == 1
            forward = foreign.adapt(forward, grey, checked.input_size, _may_scale(model), announce)
        return cls(forward, checked)

    def merge_incorrect(self, into: str) -> "MaskClassifier":
        """The same classifier without its class of incorrectly worn masks.

        That class's probability is added to the class that means `into`.
        Raises UsageError as class_names.without_incorrect does.
        """
        names = without_incorrect(self.class_names, into)
        merged = {same_class(INCORRECT, self.class_names): same_class(into, names)}
        # (C, C - 1): which of the old classes each new one is made of.
        sums = np.array(
            [[merged.get(old, old) == new for new in names] for old in self.class_names], np.float32
        )
        return MaskClassifier(
            lambda batch: self._forward(batch) @ sums, replace(self.metadata, class_names=names)
        )

    def in_terms_of(self, class_names: Iterable[str]) -> "MaskClassifier":
        """The same classifier, whose classes have the names of class_names that mean the same.

        Other classes keep their names, and so do all where two of them would get the same name.
        """
        known = tuple(class_names)
        names = tuple(same_class(name, known) or name for name in self.class_names)
        if names == self.class_names or len(set(names)) < len(names):
            return self
        return MaskClassifier(self._forward, replace(self.metadata, class_names=names))

    def predict(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Class probabilities of face crops.

        crops: N images (H, W, 3) uint8, BGR, of any sizes. Returns: (N, C) float32, each row
        summing to 1, columns as class_names; (0, C) for no crops.
        """
        size = self.metadata.input_size
        batches = [
            self._forward(np.stack([model_input(crop, size) for crop in crops[i : i + MAX_BATCH]]))
            for i in range(0, len(crops), MAX_BATCH)
        ]
        return np.concatenate([np.zeros((0, len(self.class_names)), np.float32), *batches])


def check_model_file(path: str | os.PathLike[str]) -> None:
    """Raise FacemaskError for a file that is not a model, before TensorFlow's slow start."""
    _file_kind(Path(path))
    metadata.read(path)


def prefer_tflite(path: str | os.PathLike[str], announce: Callable[[str], None]) -> Path:
    """The model file to load for a path: its TFLite export, announced, or the path itself.

    The export of `NAME.keras` is the `NAME.tflite` beside it, if its metadata is the same and names
    these very weights. An export of other weights, such as those before the last training, is
    ignored, and so is any export where LiteRT can't be imported.
    """
    path = Path(path)
    export = path.with_suffix(".tflite")
    if export == path or not litert.is_tflite(export):
        return path
    try:
        stored = metadata.read(export)
        if stored is None or stored.twin_of is None:
            return path
        if stored.twin_of != metadata.weights_digest(path):
            return path
        if replace(stored, twin_of=None) != (metadata.read(path) or ModelMetadata()):
            return path
        litert.load_interpreter()
    except (FacemaskError, ImportError):
        return path
    announce(f"using {export.name}, the TFLite export of {path.name}")
    return export


def _file_kind(path: Path) -> str:
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
        raise FacemaskError(f"{path}: can't be read: {reason(error)}") from error
    if start.startswith(ZIP_SIGNATURE):
        return ".keras"
    if start == HDF5_SIGNATURE:
        return ".h5"
    if start[4:] == litert.IDENTIFIER:
        return ".tflite"
    raise FacemaskError(f"{path}: expected a .keras, .tflite or HDF5 model, found none of them")


def load_keras_model(path: Path) -> tuple[Any, ModelMetadata]:
    """The Keras model in a `.keras` or HDF5 file, and its metadata or, without any, the classic.

    Raises FacemaskError as MaskClassifier.load does, and for a `.tflite` file.
    """
    kind = _file_kind(path)
    if kind == ".tflite":
        raise FacemaskError(f"{path}: expected a .keras or HDF5 model, found a .tflite one")
    stored = metadata.read(path)
    model = _keras_model(path, kind)
    return model, _check_shapes(path, model, stored)


def _keras_model(path: Path, kind: str) -> Any:
    keras = load_keras()

    class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
        """Keras 2 wrote `groups: 1` for this layer, which Keras 3 does not know."""

        def __init__(self, *args: Any, groups: int = 1, **kwargs: Any):
            super().__init__(*args, **kwargs)

    with tempfile.TemporaryDirectory() as folder:
        try:
            # Keras goes by the suffix, so it gets a copy whose suffix is that of the content.
            named = path
            if path.suffix != kind:
                named = Path(shutil.copyfile(path, Path(folder, f"model{kind}")))
            return keras.models.load_model(
                named,
                compile=False,
                safe_mode=True,
                custom_objects={"DepthwiseConv2D": DepthwiseConv2D} if kind == ".h5" else None,
            )
        except Exception as error:  # Keras raises many kinds for a file that it can't load
            raise FacemaskError(
                f"{path}: Keras can't load it as a {kind} model: {_first_line(error)}"
            ) from error


def _keras_forward(model: Any, shape: tuple[int, int, int]) -> foreign.Forward:
    """The Keras model as a function that has been traced and run; shape: of one input image."""
    if load_keras().backend.backend() != "tensorflow":
        model.predict_on_batch(np.zeros((1, *shape), np.float32))
        return lambda batch: np.asarray(model.predict_on_batch(batch))
    import tensorflow as tf

    # Traced once for any number of faces. Model.predict builds a data pipeline at each call, and a
    # model called directly runs eagerly: both take several times as long for one face.
    traced = tf.function(
        lambda batch: model(batch, training=False),
        input_signature=[tf.TensorSpec((None, *shape), tf.float32)],
    )
    traced(np.zeros((1, *shape), np.float32))
    return lambda batch: traced(batch).numpy()


def _may_scale(model: Any) -> bool:
    if isinstance(model, LiteRTModel):
        return bool(np.isin(np.array(foreign.SCALES, np.float32), model.scalars()).any())
    layers = list(model._flatten_layers())  # those of models inside the model, too
    operations = [step for layer in layers for step in getattr(layer, "operations", [layer])]
    return any(type(step).__name__ in foreign.SCALING_LAYERS for step in operations)


def _check_shapes(path: Path, model: Any, stored: ModelMetadata | None) -> ModelMetadata:
    """The stored metadata, or the classic one; FacemaskError where the model's shapes differ."""
    input_shape = getattr(model, "input_shape", None)
    output_shape = getattr(model, "output_shape", None)
    channels = (3,) if stored else (1, 3)
    if (
        not isinstance(input_shape, tuple)
        or len(input_shape) != 4
        or input_shape[3] not in channels
    ):
        raise FacemaskError(
            f"{path}: expected an image model, (None, height, width, 3), found input {input_shape}"
        )
    if not isinstance(output_shape, tuple) or len(output_shape) != 2:
        raise FacemaskError(
            f"{path}: expected a model that gives classes, (None, 2), found output {output_shape}"
        )
    sides, classes = input_shape[1:3], output_shape[1]
    if stored is None:
        if classes not in (1, len(metadata.CLASSIC_CLASSES)):
            raise FacemaskError(
                f"{path}: a model of {classes} classes without their names; expected"
                f" {metadata.ENTRY} inside, or the two classes"
                f" {' and '.join(metadata.CLASSIC_CLASSES)}"
            )
        height, width = ModelMetadata.input_size
        return ModelMetadata(input_size=(sides[0] or height, sides[1] or width))
    if classes != len(stored.class_names):
        raise FacemaskError(
            f"{path}: its {metadata.ENTRY} names {len(stored.class_names)} classes, its output has"
            f" {classes}"
        )
    if any(side not in (None, size) for side, size in zip(sides, stored.input_size, strict=True)):
        raise FacemaskError(
            f"{path}: its {metadata.ENTRY} states input {stored.input_size}, the model takes"
            f" {sides}"
        )
    return stored


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
