"""Features of a frozen backbone, computed once instead of in each epoch.

The backbone takes nearly all the time of a training step, and as long as only the head is trained
its output for an image never changes. So it runs once over the images and over a few augmented
views of each, for which the image is decoded once. LiteRT runs it where it is installed, several
times as fast as TensorFlow, and for the training images in int8: rounding disturbs a feature less
than augmentation does.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from facemask.data.dataset import Progress, no_progress
from facemask.detect.dynamic_int8 import quantize_weights
from facemask.detect.litert import LiteRTModel, load_interpreter
from facemask.errors import FacemaskError
from facemask.files import reason
from facemask.keras_backend import load_keras
from facemask.threads import with_own
from facemask.train.export import convert, give_back_memory

# A thread takes so many images at a time: without LiteRT, a network is slow with few inputs.
IMAGES_A_PART = 8

Network = Callable[[np.ndarray], np.ndarray]  # (N, height, width, 3) to (N, F), float32


@dataclass(frozen=True)
class Features:
    """Features in the order of the images; several views of an image are several rows."""

    values: "np.ndarray | Rows"  # (N, F) float16: half the size, and precise enough for training
    labels: np.ndarray  # (N,) int64
    weights: np.ndarray | None  # (N,) float32


class Rows:
    """Rows of float16 in a file, so that memory does not grow with the data set.

    Indexing with row numbers, (M,) int64, reads these rows: (M, F) float16.
    """

    def __init__(self, file: BinaryIO, numbers: np.ndarray, width: int):
        """numbers: (N,) int64, the number of each row in the file; width: F, the row's values."""
        self.file, self.numbers, self.width = file, numbers, width

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        values = np.empty((len(rows), self.width), np.float16)
        for row, number in zip(values, self.numbers[rows].tolist(), strict=True):
            self.file.seek(number * row.nbytes)
            self.file.readinto(row)  # pyright: ignore[reportAttributeAccessIssue]
        return values


def cached_head(
    model: Any,
    views: Sequence[Any],
    others: Sequence[Any],
    batch_size: int,
    seed: int,
    progress: Progress = no_progress,
) -> tuple[Any, ...]:
    """The head of a classifier with a frozen backbone, and the features to train it on.

    views: batches of the training images, as data.batches.batches makes them; each has all images,
    augmented differently. others: batches of the validation and the test images. progress: wraps
    the iterable of all batches, and gets their number as `total` (tqdm, for example).
    Returns the head, which shares its layers with the model, and keras.utils.PyDatasets of features
    for it: one of all views, and one for each of the others. Raises FacemaskError when an image can
    no longer be read, or the features can't be written.
    """
    frozen, head = split_model(model)
    groups = [views, *([stream] for stream in others)]
    of_views, *of_others = compute_features(frozen, groups, progress)
    give_back_memory()  # of the networks and photographs of all threads
    training = feature_batches(concatenate(of_views), batch_size, seed)
    return head, training, *(feature_batches(each, batch_size) for (each,) in of_others)


def split_model(model: Any) -> tuple[Any, Any]:
    """The frozen part of a classifier, up to global average pooling, and its head.

    Both are Keras models that share the layers of the classifier: (N, height, width, 3) to (N, F),
    and (N, F) to (N, C). So training the head trains the classifier.
    """
    keras = load_keras()
    types = [type(layer) for layer in model.layers]
    pooling = types.index(keras.layers.GlobalAveragePooling2D)
    features = model.layers[pooling].output
    outputs = inputs = keras.Input(features.shape[1:])
    for layer in model.layers[pooling + 1 :]:
        outputs = layer(outputs)
    return keras.Model(model.input, features), keras.Model(inputs, outputs)


