"""Running `.tflite` models with LiteRT, which starts fast and needs no TensorFlow."""

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from facemask.errors import FacemaskError
from facemask.files import reason
from facemask.keras_backend import held_back_stderr

IDENTIFIER = b"TFL3"  # bytes 4 to 7 of every .tflite file
# On two processor cores, two threads took 0.53 of the time of one. More than this is untested.
MAX_THREADS = 4


def load_interpreter() -> Any:
    """The class ai_edge_litert.interpreter.Interpreter. Raises ImportError without LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter


def is_tflite(path: Path) -> bool:
    """Whether a file exists, can be read, and starts as a `.tflite` file does."""
    try:
        with path.open("rb") as file:
            return file.read(8)[4:] == IDENTIFIER
    except OSError:
        return False


class LiteRTModel:
    """A `.tflite` model with one float32 input and one float32 output.

    Threads may share it: a lock lets one of them run it at a time.
    input_shape and output_shape are as in Keras: tuples, with None for a side of any length.
    """

    def __init__(self, path: Path, interpreter: Any):
        self._path = path
        self._interpreter = interpreter
        self._lock = threading.Lock()  # LiteRT raises RuntimeError where two threads meet
        self._size: tuple[int, int] | None = None  # for which memory is allocated
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        if (len(inputs), len(outputs)) != (1, 1):
            raise FacemaskError(
                f"{path}: expected a model of one input and one output, found {len(inputs)} and"
                f" {len(outputs)}"
            )
        for kind, details in (("input", inputs[0]), ("output", outputs[0])):
            if details["dtype"] is not np.float32:
                raise FacemaskError(
                    f"{path}: expected a model of float32 {kind}, found"
                    f" {np.dtype(details['dtype']).name}"
                )
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]
        self.input_shape, self.output_shape = _shape(inputs[0]), _shape(outputs[0])

    @classmethod
    def load(cls, path: Path, threads: int | None = None) -> "LiteRTModel":
        """Load a `.tflite` file, to run on this many threads.

        threads: by default one for each processor core, MAX_THREADS at most.
        Raises FacemaskError without LiteRT, and for a file that it can't use.
        """
        try:
            return cls.from_bytes(path, path.read_bytes(), threads)
        except ImportError as error:
            raise FacemaskError(
                f"{path}: a .tflite model needs LiteRT, which can't be imported ({error});"
                " `pip install ai-edge-litert`, or give the .keras model"
            ) from error
        except OSError as error:
            raise FacemaskError(f"{path}: can't be read: {reason(error)}") from error

    @classmethod
    def from_bytes(cls, path: Path, content: bytes, threads: int | None = None) -> "LiteRTModel":
        """The model in the content of a `.tflite` file; the path is for error messages.

        Raises ImportError without LiteRT, FacemaskError for a model that it can't use.
        """
        interpreter_class = load_interpreter()
        threads = threads or min(MAX_THREADS, os.cpu_count() or 1)
        try:
            interpreter = interpreter_class(model_content=content, num_threads=threads)
        except (ValueError, RuntimeError) as error:
            raise _refusal(path, error) from error
        return cls(path, interpreter)

    def scalars(self) -> np.ndarray:
        """The constants of one number in the model, (N,) float32."""
        details = self._interpreter.get_tensor_details()
        values = []
        for tensor in details:
            if tensor["dtype"] is np.float32 and np.prod(tensor["shape"]) == 1:
                with suppress(ValueError):  # a result that is not computed yet is no constant
                    values.append(float(self._interpreter.get_tensor(tensor["index"]).item()))
        return np.array(values, np.float32)

    def prepare(self, size: tuple[int, int]) -> None:
        """Run once, for an image of size = (height, width) pixels, so that memory is allocated.

        Raises FacemaskError where the model can't run on this size.
        """
        with held_back_stderr():  # LiteRT prints a line on XNNPACK
            try:
                self(np.zeros((1, *size, self.input_shape[3] or 3), np.float32))
            except (ValueError, RuntimeError) as error:
                raise _refusal(self._path, error) from error

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """The outputs (N, ...) float32 for images (N, height, width, C) float32 or uint8, N >= 1.

        Another height or width than that of the last call takes 4 ms more.
        The images are run one after the other. LiteRT is no faster with several at a time (22 ms
        for eight of 224x224 pixels both ways), and another batch size would allocate its memory
        again (up to 18 ms), in a video for each face that appears or disappears.
        """
        rows = []
        with self._lock:
            if batch.shape[1:3] != self._size:
                self._interpreter.resize_tensor_input(self._input, (1, *batch.shape[1:]))
                self._interpreter.allocate_tensors()
                self._size = batch.shape[1:3]
            for image in batch:
                # Converted in place: set_tensor would copy what was converted before. LiteRT does
                # not run while somebody holds a view of its memory.
                np.copyto(self._interpreter.tensor(self._input)(), image)
                self._interpreter.invoke()
                rows.append(self._interpreter.get_tensor(self._output)[0])
        return np.stack(rows)


def _shape(details: dict[str, Any]) -> tuple[int | None, ...]:
    return tuple(None if side < 0 else int(side) for side in details["shape_signature"])


def _refusal(path: Path, error: Exception) -> FacemaskError:
    message = " ".join(str(error).split())[:300]
    return FacemaskError(f"{path}: LiteRT can't load it as a .tflite model: {message}")
