"""What a frozen base makes of the images: computed once, instead of anew in each epoch.

The base takes nearly all the time of a step, and while only the head learns it gives the same
numbers again and again. So it is run once over the images as they are and over a few augmented
views of each, on LiteRT, where that can be imported, which is several times as fast as TensorFlow.
"""

import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from facemask.data.dataset import Progress, no_progress
from facemask.detect.litert import LiteRTModel, load_interpreter
from facemask.detect.metadata import ModelMetadata
from facemask.errors import FacemaskError
from facemask.files import reason
from facemask.keras_backend import load_keras
from facemask.train.export import export_tflite

Run = Callable[[np.ndarray], np.ndarray]  # (N, height, width, 3) to (N, F), float32


@dataclass(frozen=True)
class Features:
    """Features of images, in the order of a stream; several views of an image are several rows."""

    values: "np.ndarray | Rows"  # (N, F) float16: half the size, and finer than training's noise
    labels: np.ndarray  # (N,) int64
    weights: np.ndarray | None  # (N,) float32


class Rows:
    """Rows of float16 that lie in a file, so that a large data set takes no more memory.

    Indexed with an array (M,) of row numbers it reads these: (M, F) float16.
    """

    def __init__(self, file: BinaryIO, places: np.ndarray, width: int):
        """places: (N,) int64, each row's number in the file, where rows have `width` numbers."""
        self.file, self.places, self.width = file, places, width

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        values = np.empty((len(rows), self.width), np.float16)
        for value, place in zip(values, self.places[rows].tolist(), strict=True):
            self.file.seek(place * value.nbytes)
            self.file.readinto(value)  # pyright: ignore[reportAttributeAccessIssue]
        return values


def cached_head(
    model: Any,
    views: Sequence[Any],
    others: Sequence[Any],
    batch_size: int,
    seed: int,
    progress: Progress = no_progress,
) -> tuple[Any, ...]:
    """What to train in place of a classifier with a frozen base: its head, on features.

    views: streams of the training images, as stream.batches makes them, each of which shows all
    images in its own way; others: streams of the validation images and what else the classifier is
    to be shown. progress: wraps the iterable of their batches, whose number it gets as `total`
    (tqdm, say).
    Returns the head, which shares its layers with the model, and the keras.utils.PyDatasets of
    features for it: that of the training images, and one for each of the others. Raises
    FacemaskError when an image can't be read any more.
    """
    frozen, head = split_model(model)
    found = compute_features(frozen, [*views, *others], progress)
    training = feature_batches(stack(found[: len(views)]), batch_size, seed)
    return head, training, *(feature_batches(one, batch_size) for one in found[len(views) :])


def split_model(model: Any) -> tuple[Any, Any]:
    """A classifier's frozen part, up to global average pooling, and its head.

    Both are Keras models that share the layers of the classifier: (N, height, width, 3) to (N, F),
    and (N, F) to (N, C). Training the head trains the classifier.
    """
    keras = load_keras()
    kinds = [type(layer) for layer in model.layers]
    pooling = kinds.index(keras.layers.GlobalAveragePooling2D)
    features = model.layers[pooling].output
    outputs = inputs = keras.Input(features.shape[1:])
    for layer in model.layers[pooling + 1 :]:
        outputs = layer(outputs)
    return keras.Model(model.input, features), keras.Model(inputs, outputs)


