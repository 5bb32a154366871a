"""Stream labelled images from disk, a batch at a time."""

import os
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from facemask.data.augmentation import FaceRegion, augment, augment_face, face_region
from facemask.data.dataset import LabelledImages
from facemask.errors import FacemaskError
from facemask.files import reason, replacing
from facemask.geometry import FaceBox
from facemask.images import crop_face, model_input, read_image, resize
from facemask.keras_backend import load_keras

# How often a training image is shown whole although its face is known: the images that people
# classify are not always cropped as the face detector crops.
WHOLE_IMAGE = 0.3

# Reads the image of an index: (H, W, 3) uint8, BGR, as images.read_image returns it.
Read = Callable[[LabelledImages, int], np.ndarray]


def image_reader(cache: Path | None) -> Read:
    """Reads images from their files or, given a folder, through an ImageCache in it."""
    return ImageCache(cache).read if cache else read_uncached


def read_uncached(images: LabelledImages, index: int) -> np.ndarray:
    return read_image(images.paths[index])


class ImageCache:
    """A folder of decoded images, each under the sha256 of its file.

    So it serves any number of data sets and runs, finds copies of a file, and is never out of
    date. It takes three bytes a pixel.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        """Makes the folder if it is missing. Raises FacemaskError when it can't be made."""
        self._folder = Path(folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FacemaskError(f"{folder}: can't be a cache: {reason(error)}") from error

    def read(self, images: LabelledImages, index: int) -> np.ndarray:
        """The image, from the cache or, the first time, from its file; see Read.

        Raises FacemaskError as read_image does, and when the cache can't be written.
        """
        if images.paths[index] != images.originals[index]:  # a small crop, made for this run only
            return read_uncached(images, index)
        digest = images.digests[index]
        cached = self._folder / digest[:2] / f"{digest}.npy"
        try:
            return np.load(cached, allow_pickle=False)
        except (OSError, ValueError, EOFError):  # missing or damaged
            image = read_uncached(images, index)
        with replacing(cached) as temporary:
            temporary.parent.mkdir(exist_ok=True)
            np.save(temporary, image)
        return image


class Photograph:
    """A decoded image of a set. What several inputs made of it have in common is made once."""

    def __init__(
        self,
        images: LabelledImages,
        index: int,
        size: tuple[int, int],
        margin: float,
        read: Read = read_uncached,
    ):
        """size, margin, read: as batches takes them. Raises FacemaskError when it can't be read."""
        try:
            self._image = read(images, index)
        except FacemaskError as error:
            raise FacemaskError(f"{error} (it could be read before)") from error
        self._box, self._margin, self._size = images.boxes[index], margin, size
        self._cut_from_scene = images.paths[index] != images.originals[index]

    def input(self, augmentation: str, rng: np.random.Generator) -> np.ndarray:
        """The model's input, (height, width, 3) float32, RGB; augmentation: as batches takes it."""
        if augmentation == "none":
            face = self._image
            if self._box is not None:
                face = crop_face(face, self._box, self._margin)
            return model_input(face, self._size)
        if augmentation == "classic":
            return model_input(augment(resize(self._image, self._size), rng), self._size)
        shows_whole = self._box is None or (not self._cut_from_scene and rng.random() < WHOLE_IMAGE)
        region = self._whole_region if shows_whole else self._face_region
        return model_input(augment_face(region, self._size, rng), self._size)

    @cached_property
    def _whole_region(self) -> FaceRegion:
        whole = FaceBox(0, 0, self._image.shape[1], self._image.shape[0], 1.0)
        return face_region(self._image, whole, 0.0, self._size)

    @cached_property
    def _face_region(self) -> FaceRegion:
        assert self._box is not None
        return face_region(self._image, self._box, self._margin, self._size)


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

    inputs: (B, height, width, 3) float32, RGB in [-1, 1] as images.model_input makes them, for size
    = (height, width), of faces in their boxes enlarged by margin; labels: (B,) int64; weights:
    (B,) float32.
    augmentation: "none" changes nothing and keeps the order of indices; "classic" changes whole
    images as the tutorial does, "face" uses augmentation.augment_face. Both shuffle in each epoch.
    The same seed gives the same batches, whatever the order of the threads. Memory holds a few
    batches, whatever the number of images.
    shard: (index, count) of a process among several that share each batch. It gets the rows index,
    index + count and so on, perhaps none of the last batch. The shards together are the batch.
    Raises FacemaskError when an image can no longer be read.
    """
    keras = load_keras()

    class Batches(keras.utils.PyDataset):
        """Counts epochs, since each has its own random numbers; order: positions in `indices`."""

        def __init__(self) -> None:
            super().__init__(workers=os.cpu_count() or 1, max_queue_size=4)
            self.start_at(0)

        def __len__(self) -> int:
            return -(-len(indices) // batch_size)

        def start_at(self, epoch: int) -> None:
            """Continue with the batches of this epoch, counted from 0."""
            self._epoch = epoch
            self.order = np.arange(len(indices))
            if augmentation != "none":
                np.random.default_rng([seed, epoch]).shuffle(self.order)

        def on_epoch_end(self) -> None:
            self.start_at(self._epoch + 1)

        def __getitem__(self, number: int) -> tuple[np.ndarray, ...]:
            positions = self.order[number * batch_size :][:batch_size][shard[0] :: shard[1]]
            inputs = np.empty((len(positions), *size, 3), np.float32)
            for row, position in enumerate(positions.tolist()):
                inputs[row] = self.input(position, self.photograph(position))
            return inputs, *self.targets(positions)

        def photograph(self, position: int) -> Photograph:
            """The image at a position, decoded, for the inputs of any streams of these indices."""
            return Photograph(images, int(indices[position]), size, margin, read)

        def input(self, position: int, photograph: Photograph) -> np.ndarray:
            """The input at a position, made of its photograph: (height, width, 3) float32."""
            rng = np.random.default_rng([seed, self._epoch, position])
            return photograph.input(augmentation, rng)

        def targets(self, positions: np.ndarray) -> tuple[np.ndarray, ...]:
            """The labels and, if there are any, the weights at these positions, (B,) int64."""
            labels = images.labels[indices[positions]]
            return (labels,) if weights is None else (labels, weights[positions].astype(np.float32))

    return Batches()


def inputs_of(dataset: Any) -> Iterator[np.ndarray]:
    """The inputs of batches(), one (height, width, 3) array after the other."""
    for number in range(len(dataset)):
        yield from dataset[number][0]
