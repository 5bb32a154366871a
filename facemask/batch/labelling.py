"""Labelling many images: on the threads of this process, and a part of an archive in a worker's."""

import json
import os
import platform
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from facemask.batch import stores
from facemask.batch.inputs import ImageJob, ImageReader, Picture, least_side
from facemask.defects import describe
from facemask.detect.pipeline import detect_masks
from facemask.detect.pool import Networks
from facemask.detect.registry import weights_file
from facemask.detect.types import MaskDetection
from facemask.errors import FacemaskError
from facemask.files import PROJECT, file_digest, reason
from facemask.images import ImageError, write_image
from facemask.output.blurring import blur_faces
from facemask.output.drawing import draw_detections
from facemask.output.labels import label_text
from facemask.output.records import error_record, image_record
from facemask.threads import in_order, one_thread_per_image
from facemask.timings import Timings

DOWNLOADS = 4  # images that a worker fetches from a store at once, while it labels others

# An image of an archive: its name in the records, and a path (absolute, or relative to the run's
# working folder) or a URL.
ArchiveImage = tuple[str, str]


@dataclass(frozen=True)
class LabelledImage:
    """The result for one image."""

    job: ImageJob
    record: dict[str, Any]
    detections: Sequence[MaskDetection] = ()
    image: np.ndarray | None = None  # (H, W, 3) uint8, BGR, annotated, if it is to be shown
    problem: str = ""  # why the image can't be read or labelled, or its copy not be written

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
    label: where it raises ImageError, or what nobody expected, the result says so, and the other
    images are labelled. ImportError and any other FacemaskError, such as of networks that can't be
    loaded, are raised in their turn. No thread is left when the block ends.
    """

    def label_or_error(job: ImageJob) -> LabelledImage:
        try:
            return label(job)
        except Exception as error:
            problem = image_problem(job.name, error)
            return LabelledImage(job, error_record(job.name, problem), problem=problem)

    one_by_one = one_by_one or len(jobs) == 1
    with ExitStack() as stack:
        threads = stack.enter_context(one_thread_per_image(wanted=not one_by_one))
        yield stack.enter_context(closing(in_order(label_or_error, jobs, threads, threads + 2)))


def image_problem(name: str, error: Exception) -> str:
    """The line for an image that could not be read or labelled; raises what ends the run."""
    own = isinstance(error, FacemaskError) and not isinstance(error, ImageError)
    # A library that is not installed is missing for every image. A broken pipe is that of a
    # message: nobody reads them any more.
    if own or isinstance(error, ImportError | BrokenPipeError):
        raise error
    return str(error) if isinstance(error, ImageError) else f"{name}: {describe(error)}"


def annotate(
    result: LabelledImage, picture: Picture, show: bool, blur: bool, timings: Timings
) -> LabelledImage:
    """Draw the faces into the picture, and write it where the job says.

    blur: whether the faces themselves are blurred. Where drawing or writing fails, the result says
    so, and its faces stay.
    """
    job, image = result.job, None
    try:
        if job.output or show:
            with timings.stage("draw"):
                image = picture.whole()
                if blur:
                    blur_faces(image, [detection.face for detection in result.detections])
                draw_detections(image, result.detections, in_place=True)
        if job.output and image is not None:
            with timings.stage("write"):
                write_image(job.output, image)
    except FacemaskError as error:
        return replace(result, problem=str(error))
    except Exception as error:
        return replace(result, problem=f"{job.name}: {describe(error)}")
    return replace(result, image=image if show else None)


@dataclass(frozen=True)
class Settings:
    """How an archive is labelled. Paths in the project are relative to it, on every machine."""

    model: str
    face: str
    detector: str
    tiles: int
    confidence: float
    uncertain: float
    max_pixels: int
    merge_incorrect: str | None = None


@dataclass(frozen=True)
class Part:
    """Some images of an archive, with all that a worker needs to label them."""

    location: str  # of the file that the records go to: an absolute path or a URL
    images: tuple[ArchiveImage, ...]
    settings: Settings
    weights: tuple[str, str]  # network_digests, where the run began
    working_folder: str  # there


@dataclass(frozen=True)
class PartResult:
    """How many images and faces a part has, and its problems."""

    images: int
    faces: int = 0
    problems: tuple[str, ...] = ()  # one line each
    missing: int = 0  # images without records, because the part could not be done


def label_part(part: Part) -> PartResult:
    """Label a part's images and write their records, if that has not been done already.

    Raises FacemaskError for networks that can't be loaded or are not the run's, and for stores
    that fail.
    """
    file = stores.open_path(part.location)
    records = _complete_records(stores.read(file), part)
    if records is None:
        with one_thread_per_image():  # one thread here: the other cores have workers of their own
            records = list(_label_images(part))
        stores.write(file, "".join(f"{json.dumps(record)}\n" for record in records).encode())
    return PartResult(
        images=len(records),
        faces=sum(len(record["faces"]) for record in records),
        problems=tuple(record["error"] for record in records if "error" in record),
    )


def _complete_records(content: bytes | None, part: Part) -> list[dict[str, Any]] | None:
    """The records of a part's file; None if it is missing, or does not have just these images."""
    try:
        records = [json.loads(line) for line in (content or b"").splitlines()]
        complete = [record["image"] for record in records] == [name for name, _ in part.images]
    except (ValueError, TypeError, KeyError):
        return None
    return records if complete else None


