"""Streaming labelled images from disk into training, a batch at a time."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from facemask.data.augmentation import augment, augment_face
from facemask.data.dataset import LabelledImages
from facemask.data.image_cache import Read, read_uncached
from facemask.errors import FacemaskError
from facemask.geometry import FaceBox
from facemask.images import crop_face, model_input, resize
from facemask.keras_backend import load_keras

# How often a training image whose face is known is shown whole instead: what people hand over is
# not always cut as the detector cuts.
WHOLE_IMAGE = 0.3


def batches(
    images: LabelledImages,
    indices: np.ndarray,
    size: tuple[int, int],
    batch_size: int,
    *,
    margin: float = 0.0,
    augmentation: str = "none",
    seed: int = 0,
    weights: np.ndarray | None = None,
    read: Read = read_uncached,
    shard: tuple[int, int] = (0, 1),
) -> Any:
    """A keras.utils.PyDataset of (inputs, labels) or, given weights, (inputs, labels, weights).

    inputs: (B, height, width, 3) float32 as images.model_input makes them, for size = (height,
    width), of faces in their boxes grown by margin; labels: (B,) int64; weights: (B,) float32.
    augmentation: "none" keeps images as they are and in the order of indices; "classic" changes
    whole images as the tutorial does, "face" as augmentation.augment_face; both shuffle, each
    epoch anew and the same way for the same seed, whatever the threads do. Memory holds a few
    batches, however many images.

    shard: (number, count) of a worker among several that share each batch: it gets the rows number,
    number + count and so on of it, perhaps none of the last batch; B counts its own rows. The
    shares of a batch are together what one worker would get.
    read: what reads an image, given images and its index. An image that can't be read any more
    raises FacemaskError.
    """
    keras = load_keras()
    load = {"none": _load, "classic": _load_classic, "face": _load_face}[augmentation]
    shuffles = augmentation != "none"
    first, step = shard

    class Batches(keras.utils.PyDataset):
        """Counts epochs, so that each draws its own random numbers."""

        def __init__(self) -> None:
            super().__init__(workers=os.cpu_count() or 1, max_queue_size=4)
            self._epoch = 0
            self._order = self._shuffled()

        def _shuffled(self) -> np.ndarray:
            order = np.arange(len(indices))
            if shuffles:
                np.random.default_rng([seed, self._epoch]).shuffle(order)
            return order

        def __len__(self) -> int:
            return -(-len(indices) // batch_size)

        def start_at(self, epoch: int) -> None:
            """Show next what is shown in this epoch, counted from 0."""
            self._epoch = epoch
            self._order = self._shuffled()

        def on_epoch_end(self) -> None:
            self.start_at(self._epoch + 1)

        def __getitem__(self, number: int) -> tuple[np.ndarray, ...]:
            places = self._order[number * batch_size :][:batch_size][first::step]
            inputs = np.empty((len(places), *size, 3), np.float32)
            for row, place in enumerate(places):
                rng = np.random.default_rng([seed, self._epoch, int(place)])
                try:
                    image = read(images, int(indices[place]))
                except FacemaskError as error:
                    raise FacemaskError(f"{error} (it could be read at first)") from error
                inputs[row] = load(images, int(indices[place]), image, size, margin, rng)
            labels = images.labels[indices[places]]
            if weights is None:
                return inputs, labels
            return inputs, labels, weights[places].astype(np.float32)

    return Batches()


def each_input(stream: Any) -> Iterator[np.ndarray]:
    """The inputs of a stream, one (height, width, 3) array after the other."""
    for number in range(len(stream)):
        yield from stream[number][0]


def _load(
    images: LabelledImages,
    index: int,
    image: np.ndarray,
    size: tuple[int, int],
    margin: float,
    rng: np.random.Generator,
) -> np.ndarray:
    box = images.boxes[index]
    return model_input(image if box is None else crop_face(image, box, margin), size)


def _load_classic(
    images: LabelledImages,
    index: int,
    image: np.ndarray,
    size: tuple[int, int],
    margin: float,
    rng: np.random.Generator,
) -> np.ndarray:
    return model_input(augment(resize(image, size), rng), size)


def _load_face(
    images: LabelledImages,
    index: int,
    image: np.ndarray,
    size: tuple[int, int],
    margin: float,
    rng: np.random.Generator,
) -> np.ndarray:
    box = images.boxes[index]
    cut_from_scene = images.paths[index] != images.originals[index]
    if box is None or (not cut_from_scene and rng.random() < WHOLE_IMAGE):
        box, margin = FaceBox(0, 0, image.shape[1], image.shape[0], 1.0), 0.0
    return model_input(augment_face(image, box, margin, size, rng), size)
