"""Writing a Keras model as a `.tflite` file, which LiteRT runs several times as fast."""

import contextlib
import io
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from facemask.detect import metadata
from facemask.detect.metadata import ModelMetadata
from facemask.errors import FacemaskError
from facemask.files import replacing
from facemask.keras_backend import held_back_stderr, load_keras

Quantization = Literal["none", "float16", "int8"]
QUANTIZATIONS: tuple[str, ...] = get_args(Quantization)


def export_tflite(
    path: str | os.PathLike[str],
    model: Any,
    model_metadata: ModelMetadata,
    quantize: Quantization = "none",
    calibration: Iterable[np.ndarray] | None = None,
) -> None:
    """Write a `.tflite` file with the facts inside it: whole, or not at all.

    model: a Keras model, (N, height, width, 3) float32 to (N, C) probabilities; so is the file,
    for any N. Its facts need twin_of if it is to be taken in place of its `.keras` file.
    quantize: "none" keeps float32; "float16" halves the file; "int8" calculates in whole numbers,
    in a third of the size, and needs calibration: a hundred or so real inputs, each (height,
    width, 3) float32 as images.model_input makes them, from which the numbers' ranges are taken.
    Its last step, the softmax, stays float32: int8 has no number between 99.6 and 100 %.
    Raises FacemaskError for int8 without calibration, for a model that can't be converted, and
    when the file can't be written.
    """
    path = Path(path)
    inputs = [] if calibration is None or quantize != "int8" else [one[None] for one in calibration]
    if quantize == "int8" and not inputs:
        raise FacemaskError(f"{path}: int8 needs images to take ranges from, found none")
    load_keras()  # imports TensorFlow without its chatter
    with _silenced():
        try:
            content = _converted(model, model_metadata, quantize, inputs)
        except Exception as error:  # the converter raises many kinds, bare Exception among them
            what = " ".join(str(error).split())[:300] or type(error).__name__
            raise FacemaskError(f"{path}: the model can't be converted: {what}") from error
    with replacing(path) as part:
        part.write_bytes(content)
        metadata.write(part, model_metadata)


def convert(path: Path, forward: Any, shape: tuple[int | None, ...]) -> bytes:
    """A function of one float32 tensor of a shape as the bytes of a `.tflite` file, float16 inside.

    forward: written in keras.ops or TensorFlow. path: where it will go, for the error's line.
    Raises FacemaskError for what can't be converted.
    """
    load_keras()
    import tensorflow as tf

    with _silenced():
        try:
            concrete = tf.function(
                forward, input_signature=[tf.TensorSpec(shape, tf.float32)]
            ).get_concrete_function()
            converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
            return converter.convert()
        except Exception as error:  # the converter raises many kinds, bare Exception among them
            what = " ".join(str(error).split())[:300] or type(error).__name__
            raise FacemaskError(f"{path}: the model can't be converted: {what}") from error


def _converted(
    model: Any, model_metadata: ModelMetadata, quantize: Quantization, inputs: list[np.ndarray]
) -> bytes:
    import tensorflow as tf

    # from_keras_model would save the model to disk first, and print its list of variables.
    forward = tf.function(
        lambda batch: model(batch, training=False),
        input_signature=[tf.TensorSpec((None, *model_metadata.input_size, 3), tf.float32)],
    ).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([forward])
    if quantize == "none":
        return converter.convert()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
        return converter.convert()
    converter.representative_dataset = lambda: ([one] for one in inputs)
    # The debugger is TensorFlow's way to leave operations out.
    return tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=converter.representative_dataset,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=["SOFTMAX"]),
    ).get_nondebug_quantized_model()


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep the converter from printing its steps; warnings of its own future among them."""
    with (
        held_back_stderr(),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
