"""Which images a run reads, and where the annotated copy of each goes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from facemask.errors import FacemaskError
from facemask.files import find
from facemask.images import WRITABLE_SUFFIXES, is_document, list_files


@dataclass(frozen=True)
class ImageJob:
    """One image of a run."""

    name: str  # as the user gave it, or the given folder's name and the path in it
    path: Path  # where it was found
    inner: Path  # its path in the given folder; its file name where an image was given
    output: Path | None = None


def find_images(given: Sequence[str]) -> tuple[list[ImageJob], list[Path]]:
    """The images given, and those in given folders, in order.

    Also returns the files in folders that are evidently no images (text, tables) and passed over.
    A given file that does not exist is an image too: reading it says so.
    Raises FacemaskError for a folder without images.
    """
    jobs: list[ImageJob] = []
    passed_over: list[Path] = []
    for text in given:
        path = find(text)
        if not path.is_dir():
            jobs.append(ImageJob(text, path, Path(path.name)))
            continue
        files = list_files(path)
        images = [file for file in files if not is_document(file)]
        if not images:
            raise FacemaskError(
                f"{text}: expected an image or a folder of images, found none in it"
            )
        passed_over += [file for file in files if is_document(file)]
        for file in images:
            inner = file.relative_to(path)
            jobs.append(ImageJob(Path(text, inner).as_posix(), file, inner))
    return jobs, passed_over


def plan_outputs(jobs: Sequence[ImageJob], output: Path, single: bool) -> list[ImageJob]:
    """The jobs with the file that each annotated image goes to.

    single: the user gave one image, so that output is a file (or a folder, if it is one or has no
    suffix); else it is a folder, in which the given folders' sub-folders are kept.
    Raises FacemaskError for a suffix that can't be written, and rather than replace an input.
    """
    if single and output.suffix and not output.is_dir():
        if output.suffix.lower() not in WRITABLE_SUFFIXES:
            raise FacemaskError(
                f"{output}: expected a file name that ends in one of"
                f" {' '.join(WRITABLE_SUFFIXES)}, found {output.suffix}"
            )
        planned = [output]
    elif output.suffix.lower() in WRITABLE_SUFFIXES and not output.is_dir():
        raise FacemaskError(f"{output}: expected a folder for several images, found a file name")
    else:
        planned = _unique(output / _writable(job.inner) for job in jobs)
    inputs = {job.path.resolve() for job in jobs}
    for file in planned:
        if file.resolve() in inputs:
            raise FacemaskError(f"{file}: is one of the images to read; give another --output")
    return [replace(job, output=file) for job, file in zip(jobs, planned, strict=True)]


def plan_fallback(jobs: Sequence[ImageJob]) -> list[ImageJob]:
    """The jobs with `<name>_mask.png` in the working folder, for runs without a display."""
    files = _unique(Path(f"{job.path.stem}_mask.png") for job in jobs)
    return [replace(job, output=file) for job, file in zip(jobs, files, strict=True)]


def _writable(path: Path) -> Path:
    return path if path.suffix.lower() in WRITABLE_SUFFIXES else path.with_name(path.name + ".png")


def _unique(files: Iterable[Path]) -> list[Path]:
    """The files, renamed with a number where one would replace another of them."""
    taken: set[str] = set()
    chosen = []
    for file in files:
        free, number = file, 1
        while str(free).lower() in taken:  # some file systems do not tell A from a
            number += 1
            free = file.with_name(f"{file.stem}_{number}{file.suffix}")
        taken.add(str(free).lower())
        chosen.append(free)
    return chosen
