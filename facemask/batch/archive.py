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
    ArchiveImage,
    Part,
    PartResult,
    Settings,
    label_part,
    network_digests,
)
from facemask.errors import FacemaskError
from facemask.files import PROJECT, find, real_path
from facemask.images import is_document

MANIFEST = "manifest.json"

# Maps parts to workers: gives each part with its result, in any order. The result is None for a
# part that ended one worker after the other.
Engine = Callable[
    [Callable[[Part], PartResult], Iterable[Part]], Iterable[tuple[Part, PartResult | None]]
]


def find_archive(given: Sequence[str]) -> tuple[list[ArchiveImage], list[str]]:
    """List the images given, and those in given folders and below given URLs, in order.

    Returns the images, and the skipped files, as inputs.find_images does.
    Raises FacemaskError for a folder, or a place in a store, without images.
    """
    images: list[ArchiveImage] = []
    skipped: list[str] = []
    for text in given:
        if not stores.is_url(text):
            jobs, others = find_images([text])
            images += [(job.name, str(job.path)) for job in jobs]
            skipped += map(str, others)
            continue
        urls = stores.find_files(text)
        documents = [url for url in urls if is_document(Path(url)) and url != text]
        if len(documents) == len(urls):
            raise no_images(text)
        images += [(url, url) for url in urls if url not in set(documents)]
        skipped += documents
    return images, skipped


class ArchiveRun:
    """A run over an archive: its parts, and the folder or URL where they are written."""

    def __init__(
        self, images: Sequence[ArchiveImage], settings: Settings, folder: str, part_size: int
    ):
        """folder: a path or URL. Raises FacemaskError for networks that can't be read."""
        self._location, self._folder = folder, stores.open_path(folder)
        settings = replace(
            settings, model=_project_path(settings.model), face=_project_path(settings.face)
        )
        weights = network_digests(settings)
        absolute = folder if stores.is_url(folder) else str(Path(folder).absolute())
        starts = range(0, len(images), part_size)
        digits = max(5, len(str(len(starts) - 1)))  # so that the names sort in the images' order
        self.parts = [
            Part(
                f"{absolute}/part-{number:0{digits}}.jsonl",
                tuple(images[start : start + part_size]),
                *(settings, weights, os.getcwd()),
            )
            for number, start in enumerate(starts)
        ]
        names = json.dumps([name for name, _ in images]).encode()
        # max_pixels is not in it: whoever raises the limit wants to continue the run.
        self._manifest = {
            "images": len(images),
            "images_sha256": hashlib.sha256(names).hexdigest(),
            "part_size": part_size,
            "parts": len(self.parts),
            "model_sha256": weights[0],
            "detector": settings.detector,
            "detector_sha256": weights[1],
            "tiles": settings.tiles,
            "confidence": settings.confidence,
            "uncertain": settings.uncertain,
            "merge_incorrect": settings.merge_incorrect,  # manifests of old runs have none
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
        names = stores.names(self._folder)
        existing = {name for name in names if name.startswith("part-") and name.endswith(".jsonl")}
        if MANIFEST in names:
            self._check_manifest(stores.read(self._folder / MANIFEST) or b"")
        elif existing:
            raise FacemaskError(
                f"{self._location}: holds {min(existing)} but no {MANIFEST}; expected an empty"
                " folder, or one that such a run wrote"
            )
        return len(existing.intersection(_file_name(part) for part in self.parts))

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
                f" {manifest.get(key)}, this run's {self._manifest[key]}; expected an empty folder,"
                " or the same images and settings to continue with"
            )

    def label(self, engine: Engine) -> Iterator[PartResult]:
        """Do the missing parts on the engine's workers; gives the result of each part.

        Parts that are there already, whole, stay as they are. A part that ends worker after worker
        is not written, and its problem says so.
        Raises FacemaskError for networks that can't be loaded, and stores that fail.
        """
        manifest = json.dumps(self._manifest, indent=2)
        stores.write(self._folder / MANIFEST, f"{manifest}\n".encode())
        for part, result in engine(label_part, self.parts):
            yield result or _abandoned(part)
        for name in stores.names(self._folder):  # what killed workers left behind
            if name.startswith(".part-"):
                stores.remove(self._folder / name)


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

    images: as find_archive takes them. parts, part_size: as ArchiveRun takes them.
    open_cluster: entered when the parts are known to be needed. log, log_error: called with each
    line for the user. progress: makes the progress bar, as tqdm.tqdm does.
    Returns whether all images could be read and labelled. Raises FacemaskError for inputs without
    images, as ArchiveRun does, and where the cluster is gone.
    """
    listed, skipped = find_archive(images)
    if skipped:
        log(describe_skipped(skipped))
    run = ArchiveRun(listed, settings, parts, part_size)
    existing = run.check_folder(images)
    if existing:
        log(f"{parts} has {existing} of {len(run.parts)} parts already")
    faces = unread = missing = 0
    with open_cluster as cluster:
        workers = cluster.workers()
        log(f"labelling {len(listed)} images in {len(run.parts)} parts, {workers} at a time...")
        with progress(total=len(listed), unit=" images", disable=None) as bar:
            for result in run.label(cluster.each):
                for problem in result.problems:
                    log_error(problem)
                faces += result.faces
                missing += result.missing
                unread += 0 if result.missing else len(result.problems)
                bar.update(result.images)
    log(f"{len(listed) - missing} images, {faces} faces, {unread} could not be read")
    log(f"wrote {parts}")
    return not (unread or missing)


def _abandoned(part: Part) -> PartResult:
    (first, _), (last, _) = part.images[0], part.images[-1]
    problem = (
        f"{_file_name(part)}: not written: several workers ended one after the other while"
        f" labelling it, perhaps for lack of memory; it is of {len(part.images)} images, from"
        f" {first} to {last}"
    )
    return PartResult(0, problems=(problem,), missing=len(part.images))


def _file_name(part: Part) -> str:
    return part.location.rpartition("/")[2]


def _project_path(path: str) -> str:
    """A path, relative to the project where it lies in it: other machines may have that elsewhere.

    Other paths become absolute.
    """
    absolute = real_path(path)
    inside = absolute.is_relative_to(PROJECT)
    return str(absolute.relative_to(PROJECT) if inside else absolute)


def _is_inside(location: str, given: str) -> bool:
    """Whether a folder is, or lies in, a given one. Both are paths or URLs."""
    inner, outer = stores.open_path(location), stores.open_path(given)
    if isinstance(inner, Path) and isinstance(outer, Path):
        outer = find(outer)
        return outer.is_dir() and real_path(inner).is_relative_to(real_path(outer))
    return f"{location.rstrip('/')}/".startswith(f"{given.rstrip('/')}/")
