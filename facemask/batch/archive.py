"""Labelling an archive of images in parts, each a file that is written whole or not at all.

Any number of processes, on one machine or several, may write the parts of one run, and a part may
be done twice: it comes out the same. So nothing is lost and nothing doubled when a worker is
killed, and a run that was ended goes on with the parts that are missing.
"""

import hashlib
import json
import os
import platform
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from facemask.batch import stores
from facemask.batch.inputs import find_images
from facemask.detect.pipeline import detect_masks
from facemask.detect.pool import Networks
from facemask.detect.registry import weights_file
from facemask.errors import FacemaskError
from facemask.files import PROJECT, find, reason
from facemask.images import decode_image, is_document, read_image
from facemask.output.records import error_record, image_record
from facemask.threads import in_order, one_thread_per_image

MANIFEST = "manifest.json"
DOWNLOADS = 4  # images that a worker fetches from a store at once, while it labels others


@dataclass(frozen=True)
class Item:
    """An image of the archive."""

    name: str  # what the records call it: as the user gave it
    where: str  # a path, as seen from the run's working folder, or a URL


@dataclass(frozen=True)
class Settings:
    """How images are labelled. The paths may lie in the project, wherever a worker has that."""

    model: str
    face: str
    detector: str
    tiles: int = 1
    confidence: float = 0.5
    uncertain: float = 0.0


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
    weights: tuple[str, str]  # digests of the model's and the detector's files, where the run began
    folder: str  # the working folder there
    parts: str  # the folder, absolute, or URL that the parts go to


@dataclass(frozen=True)
class Done:
    """What became of a part."""

    images: int
    faces: int = 0
    problems: tuple[str, ...] = ()  # a line for each image that can't be read
    missing: int = 0  # images without records, as the part could not be done


# What maps tasks to workers: gives each task with its result, in any order, and None as the result
# of a task that ended one worker after the other.
Engine = Callable[[Callable[[Task], Done], Iterable[Task]], Iterable[tuple[Task, Done | None]]]


def find_items(given: Sequence[str]) -> tuple[list[Item], list[str]]:
    """The images given, and those in given folders and below given URLs, in order.

    Also returns the files that are evidently no images, as inputs.find_images does.
    Raises FacemaskError for a folder, or a place in a store, without images.
    """
    items: list[Item] = []
    passed_over: list[str] = []
    for text in given:
        if not stores.is_url(text):
            jobs, others = find_images([text])
            items += [Item(job.name, str(job.path)) for job in jobs]
            passed_over += map(str, others)
            continue
        files = stores.find_files(text)
        images = files if files == [text] else [url for url in files if not is_document(Path(url))]
        if not images:
            raise FacemaskError(
                f"{text}: expected an image or a folder of images, found none in it"
            )
        items += [Item(url, url) for url in images]
        passed_over += [url for url in files if url not in set(images)]
    return items, passed_over


