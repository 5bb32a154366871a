"""Writing a Keras model as a `.tflite` file, which LiteRT runs several times as fast.

TensorFlow has the converter. Where Keras runs on another backend a child process converts:

    python -m facemask.train.export MODEL.keras SHAPE_AND_FLOAT_LAYERS QUANTIZATION \\
        CALIBRATION.npy OUTPUT.tflite
"""

import contextlib
import ctypes
import io
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np

from facemask.detect import metadata
from facemask.detect.dynamic_int8 import quantize_weights
from facemask.detect.metadata import ModelMetadata
from facemask.errors import FacemaskError
from facemask.files import PROJECT, replacing
from facemask.keras_backend import held_back_stderr, load_keras

Quantization = Literal["none", "float16", "dynamic", "int8"]
QUANTIZATIONS: tuple[str, ...] = get_args(Quantization)
Shape = tuple[int | None, ...]


def export_tflite(
    path: str | os.PathLike[str],
    model: Any,
    model_metadata: ModelMetadata,
    quantize: Quantization = "none",
    calibration: Iterable[np.ndarray] | None = None,
) -> None:
    """Write a `.tflite` file with the metadata inside it: whole, or not at all.

    model: a Keras model, (N, height, width, 3) float32 to (N, C) probabilities; the file takes and
    returns the same, for any N. Its metadata need twin_of if it is to be used in place of its
    `.keras` file.
    quantize: "none" keeps float32; "float16" halves the file; "dynamic" computes most convolutions
    in int8, see dynamic_int8, in a third of the size; "int8" computes in whole numbers throughout,
    and needs calibration: a hundred or so real inputs, each (height, width, 3) float32 as
    images.model_input makes them, from which the numbers' ranges are taken. Its last step, the
    softmax, stays float32: int8 has no number between 99.6 and 100 %.
    Raises FacemaskError for int8 without calibration, for a model that can't be converted, and
    when the file can't be written.
    """
    path = Path(path)
    inputs = list(calibration) if calibration is not None and quantize == "int8" else []
    if quantize == "int8" and not inputs:
        raise FacemaskError(f"{path}: int8 needs images to take ranges from, found none")
    content = convert(path, model, (None, *model_metadata.input_size, 3), quantize, inputs)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
        metadata.write(temporary, model_metadata)


def convert(
    path: Path,
    model: Any,
    shape: Shape,
    quantize: Quantization = "float16",
    calibration: Sequence[np.ndarray] = (),
    float_layers: Sequence[str] = (),
) -> bytes:
    """A Keras model of one float32 input of a shape, as the bytes of a `.tflite` file.

    path: where they will go, for the error's message. quantize, calibration: as export_tflite
    takes them. float_layers: how the names of layers begin that stay float32 with int8.
    Raises FacemaskError for a model that can't be converted.
    """
    in_process = load_keras().backend.backend() == "tensorflow"
    with _silenced():
        try:
            how = _convert if in_process else _convert_in_child
            if quantize == "dynamic":
                return quantize_weights(how(model, shape, "none", calibration, float_layers))
            return how(model, shape, quantize, calibration, float_layers)
        except Exception as error:  # the converter raises many kinds, plain Exception among them
            message = " ".join(str(error).split())[:300] or type(error).__name__
            raise FacemaskError(f"{path}: the model can't be converted: {message}") from error
        finally:
            give_back_memory()


def give_back_memory() -> None:
    """Return freed memory to the system: glibc would keep about 190 MB after a conversion."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim:
            trim(0)


def _convert(
    model: Any,
    shape: Shape,
    quantize: Quantization,
    calibration: Sequence[np.ndarray],
    float_layers: Sequence[str] = (),
) -> bytes:
    import tensorflow as tf

    # from_keras_model would save the model to disk first, and print its list of variables.
    forward = tf.function(
        lambda batch: model(batch, training=False),
        input_signature=[tf.TensorSpec(shape, tf.float32)],
    ).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([forward])
    if quantize == "none":
        return converter.convert()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
        return converter.convert()
    converter.representative_dataset = lambda: ([image[None]] for image in calibration)

    def quantized(left_out: dict[str, list[str]]) -> bytes:
        # The debugger is TensorFlow's way to leave operations out.
        return tf.lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=converter.representative_dataset,
            debug_options=tf.lite.experimental.QuantizationDebugOptions(**left_out),
        ).get_nondebug_quantized_model()

    if not float_layers:
        return quantized({"denylisted_ops": ["SOFTMAX"]})
    # Operations are known by their tensors, whose names begin with the layer's and go on as the
    # converter likes: a first conversion tells them. Concatenating numbers of several ranges in
    # int8 would give all of them the coarsest.
    ops = ["SOFTMAX", "CONCATENATION", "RESHAPE"]
    interpreter = tf.lite.Interpreter(model_content=quantized({"denylisted_ops": ops}))
    nodes = [
        tensor["name"]
        for tensor in interpreter.get_tensor_details()
        if any(f"/{name}" in tensor["name"] for name in float_layers)
    ]
    return quantized({"denylisted_ops": ops, "denylisted_nodes": nodes})


def _convert_in_child(
    model: Any,
    shape: Shape,
    quantize: Quantization,
    calibration: Sequence[np.ndarray],
    float_layers: Sequence[str] = (),
) -> bytes:
    """The same, by a process whose Keras runs on TensorFlow."""
    keras = load_keras()
    with tempfile.TemporaryDirectory(prefix="facemask-") as folder:
        source, inputs, output = (
            Path(folder, name) for name in ("model.keras", "calibration.npy", "model.tflite")
        )
        keras.Model(model.inputs, model.outputs).save(source)  # without the optimizer
        if calibration:
            np.save(inputs, np.stack(calibration))
        shape_and_layers = json.dumps([shape, list(float_layers)])
        arguments = [source, shape_and_layers, quantize, inputs, output]
        child = subprocess.run(
            [sys.executable, "-m", "facemask.train.export", *arguments],
            env={
                **os.environ,
                "KERAS_BACKEND": "tensorflow",
                "CUDA_VISIBLE_DEVICES": "",  # this process may hold all memory of the GPU
                "PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]),
            },
            capture_output=True,
            text=True,
        )
        if child.returncode:
            lines = child.stderr.strip().splitlines() or [f"status {child.returncode}"]
            raise RuntimeError(lines[-1])
        return output.read_bytes()


def _main() -> None:
    """Convert in the child: arguments as _convert_in_child passes them."""
    source, shape_and_layers, _, inputs, output = sys.argv[1:]
    shape, float_layers = json.loads(shape_and_layers)
    quantize = cast(Quantization, sys.argv[3])
    with _silenced():
        model = load_keras().models.load_model(source, compile=False)
        calibration = np.load(inputs) if quantize == "int8" else ()
        content = _convert(model, tuple(shape), quantize, calibration, float_layers)
    Path(output).write_bytes(content)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep the converter from printing its steps and warnings."""
    with (
        held_back_stderr(),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


if __name__ == "__main__":
    _main()