def compute_features(
    frozen: Any, groups: Sequence[Sequence[Any]], progress: Progress = no_progress
) -> list[list[Features]]:
    """The features of each stream of each group, in the order of the stream.

    frozen: the first model of split_model. groups: streams as data.batches.batches makes them;
    those of a group have the same images at the same positions. progress: wraps the iterable of
    parts of the images, and gets their number as `total`. Raises FacemaskError when an image can no
    longer be read, or the features can't be written.
    """
    jobs = [
        (group, range(len(group[0].order))[start:][:IMAGES_A_PART])
        for group in groups
        for start in range(0, len(group[0].order), IMAGES_A_PART)
    ]
    # It has no name, so it is deleted with its last rows, whatever ends the process.
    file: BinaryIO = tempfile.TemporaryFile(prefix="facemask-", buffering=0)  # noqa: SIM115
    width = 0

    # Each thread reads images and runs them on its own network, so that no core waits.
    def compute(job: tuple[Sequence[Any], range], networks: tuple[Network, Network]) -> np.ndarray:
        group, positions = job
        inputs = [_inputs(group, position) for position in positions]
        # Several views are for training alone, which the rounding does not disturb.
        network = networks[0 if len(group) > 1 else 1]
        return network(np.concatenate(inputs)).astype(np.float16)

    with closing(with_own(compute, jobs, _network_loader(frozen))) as results:
        for values in progress(results, total=len(jobs)):
            width = values.shape[1]
            _write(file, values)
    features, start = [], 0
    for group in groups:
        features.append([])
        for number, stream in enumerate(group):
            rows = Rows(file, start + stream.order * len(group) + number, width)
            labels, *weights = stream.targets(stream.order)
            features[-1].append(Features(rows, labels, weights[0] if weights else None))
        start += len(group) * len(group[0].order)
    return features


def _inputs(group: Sequence[Any], position: int) -> np.ndarray:
    """The inputs at a position of each stream of a group, (streams, height, width, 3) float32."""
    photograph = group[0].photograph(position)  # freed before the next one is decoded
    return np.stack([stream.input(position, photograph) for stream in group])


def _write(file: BinaryIO, values: np.ndarray) -> None:
    content = memoryview(values.tobytes())
    try:
        while content:  # an unbuffered file may write less than it is given
            content = content[file.write(content) :]
    except OSError as error:
        folder = tempfile.gettempdir()
        raise FacemaskError(
            f"{folder}: features of the images can't be written: {reason(error)}; set TMPDIR to a"
            " folder with more room, or give --no-feature-cache"
        ) from error


def _network_loader(frozen: Any) -> Callable[[], tuple[Network, Network]]:
    """Makes two networks for a thread: one for augmented views, and the exact one.

    They are LiteRT's, which use only that thread, or else Keras's.
    """
    try:
        load_interpreter()
    except ImportError:
        return lambda: (partial(_of_keras, frozen), partial(_of_keras, frozen))
    path, size = Path("features.tflite"), frozen.input_shape[1:3]  # for errors: there is no file
    exact = convert(path, frozen, (None, *size, 3), "none")
    contents = quantize_weights(exact), exact

    def load() -> tuple[Network, Network]:
        fast, slow = (LiteRTModel.from_bytes(path, content, threads=1) for content in contents)
        fast.prepare(size)
        slow.prepare(size)
        return fast, slow

    return load


def _of_keras(frozen: Any, inputs: np.ndarray) -> np.ndarray:
    return np.asarray(frozen(inputs, training=False))


def concatenate(views: Sequence[Features]) -> Features:
    """The features of several views as one set; all are of the same call of compute_features."""
    weights = [view.weights for view in views if view.weights is not None]
    rows = [view.values for view in views if isinstance(view.values, Rows)]
    numbers = np.concatenate([each.numbers for each in rows])
    return Features(
        Rows(rows[0].file, numbers, rows[0].width),
        np.concatenate([view.labels for view in views]),
        np.concatenate(weights) if weights else None,
    )


def feature_batches(features: Features, batch_size: int, seed: int | None = None) -> Any:
    """A keras.utils.PyDataset of (features, labels) or (features, labels, weights).

    With a seed the rows are shuffled in each epoch; the same seed gives the same orders.
    """
    keras = load_keras()

    class FeatureBatches(keras.utils.PyDataset):
        def __init__(self) -> None:
            super().__init__()
            self.start_at(0)

        def __len__(self) -> int:
            return -(-len(self._order) // batch_size)

        def start_at(self, epoch: int) -> None:
            """Continue with the order of this epoch, counted from 0."""
            self._rng = np.random.default_rng(seed)
            self._order = np.arange(len(features.labels))
            for _ in range(epoch + 1):  # each order is the previous one, shuffled
                self.on_epoch_end()

        def on_epoch_end(self) -> None:
            if seed is not None:
                self._rng.shuffle(self._order)

        def __getitem__(self, number: int) -> tuple[np.ndarray, ...]:
            rows = self._order[number * batch_size :][:batch_size]
            batch = features.values[rows].astype(np.float32), features.labels[rows]
            return batch if features.weights is None else (*batch, features.weights[rows])

    return FeatureBatches()
