"""A run over an archive of images: its parts, and the folder or store where they are written.

Each part is a file that is written whole or not at all. Any number of processes, on one machine or
several, can write the parts of one run, and a part that is done twice comes out the same. So no
image is lost or doubled when a worker is killed, and a run that was ended continues with the
missing parts.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from facemask.batch import stores
from facemask.batch.dask_engine import Cluster
from facemask.batch.inputs import describe_skipped, find_images, no_images
from facemask.batch.labelling import (
    Item,
    Part,
    PartResult,
    Settings,
    Task,
    label_part,
    weights_digest,
    weights_files,
)
from facemask.errors import FacemaskError
from facemask.files import PROJECT, find
from facemask.images import is_document

MANIFEST = "manifest.json"

# Maps tasks to workers: gives each task with its result, in any order. The result is None for a
# task that ended one worker after the other.
Engine = Callable[
    [Callable[[Task], PartResult], Iterable[Task]], Iterable[tuple[Task, PartResult | None]]
]


def find_items(given: Sequence[str]) -> tuple[list[Item], list[str]]:
    """List the images given, and those in given folders and below given URLs, in order.

    Returns the images, and the skipped files, as inputs.find_images does.
    Raises FacemaskError for a folder, or a place in a store, without images.
    """
    items: list[Item] = []
    skipped: list[str] = []
    for text in given:
        if not stores.is_url(text):
            jobs, others = find_images([text])
            items += [Item(job.name, str(job.path)) for job in jobs]
            skipped += map(str, others)
            continue
        urls = stores.find_files(text)
        documents = [url for url in urls if is_document(Path(url)) and url != text]
        if len(documents) == len(urls):
            raise no_images(text)
        items += [Item(url, url) for url in urls if url not in set(documents)]
        skipped += documents
    return items, skipped


class ArchiveRun:
    """A run over an archive: its parts, and the folder or URL where they are written."""

    def __init__(self, items: Sequence[Item], settings: Settings, parts: str, part_size: int):
        """parts: the folder or URL. Raises FacemaskError for networks that can't be read."""
        count = -(-len(items) // part_size)
        digits = max(5, len(str(count - 1)))  # so that the names sort in the images' order
        self.parts = [
            Part(f"part-{number:0{digits}}.jsonl", tuple(items[number * part_size :][:part_size]))
            for number in range(count)
        ]
        self._store = stores.Store(parts)
        self._location = parts
        self._settings = replace(
            settings, model=_project_path(settings.model), face=_project_path(settings.face)
        )
        model, detector = (weights_digest(path) for _, path in weights_files(self._settings))
        self._weights = model, detector
        names = json.dumps([item.name for item in items]).encode()
        # max_pixels is not in it: whoever raises the limit wants to continue the run.
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
        """Check that the parts can go to their folder; returns how many are there already.

        Raises FacemaskError where the folder holds the parts of a run over other images or with
        other settings, or lies in one of the folders given: the next run would read the parts as
        images.
        """
        for text in given:
            if _is_inside(self._location, text):
                raise FacemaskError(
                    f"{self._location}: lies in {text}, whose files are the images to read;"
                    " expected another place for the parts"
                )
        names = self._store.names()
        existing = {name for name in names if name.startswith("part-") and name.endswith(".jsonl")}
        content = self._store.read(MANIFEST) if MANIFEST in names else None
        if content is not None:
            self._check_manifest(content)
        elif existing:
            raise FacemaskError(
                f"{self._location}: holds {min(existing)} but no {MANIFEST}; expected an empty"
                " folder, or one that such a run wrote"
            )
        return len(existing.intersection(part.file for part in self.parts))

    def _check_manifest(self, content: bytes) -> None:
        try:
            manifest = json.loads(content)
            differing = [k for k, value in self._manifest.items() if manifest.get(k) != value]
        except (ValueError, AttributeError) as error:
            raise FacemaskError(f"{self._location}/{MANIFEST}: is no manifest of parts") from error
        if differing:
            key = differing[0]
            raise FacemaskError(
                f"{self._location}: holds the parts of another run: its {key} is"
                f" {_short(manifest.get(key))}, this run's {_short(self._manifest[key])}; expected"
                " an empty folder, or the same images and settings to continue with"
            )

    def label(self, engine: Engine) -> Iterator[PartResult]:
        """Do the missing parts on the engine's workers; gives the result of each part.

        Parts that are there already, whole, stay as they are. A part that ends worker after worker
        is not written, and its problem says so.
        Raises FacemaskError for networks that can't be loaded, and stores that fail.
        """
        self._store.write(MANIFEST, json.dumps(self._manifest, indent=2).encode() + b"\n")
        parts = self._location
        parts = parts if stores.is_url(parts) else str(Path(parts).absolute())
        common = self._settings, self._weights, os.getcwd(), parts
        for task, result in engine(label_part, (Task(part, *common) for part in self.parts)):
            yield result or _abandoned(task.part)
        for name in self._store.names():  # what killed workers left behind
            if name.startswith(".part-"):
                self._store.remove(name)


def label_archive(
    images: Sequence[str],
    settings: Settings,
    parts: str,
    part_size: int,
    open_cluster: AbstractContextManager[Cluster],
    log: Callable[[str], None],
    log_error: Callable[[str], None],
    progress: Callable[..., Any],
) -> bool:
    """Label the images on the workers of a cluster, and write their records in parts.

    images: as find_items takes them. parts, part_size: as ArchiveRun takes them.
    open_cluster: entered when the parts are known to be needed. log, log_error: called with each
    line for the user. progress: makes the progress bar, as tqdm.tqdm does.
    Returns whether all images could be read and labelled. Raises FacemaskError for inputs without
    images, as ArchiveRun does, and where the cluster is gone.
    """
    items, skipped = find_items(images)
    if skipped:
        log(describe_skipped(skipped))
    run = ArchiveRun(items, settings, parts, part_size)
    existing = run.check_folder(images)
    if existing:
        log(f"{parts} has {existing} of {len(run.parts)} parts already")
    faces = unread = missing = 0
    with open_cluster as cluster:
        workers = cluster.workers()
        log(f"labelling {len(items)} images in {len(run.parts)} parts, {workers} at a time...")
        with progress(total=len(items), unit=" images", disable=None) as bar:
            for result in run.label(cluster.each):
                for problem in result.problems:
                    log_error(problem)
                faces += result.faces
                missing += result.missing
                unread += 0 if result.missing else len(result.problems)
                bar.update(result.images)
    log(f"{len(items) - missing} images, {faces} faces, {unread} could not be read")
    log(f"wrote {parts}")
    return not (unread or missing)


def _abandoned(part: Part) -> PartResult:
    first, last = part.items[0].name, part.items[-1].name
    problem = (
        f"{part.file}: not written: several workers ended one after the other while labelling it,"
        f" perhaps for lack of memory; it is of {len(part.items)} images, from {first} to {last}"
    )
    return PartResult(0, problems=(problem,), missing=len(part.items))


def _project_path(path: str) -> str:
    """A path, relative to the project where it lies in it: other machines may have that elsewhere.

    Other paths become absolute.
    """
    absolute = Path(path).resolve()
    inside = absolute.is_relative_to(PROJECT)
    return str(absolute.relative_to(PROJECT) if inside else absolute)


def _is_inside(location: str, given: str) -> bool:
    """Whether a folder is, or lies in, a given one. Both are paths or URLs."""
    inner, outer = stores.local_path(location), stores.local_path(given)
    if inner and outer:
        outer = find(outer)
        return outer.is_dir() and inner.resolve().is_relative_to(outer.resolve())
    return not (inner or outer) and f"{location.rstrip('/')}/".startswith(f"{given.rstrip('/')}/")


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:8]}..." if len(text) == 64 else text
