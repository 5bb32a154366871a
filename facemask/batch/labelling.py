"""Labelling many images: on the threads of this process, and a part of an archive in a worker's."""

import json
import os
import platform
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from facemask.batch import stores
from facemask.batch.inputs import ImageJob, ImageReader
from facemask.detect.pipeline import detect_masks
from facemask.detect.pool import Networks
from facemask.detect.registry import weights_file
from facemask.detect.types import MaskDetection
from facemask.errors import FacemaskError
from facemask.files import PROJECT, file_digest, reason
from facemask.images import ImageError
from facemask.output.labels import label_text
from facemask.output.records import error_record, image_record
from facemask.threads import in_order, one_thread_per_image

DOWNLOADS = 4  # images that a worker fetches from a store at once, while it labels others


@dataclass(frozen=True)
class LabelledImage:
    """The result for one image."""

    job: ImageJob
    record: dict[str, Any]
    detections: Sequence[MaskDetection] = ()
    image: np.ndarray | None = None  # (H, W, 3) uint8, BGR, annotated, if it is to be shown
    problem: str = ""  # why the image can't be read

    @property
    def labels(self) -> str:
        """The labels as they are drawn, `Mask: 99.87%, No Mask: 98.00%`, or `no face`."""
        return ", ".join(map(label_text, self.detections)) or "no face"


@contextmanager
def labelled_images(
    jobs: Sequence[ImageJob], label: Callable[[ImageJob], LabelledImage], one_by_one: bool
) -> Iterator[Iterator[LabelledImage]]:
    """A context manager that gives an iterator over label(job) of each job, in the jobs' order.

    Threads label the next images ahead, one image each, unless one_by_one is set: then an image
    is labelled when it is asked for, by all threads that OpenCV has.
    label: where it raises ImageError, the result says so; what else it raises is raised in its
    turn. No thread is left when the block ends.
    """

    def label_or_error(job: ImageJob) -> LabelledImage:
        try:
            return label(job)
        except ImageError as error:
            problem = str(error)
            return LabelledImage(job, error_record(job.name, problem), problem=problem)

    one_by_one = one_by_one or len(jobs) == 1
    with ExitStack() as stack:
        threads = stack.enter_context(one_thread_per_image(wanted=not one_by_one))
        yield stack.enter_context(closing(in_order(label_or_error, jobs, threads, threads + 2)))


@dataclass(frozen=True)
class Item:
    """An image of the archive."""

    name: str  # in the records: as the user gave it
    location: str  # a path, relative to the run's working folder or absolute, or a URL


@dataclass(frozen=True)
class Settings:
    """How images are labelled. Paths inside the project are relative to it, on every machine."""

    model: str
    face: str
    detector: str
    tiles: int
    confidence: float
    uncertain: float
    max_pixels: int


@dataclass(frozen=True)
class Part:
    """Some of the images, and the file that their records go to."""

    file: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Task:
    """A part, with all that a worker needs to do it."""

    part: Part
    settings: Settings
    weights: tuple[str, str]  # sha256 of the model's and the detector's files, where the run began
    working_folder: str  # there
    parts: str  # the absolute folder, or the URL, that the parts go to


@dataclass(frozen=True)
class PartResult:
    """How many images and faces a part has, and its problems."""

    images: int
    faces: int = 0
    problems: tuple[str, ...] = ()  # one line each
    missing: int = 0  # images without records, because the part could not be done


def label_part(task: Task) -> PartResult:
    """Label a part's images and write their records, if that has not been done already.

    Raises FacemaskError for networks that can't be loaded or are not the run's, and for stores
    that fail.
    """
    store, part = stores.Store(task.parts), task.part
    records = _complete_records(store.read(part.file), part)
    if records is None:
        with one_thread_per_image():  # one thread here: the other cores have workers of their own
            records = list(_label_images(task))
        lines = "".join(f"{json.dumps(record)}\n" for record in records)
        store.write(part.file, lines.encode())
    return PartResult(
        images=len(records),
        faces=sum(len(record["faces"]) for record in records),
        problems=tuple(record["error"] for record in records if "error" in record),
    )


def _label_images(task: Task) -> Iterator[dict[str, Any]]:
    """The record of each image of a part, in order."""
    items = task.part.items
    remote = any(stores.local_path(item.location) is None for item in items)
    downloads = DOWNLOADS if remote else 1
    with closing(in_order(_fetch, items, downloads, 2 * downloads)) as contents:
        for item, content in zip(items, contents, strict=True):
            try:
                yield _label_image(item, content, task)
            except ImageError as problem:
                yield error_record(item.name, str(problem))


def _fetch(item: Item) -> bytes | None:
    """The content of an image in a store; None if it is missing, and for local files."""
    remote = stores.local_path(item.location) is None
    return stores.read_bytes(item.location) if remote else None


def _label_image(item: Item, content: bytes | None, task: Task) -> dict[str, Any]:
    """The record of an image. Raises ImageError where it can't be read."""
    settings = task.settings
    path = stores.local_path(item.location)
    source = Path(task.working_folder, path) if path else content
    if source is None:
        raise ImageError(f"{item.location}: no such image, or none that may be read")
    with _loading:
        networks, reader = _networks_and_reader(settings, task.weights)
    with reader.read(source, item.location) as image, networks.acquire() as pair:
        detections = detect_masks(image, *pair, settings.confidence, settings.uncertain)
        return image_record(item.name, image, detections)


def _complete_records(content: bytes | None, part: Part) -> list[dict[str, Any]] | None:
    """The records of a part's file; None if it is missing, or does not have just these images."""
    try:
        records = [json.loads(line) for line in (content or b"").splitlines()]
        names = [record["image"] for record in records]
    except (ValueError, TypeError, KeyError):
        return None
    return records if names == [item.name for item in part.items] else None


_loading = threading.Lock()  # a worker of a cluster may have several threads


@lru_cache(maxsize=1)
def _networks_and_reader(
    settings: Settings, weights: tuple[str, str]
) -> tuple[Networks, ImageReader]:
    """The networks and the reader of a run: made once in each process, shared by its threads.

    Raises FacemaskError where the networks' files are not those that the run began with.
    """
    for (network, path), expected in zip(weights_files(settings), weights, strict=True):
        if weights_digest(path) != expected:
            raise FacemaskError(
                f"{path}: the {network} on {platform.node()} is not the one that the run began"
                " with; expected the same files on all machines"
            )
    # A worker has one core. TensorFlow, which a .keras model needs, reads these as it starts.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    warnings.filterwarnings("ignore", module="PIL")  # remarks on odd but readable images
    face, model = PROJECT / settings.face, PROJECT / settings.model
    networks = Networks(
        face, model, lambda _: None, settings.detector, settings.tiles, bulk=True, threads=1
    )
    return networks, ImageReader(settings.max_pixels)


def weights_files(settings: Settings) -> list[tuple[str, Path]]:
    """The files of both networks, with what errors call them."""
    detector = weights_file(settings.detector, PROJECT / settings.face)
    return [("mask detector", PROJECT / settings.model), ("face detector", detector)]


def weights_digest(path: Path) -> str:
    """sha256 of a file of weights. Raises FacemaskError naming the machine."""
    try:
        return file_digest(path)
    except OSError as error:
        raise FacemaskError(
            f"{path}: can't be read on {platform.node()}: {reason(error)}"
        ) from error