def compute_features(
    frozen: Any, streams: Sequence[Any], progress: Progress = no_progress
) -> list[Features]:
    """The features of each stream of batches, as stream.batches makes them.

    frozen: the first of split_model's two. progress: wraps the iterable of batches, whose number
    it gets as `total` (tqdm, say).
    Raises FacemaskError when an image can't be read any more.
    """
    jobs = [(stream, number) for stream in streams for number in range(len(stream))]
    # Without a name: it is gone with the last of its rows, whatever ends the process.
    file: BinaryIO = tempfile.TemporaryFile(prefix="facemask-", buffering=0)  # noqa: SIM115
    done: list[list[np.ndarray]] = []
    width = 0
    with tempfile.TemporaryDirectory(prefix="facemask-") as folder:
        make_run = _runner(frozen, Path(folder))
        of_thread = threading.local()

        # A worker reads a batch and runs it, on a network of its own: no core waits for another.
        def work(job: tuple[Any, int]) -> tuple[np.ndarray, ...]:
            if not hasattr(of_thread, "run"):
                of_thread.run = make_run()
            stream, number = job
            inputs, *rest = stream[number]
            return of_thread.run(inputs).astype(np.float16), *rest

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for values, *rest in progress(pool.map(work, jobs), total=len(jobs)):
                width = values.shape[1]
                _write(file, values)
                done.append(rest)
    found = []
    batch, row = 0, 0
    for stream in streams:
        labels, *weights = (
            np.concatenate(parts) for parts in zip(*done[batch:][: len(stream)], strict=True)
        )
        rows = Rows(file, np.arange(row, row + len(labels)), width)
        found.append(Features(rows, labels, weights[0] if weights else None))
        batch, row = batch + len(stream), row + len(labels)
    return found


def _write(file: BinaryIO, values: np.ndarray) -> None:
    content = memoryview(values.tobytes())
    try:
        while content:  # a raw file takes what it can at a time
            content = content[file.write(content) :]
    except OSError as error:
        folder = tempfile.gettempdir()
        raise FacemaskError(
            f"{folder}: features of the images can't be written: {reason(error)}; set TMPDIR to a"
            " folder with more room, or give --no-feature-cache"
        ) from error


def _runner(frozen: Any, folder: Path) -> Callable[[], Run]:
    """What makes a worker its network: LiteRT's of one thread or, without LiteRT, Keras's."""
    try:
        load_interpreter()
    except ImportError:
        return lambda: lambda inputs: np.asarray(frozen(inputs, training=False))
    path, size = folder / "frozen.tflite", frozen.input_shape[1:3]
    export_tflite(path, frozen, ModelMetadata(input_size=size))

    def load() -> Run:
        model = LiteRTModel.load(path, threads=1)
        model.prepare(size)
        return model

    return load


def stack(parts: Sequence[Features]) -> Features:
    """Several views' features, of one compute_features, as one set."""
    weights = [part.weights for part in parts if part.weights is not None]
    rows = [part.values for part in parts if isinstance(part.values, Rows)]
    places = np.concatenate([one.places for one in rows])
    return Features(
        Rows(rows[0].file, places, rows[0].width),
        np.concatenate([part.labels for part in parts]),
        np.concatenate(weights) if weights else None,
    )


def feature_batches(features: Features, batch_size: int, seed: int | None = None) -> Any:
    """A keras.utils.PyDataset of features, labels and, where there are any, weights.

    With a seed they are shuffled, each epoch anew and the same way for the same seed.
    """
    keras = load_keras()

    class FeatureBatches(keras.utils.PyDataset):
        def __init__(self) -> None:
            super().__init__()
            self.start_at(0)

        def __len__(self) -> int:
            return -(-len(self._order) // batch_size)

        def start_at(self, epoch: int) -> None:
            """Show next what is shown in this epoch, counted from 0."""
            self._rng = np.random.default_rng(seed)
            self._order = np.arange(len(features.labels))
            for _ in range(epoch + 1):  # each order is the one before, shuffled
                self.on_epoch_end()

        def on_epoch_end(self) -> None:
            if seed is not None:
                self._rng.shuffle(self._order)

        def __getitem__(self, number: int) -> tuple[np.ndarray, ...]:
            rows = self._order[number * batch_size :][:batch_size]
            parts = features.values[rows].astype(np.float32), features.labels[rows]
            return parts if features.weights is None else (*parts, features.weights[rows])

    return FeatureBatches()
