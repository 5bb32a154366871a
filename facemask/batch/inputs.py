"""Which images a run reads, how many pixels at once, and where each annotated copy goes."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from facemask.detect.types import MaskDetection
from facemask.errors import FacemaskError
from facemask.files import find, real_path
from facemask.images import (
    WRITABLE_SUFFIXES,
    ImageError,
    image_size,
    is_document,
    list_files,
    read_image,
)
from facemask.timings import NO_TIMINGS, Timings

# Decoding takes 10 to 16 bytes of memory a pixel, so all threads together take 3 GB at most. Eight
# threads with photographs of 25 megapixels each, as many cameras take them, wait for nobody.
PIXELS_AT_ONCE = 200_000_000

# Pixels. Larger JPEGs are decoded at a half, a quarter or an eighth of their size, as long as the
# longer side keeps this: twice what the detector that takes most of them, YuNet, shrinks images to.
# The smallest faces that the built-in detector finds in 640 pixels then still have 40 and more.
LEAST_SIDE = 2560

SKIPPED_SHOWN = 10  # names in the line about skipped files


@dataclass(frozen=True)
class ImageJob:
    """One image of a run."""

    name: str  # as the user gave it, or the given folder's name and the path in it
    path: Path  # where the file is
    inner: Path  # its path in the given folder; its file name where an image was given
    output: Path | None = None  # where the annotated copy goes


def find_images(given: Sequence[str]) -> tuple[list[ImageJob], list[Path]]:
    """List the images given, and those in given folders, in order.

    A given file that does not exist is listed too: reading it reports the error.
    Returns the images, and the skipped files: those in folders whose suffix is that of another
    kind of file (text, tables).
    Raises FacemaskError for a folder without images.
    """
    jobs: list[ImageJob] = []
    skipped: list[Path] = []
    for text in given:
        path = find(text)
        if not path.is_dir():
            jobs.append(ImageJob(text, path, Path(path.name)))
            continue
        files = list_files(path)
        images = [file for file in files if not is_document(file)]
        if not images:
            raise no_images(text)
        skipped += [file for file in files if is_document(file)]
        for file in images:
            inner = file.relative_to(path)
            jobs.append(ImageJob(Path(text, inner).as_posix(), file, inner))
    return jobs, skipped


def no_images(name: str) -> FacemaskError:
    """The error for a folder, or a place in a store, without images."""
    return FacemaskError(f"{name}: expected an image or a folder of images, found none in it")


def describe_skipped(skipped: Sequence[str | Path]) -> str:
    """One line about files that are no images. Of many, it names the first."""
    names = ", ".join(map(str, skipped[:SKIPPED_SHOWN]))
    more = len(skipped) - SKIPPED_SHOWN
    return f"skipped files that are no images: {names}" + (f" and {more} more" if more > 0 else "")


def plan_outputs(
    jobs: Sequence[ImageJob], given: Sequence[str], output: Path | None, fallback: bool
) -> list[ImageJob]:
    """The jobs with the file that each annotated image goes to, if any.

    given: what the user named, as find_images takes it. output: where one image is given, a file
    (or a folder, if it is one or has no suffix); otherwise a folder, in which the sub-folders of
    given folders are kept. fallback: without an output, write `<name>_mask.png` into the working
    folder, as in runs without a display.
    Raises FacemaskError for a suffix that can't be written, and where an input would be replaced.
    """
    if output:
        one_image = len(given) == 1 and not find(given[0]).is_dir()
        outputs = _plan_files(jobs, output, one_image)
    elif fallback:
        outputs = _unique(Path(f"{job.path.stem}_mask.png") for job in jobs)
    else:
        return list(jobs)
    return [replace(job, output=file) for job, file in zip(jobs, outputs, strict=True)]


def _plan_files(jobs: Sequence[ImageJob], output: Path, one_image: bool) -> list[Path]:
    names_file = output.suffix and not output.is_dir()
    if one_image and names_file:
        if output.suffix.lower() not in WRITABLE_SUFFIXES:
            raise FacemaskError(
                f"{output}: expected a file name that ends in one of"
                f" {' '.join(WRITABLE_SUFFIXES)}, found {output.suffix}"
            )
        outputs = [output]
    elif names_file and output.suffix.lower() in WRITABLE_SUFFIXES:
        raise FacemaskError(f"{output}: expected a folder for several images, found a file name")
    elif output.exists() and not output.is_dir():
        raise FacemaskError(
            f"{output}: expected a folder, or for one image a file name that ends in one of"
            f" {' '.join(WRITABLE_SUFFIXES)}; found a file"
        )
    else:
        outputs = _unique(output / _writable(job.inner) for job in jobs)
    inputs = {real_path(job.path) for job in jobs}
    for file in outputs:
        if real_path(file) in inputs:
            raise FacemaskError(f"{file}: is one of the images to read; give another --output")
    return outputs


def _writable(path: Path) -> Path:
    return path if path.suffix.lower() in WRITABLE_SUFFIXES else path.with_name(path.name + ".png")


def _unique(files: Iterable[Path]) -> list[Path]:
    """The files, with a number added to each name that an earlier file has."""
    taken: set[str] = set()
    unique = []
    for file in files:
        free, number = file, 1
        while str(free).lower() in taken:  # some file systems ignore case
            number += 1
            free = file.with_name(f"{file.stem}_{number}{file.suffix}")
        taken.add(str(free).lower())
        unique.append(free)
    return unique


def least_side(tiles: int) -> int:
    """What the longer side of an image keeps where tiles x tiles parts of it are searched too."""
    return LEAST_SIDE * tiles


@dataclass(frozen=True)
class Picture:
    """An image that was read: what detection sees, and the size that its faces are given in."""

    image: np.ndarray  # (H, W, 3) uint8, BGR, perhaps reduced
    width: int  # of the image in the file, upright, pixels
    height: int
    read: Callable[[], np.ndarray]  # reads it in its own size

    def in_own_size(self, detections: Sequence[MaskDetection]) -> list[MaskDetection]:
        """Detections in `image`, with boxes in pixels of the image in the file."""
        if self._is_whole:
            return list(detections)
        scale = self.width / self.image.shape[1], self.height / self.image.shape[0]
        return [
            replace(detection, face=detection.face.scale(*scale).clip(self.width, self.height))
            for detection in detections
        ]

    def whole(self) -> np.ndarray:
        """The image in its own size, (height, width, 3), for drawing."""
        return self.image if self._is_whole else self.read()

    @property
    def _is_whole(self) -> bool:
        return self.image.shape[:2] == (self.height, self.width)


class ImageReader:
    """Reads images on several threads, of which all together hold a bounded number of pixels.

    An image holds its pixels from before it is decoded until the work on it is done.
    """

    def __init__(
        self,
        max_pixels: int,
        least_side: int | None = None,
        pixels_at_once: int = PIXELS_AT_ONCE,
    ):
        """max_pixels: of one image; larger ones are errors. least_side: as read_image takes it.

        pixels_at_once: of all images that are read or worked on. A larger image is read alone.
        """
        self._max_pixels = max_pixels
        self._least_side = least_side
        self._pixels_at_once = pixels_at_once
        self._held = 0  # pixels
        self._released = threading.Condition()

    @contextmanager
    def read(
        self, source: Path | bytes, name: str, timings: Timings = NO_TIMINGS
    ) -> Iterator[Picture]:
        """Read an image for the block. Waits while others hold too much.

        source and name: as read_image takes them. timings: what the stage "read" is added to.
        Raises ImageError as read_image does, and for more pixels than max_pixels.
        """
        width, height = image_size(source, name)
        pixels = width * height
        if pixels > self._max_pixels:
            raise ImageError(
                f"{name}: expected at most {self._max_pixels / 1e6:g} megapixels, as"
                f" --max-megapixels says, found {width}x{height} pixels"
            )
        with self._hold(pixels):
            with timings.stage("read"):
                image = read_image(source, name, self._max_pixels, self._least_side)
            if (image.shape[1] < image.shape[0]) != (width < height):  # turned upright
                width, height = height, width
            yield Picture(image, width, height, partial(read_image, source, name, self._max_pixels))

    @contextmanager
    def _hold(self, pixels: int) -> Iterator[None]:
        with self._released:
            self._released.wait_for(
                lambda: not self._held or self._held + pixels <= self._pixels_at_once
            )
            self._held += pixels
        try:
            yield
        finally:
            with self._released:
                self._held -= pixels
                self._released.notify_all()