class Run:
    """A run over an archive: its parts, and the folder or URL where they are written."""

    def __init__(self, items: Sequence[Item], settings: Settings, parts: str, part_size: int):
        """Raises FacemaskError for networks that can't be read."""
        count = -(-len(items) // part_size)
        digits = max(5, len(str(count - 1)))  # so that the names sort in the images' order
        self.parts = [
            Part(f"part-{number:0{digits}}.jsonl", tuple(items[number * part_size :][:part_size]))
            for number in range(count)
        ]
        self._store = stores.open_store(parts)
        self._where = parts
        self._settings = replace(
            settings, model=_carried(settings.model), face=_carried(settings.face)
        )
        model, detector = (_digest(path) for _, path in _weights_files(self._settings))
        self._weights = model, detector
        names = json.dumps([item.name for item in items]).encode()
        self._manifest = {
            "images": len(items),
            "images_sha256": hashlib.sha256(names).hexdigest(),
            "part_size": part_size,
            "parts": count,
            "model_sha256": model,
            "detector": settings.detector,
            "detector_sha256": detector,
            "tiles": settings.tiles,
            "confidence": settings.confidence,
            "uncertain": settings.uncertain,
        }

    def check_folder(self, given: Sequence[str]) -> int:
        """How many parts are there already.

        Raises FacemaskError where the folder holds the parts of a run over other images or with
        other settings, or lies in one of the folders given: the next run would take its parts for
        images.
        """
        for text in given:
            if _lies_in(self._where, text):
                raise FacemaskError(
                    f"{self._where}: lies in {text}, whose files are the images to read; expected"
                    " another place for the parts"
                )
        names = self._store.names()
        there = [name for name in names if name.startswith("part-") and name.endswith(".jsonl")]
        content = self._store.read(MANIFEST) if MANIFEST in names else None
        if content is None:
            if there:
                raise FacemaskError(
                    f"{self._where}: holds {min(there)} but no {MANIFEST}; expected an empty"
                    " folder, or one that such a run wrote"
                )
            return 0
        try:
            found = json.loads(content)
            differing = [key for key, value in self._manifest.items() if found.get(key) != value]
        except (ValueError, AttributeError) as error:
            raise FacemaskError(f"{self._where}/{MANIFEST}: is no manifest of parts") from error
        if differing:
            key = differing[0]
            raise FacemaskError(
                f"{self._where}: holds the parts of another run: its {key} is"
                f" {_short(found.get(key))}, this run's {_short(self._manifest[key])}; expected an"
                " empty folder, or the same images and settings to go on with"
            )
        return len({part.file for part in self.parts} & set(there))

    def label(self, engine: Engine) -> Iterator[Done]:
        """Do the parts, on the engine's workers, and give each when it is done.

        Parts that are there already, whole, stay as they are. One that ends worker after worker
        is not written, and its problem says so.
        Raises FacemaskError for networks that don't load, and stores that can't be used.
        """
        self._store.write(MANIFEST, json.dumps(self._manifest, indent=2).encode() + b"\n")
        common = self._settings, self._weights, os.getcwd(), _absolute(self._where)
        for task, done in engine(label_part, (Task(part, *common) for part in self.parts)):
            yield done or _given_up(task.part)
        for name in self._store.names():  # what killed workers left behind
            if name.startswith(".part-"):
                self._store.remove(name)


def label_part(task: Task) -> Done:
    """Label a part's images and write their records, if that has not been done already.

    Raises FacemaskError for networks that don't load or are not the run's, and stores that can't
    be used.
    """
    store, part = stores.open_store(task.parts), task.part
    records = _whole(store.read(part.file), part)
    if records is None:
        with one_thread_per_image():  # one thread here: the other cores have workers of their own
            records = list(_records(task))
        lines = "".join(f"{json.dumps(record)}\n" for record in records)
        store.write(part.file, lines.encode())
    return Done(
        images=len(records),
        faces=sum(len(record["faces"]) for record in records),
        problems=tuple(record["error"] for record in records if "error" in record),
    )


def _records(task: Task) -> Iterator[dict[str, Any]]:
    """The record of each image of a part, in order."""
    settings = task.settings
    far = any(stores.local_path(item.where) is None for item in task.part.items)
    downloads = DOWNLOADS if far else 1
    with closing(in_order(_fetch, task.part.items, downloads, 2 * downloads)) as fetched:
        for item, content in zip(task.part.items, fetched, strict=True):
            try:
                image = _decode(item, content, task.folder)
            except FacemaskError as problem:
                yield error_record(item.name, str(problem))
                continue
            with _networks(settings, task.weights).acquire() as pair:
                found = detect_masks(image, *pair, settings.confidence, settings.uncertain)
            yield image_record(item.name, image, found)


def _fetch(item: Item) -> bytes | None:
    """What a store holds; None for what is not there, and for files, which are read in place."""
    return stores.read_bytes(item.where) if stores.local_path(item.where) is None else None


def _decode(item: Item, content: bytes | None, folder: str) -> np.ndarray:
    path = stores.local_path(item.where)
    if path:
        return read_image(Path(folder, path), item.where)
    if content is None:
        raise FacemaskError(f"{item.where}: no such image, or none that may be read")
    return decode_image(content, item.where)


def _whole(content: bytes | None, part: Part) -> list[dict[str, Any]] | None:
    """The records of a part's file; None where it is missing, or not of just these images."""
    try:
        records = [json.loads(line) for line in (content or b"").splitlines()]
        names = [record["image"] for record in records]
    except (ValueError, TypeError, KeyError):
        return None
    return records if names == [item.name for item in part.items] else None


def _given_up(part: Part) -> Done:
    first, last = part.items[0].name, part.items[-1].name
    problem = (
        f"{part.file}: not written: worker after worker ended while at it, as by a lack of memory;"
        f" it is of {len(part.items)} images, from {first} to {last}"
    )
    return Done(0, problems=(problem,), missing=len(part.items))


_loading = threading.Lock()


def _networks(settings: Settings, weights: tuple[str, str]) -> Networks:
    """The networks of a run, loaded once in each process and then kept.

    Raises FacemaskError where they are not the very ones that the run was begun with.
    """
    with _loading:
        return _networks_in_here(settings, weights)


@lru_cache(maxsize=1)
def _networks_in_here(settings: Settings, weights: tuple[str, str]) -> Networks:
    for (what, path), expected in zip(_weights_files(settings), weights, strict=True):
        if _digest(path) != expected:
            raise FacemaskError(
                f"{path}: the {what} on {platform.node()} is not the one that the run was begun"
                " with; expected the same files on all machines"
            )
    # A worker has one core: TensorFlow, where a .keras model needs it, reads these as it starts.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    warnings.filterwarnings("ignore", module="PIL")  # remarks on odd but readable images
    face, model = PROJECT / settings.face, PROJECT / settings.model
    return Networks(
        face, model, lambda _: None, settings.detector, settings.tiles, bulk=True, threads=1
    )


def _weights_files(settings: Settings) -> list[tuple[str, Path]]:
    detector = weights_file(settings.detector, PROJECT / settings.face)
    return [("mask detector", PROJECT / settings.model), ("face detector", detector)]


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FacemaskError(
            f"{path}: can't be read on {platform.node()}: {reason(error)}"
        ) from error


def _carried(path: str) -> str:
    """A path as other machines find it: from the project, which may lie elsewhere there."""
    absolute = Path(path).resolve()
    inside = absolute.is_relative_to(PROJECT)
    return str(absolute.relative_to(PROJECT) if inside else absolute)


def _absolute(where: str) -> str:
    return where if stores.is_url(where) else str(Path(where).absolute())


def _lies_in(where: str, given: str) -> bool:
    """Whether a folder is, or lies in, a given one."""
    inner, outer = stores.local_path(where), stores.local_path(given)
    if inner and outer:
        outer = find(outer)
        return outer.is_dir() and inner.resolve().is_relative_to(outer.resolve())
    return not (inner or outer) and f"{where.rstrip('/')}/".startswith(f"{given.rstrip('/')}/")


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:8]}..." if len(text) == 64 else text
