"""Decoded images on disk, for training that reads each of them many times."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from facemask.data.dataset import LabelledImages
from facemask.errors import FacemaskError
from facemask.files import reason, replacing
from facemask.images import read_image

# Reads image number so and so of a set: (H, W, 3) uint8, BGR, as images.read_image returns it.
Read = Callable[[LabelledImages, int], np.ndarray]


def read_uncached(images: LabelledImages, index: int) -> np.ndarray:
    return read_image(images.paths[index])


class ImageCache:
    """A folder of images as they come out of their decoders, each under its file's sha256.

    So it serves any number of data sets and runs, knows copies of a file, and never gives what
    another picture held before. It takes three bytes a pixel.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        """The folder is made where it is missing. Raises FacemaskError when it can't be."""
        self._folder = Path(folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FacemaskError(f"{folder}: can't be a cache: {reason(error)}") from error

    def read(self, images: LabelledImages, index: int) -> np.ndarray:
        """The image, from the cache or, the first time, from its file; see Read.

        Raises FacemaskError as read_image does, and when the cache can't be written.
        """
        if images.paths[index] != images.originals[index]:  # cut for this run alone, and small
            return read_uncached(images, index)
        digest = images.digests[index]
        cached = self._folder / digest[:2] / f"{digest}.npy"
        try:
            return np.load(cached, allow_pickle=False)
        except (OSError, ValueError, EOFError):  # not there yet, or damaged
            image = read_uncached(images, index)
        with replacing(cached) as part:
            part.parent.mkdir(exist_ok=True)
            np.save(part, image)
        return image
