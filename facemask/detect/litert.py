"""Running `.tflite` models on LiteRT, which starts in a blink and needs no TensorFlow."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from facemask.errors import FacemaskError
from facemask.files import reason
from facemask.keras_backend import held_back_stderr

IDENTIFIER = b"TFL3"  # the bytes 4 to 7 of every .tflite file
# Two threads took 0.53 of the time of one, with two processor cores. More than this is untried.
MAX_THREADS = 4


def load_interpreter() -> Any:
    """The class ai_edge_litert.interpreter.Interpreter.

    Raises ImportError where LiteRT is not installed, or not to be had for the system.
    """
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter


class LiteRTModel:
    """A `.tflite` model of one float32 input and one float32 output.

    input_shape and output_shape are as Keras states them: a tuple, with None for an open side.
    """

    def __init__(self, path: Path, interpreter: Any):
        self._path = path
        self._interpreter = interpreter
        takes, gives = interpreter.get_input_details(), interpreter.get_output_details()
        if (len(takes), len(gives)) != (1, 1):
            raise FacemaskError(
                f"{path}: expected a model of one input and one output, found {len(takes)} and"
                f" {len(gives)}"
            )
        for what, details in (("input", takes[0]), ("output", gives[0])):
            if details["dtype"] is not np.float32:
                raise FacemaskError(
                    f"{path}: expected a model of float32 {what}, found"
                    f" {np.dtype(details['dtype']).name}"
                )
        self._input, self._output = takes[0]["index"], gives[0]["index"]
        self.input_shape, self.output_shape = _shape(takes[0]), _shape(gives[0])

    @classmethod
    def load(cls, path: Path, threads: int | None = None) -> "LiteRTModel":
        """Load a `.tflite` file, to run on so many threads; by default, on one for each core.

        Raises FacemaskError for a file that LiteRT can't use.
        """
        try:
            load_interpreter()
        except ImportError as error:
            raise FacemaskError(
                f"{path}: a .tflite model needs LiteRT, which can't be imported ({error});"
                " `pip install ai-edge-litert`, or give the .keras model"
            ) from error
        try:
            content = path.read_bytes()
        except OSError as error:
            raise FacemaskError(f"{path}: can't be read: {reason(error)}") from error
        return cls.from_bytes(path, content, threads)

    @classmethod
    def from_bytes(cls, path: Path, content: bytes, threads: int | None = None) -> "LiteRTModel":
        """The model that a `.tflite` file's bytes hold; the path is for errors.

        Raises ImportError without LiteRT, FacemaskError for a model that it can't use.
        """
        interpreter_class = load_interpreter()
        try:
            interpreter = interpreter_class(
                model_content=content,
                num_threads=threads or min(MAX_THREADS, os.cpu_count() or 1),
            )
        except (ValueError, RuntimeError) as error:
            raise _refusal(path, error) from error
        return cls(path, interpreter)

    def prepare(self, size: tuple[int, int]) -> None:
        """Make ready for inputs of size = (height, width), pixels, one a call; and run once.

        Raises FacemaskError where the model can't run on them.
        """
        with held_back_stderr():  # LiteRT prints a line on XNNPACK
            try:
                self.resize(size)
                self(np.zeros((1, *size, 3), np.float32))
            except (ValueError, RuntimeError) as error:
                raise _refusal(self._path, error) from error

    def resize(self, size: tuple[int, int]) -> None:
        """Make a model that is ready, see prepare, take inputs of another size: some 4 ms."""
        self._interpreter.resize_tensor_input(self._input, (1, *size, 3))
        self._interpreter.allocate_tensors()

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """(N, height, width, 3) float32 to (N, C) float32.

        The images go in one after the other. LiteRT is no faster with several at a time (22 ms
        for eight of 224x224 pixels both ways), and for another number of them it would have to
        set up its memory anew (up to 18 ms), in a video at every face that comes or goes.
        """
        rows = []
        for image in batch:
            self._interpreter.set_tensor(self._input, image[None])
            self._interpreter.invoke()
            rows.append(self._interpreter.get_tensor(self._output)[0])
        return np.stack(rows)


def _shape(details: dict[str, Any]) -> tuple[int | None, ...]:
    return tuple(None if side < 0 else int(side) for side in details["shape_signature"])


def _refusal(path: Path, error: Exception) -> FacemaskError:
    what = " ".join(str(error).split())[:300]
    return FacemaskError(f"{path}: LiteRT can't load it as a .tflite model: {what}")