def _label_images(part: Part) -> Iterator[dict[str, Any]]:
    """The record of each image of a part, in order."""

    def find(image: ArchiveImage) -> Path | bytes | None:
        """The path of an image; of one in a store its content, None if it is missing."""
        path = stores.open_path(image[1])
        return Path(part.working_folder, path) if isinstance(path, Path) else stores.read(path)

    settings = part.settings
    downloads = DOWNLOADS if any(stores.is_url(location) for _, location in part.images) else 1
    with closing(in_order(find, part.images, downloads, 2 * downloads)) as sources:
        for (name, location), source in zip(part.images, sources, strict=True):
            try:
                if source is None:
                    raise ImageError(f"{location}: no such image, or none that may be read")
                with _loading:
                    networks, reader = _load(settings, part.weights)
                with reader.read(source, location) as picture, networks.acquire() as pair:
                    thresholds = settings.confidence, settings.uncertain
                    detections = detect_masks(picture.image, *pair, *thresholds)
                    detections = picture.in_own_size(detections)
                    record = image_record(name, picture.width, picture.height, detections)
            except Exception as error:
                record = error_record(name, image_problem(name, error))
            yield record


_loading = threading.Lock()  # a worker of a cluster may have several threads


@lru_cache(maxsize=1)
def _load(settings: Settings, weights: tuple[str, str]) -> tuple[Networks, ImageReader]:
    """The networks and the reader of a run: made once in each process, shared by its threads.

    Raises FacemaskError where the networks' files are not those that the run began with.
    """
    paths = network_files(settings)
    for path, digest, expected in zip(paths, network_digests(settings), weights, strict=True):
        if digest != expected:
            raise FacemaskError(
                f"{path}: the file on {platform.node()} is not the one that the run began with;"
                " expected the same files on all machines"
            )
    # A worker has one core. TensorFlow, which a .keras model needs, reads these as it starts.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    warnings.filterwarnings("ignore", module="PIL")  # remarks on odd but readable images
    face, model = PROJECT / settings.face, PROJECT / settings.model
    networks = Networks(
        face, model, lambda _: None, settings.detector, settings.tiles, threads=1,
        merge_incorrect=settings.merge_incorrect,
    )  # fmt: skip
    return networks, ImageReader(settings.max_pixels, least_side(settings.tiles))


def network_files(settings: Settings) -> tuple[Path, Path]:
    """The files of the mask classifier and of the face detector."""
    return PROJECT / settings.model, weights_file(settings.detector, PROJECT / settings.face)


def network_digests(settings: Settings) -> tuple[str, str]:
    """The sha256 of the network_files. Raises FacemaskError naming the machine."""
    try:
        model, detector = [file_digest(path) for path in network_files(settings)]
    except OSError as error:
        raise FacemaskError(
            f"{error.filename}: can't be read on {platform.node()}: {reason(error)}"
        ) from error
    return model, detector
