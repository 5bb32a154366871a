"""Fetches a resource into a folder. Files appear there checked and complete, or not at all."""

import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from facemask import files
from facemask.downloads.resources import (
    DATASET,
    FACE_DETECTOR,
    YUNET,
    Photographs,
    Resource,
    Weights,
)
from facemask.errors import FacemaskError

if TYPE_CHECKING:
    from requests import RequestException

__all__ = [
    "FACE_DETECTOR", "YUNET",
    "ensure_dataset", "ensure_face_detector", "fetch_dataset", "fetch_face_detector",
]  # fmt: skip

# The scripts import this module on each start and seldom fetch. So pooch, requests, tqdm and
# zipfile are imported where they are used.

COMMAND = "facemask.downloads"
USER_AGENT = "facemask-downloads (a face mask detection project; python-requests)"
TIMEOUT = (10.0, 30.0)  # seconds to connect; seconds without a byte
CHUNK = 1 << 16  # bytes


def ensure_face_detector(
    folder: Path, announce: Callable[[str], None], *, resource: Weights = FACE_DETECTOR
) -> None:
    """Fetch the weights unless the folder has a file of their name, whatever its content.

    Raises FacemaskError with the address and what the user can do where that fails.
    """
    if not (folder / resource.name).exists():
        resource = resource.at()
        with _advice(resource, folder):
            fetch_face_detector(folder, announce, resource=resource)


def ensure_dataset(
    folder: Path, announce: Callable[[str], None], *, resource: Photographs = DATASET
) -> None:
    """Fetch the photographs unless the folder has a class folder, whatever its name.

    Raises FacemaskError with the address and what the user can do where that fails.
    """
    if not any(path.is_dir() for path in folder.glob("[!.]*")):
        resource = resource.at()
        with _advice(resource, folder):
            fetch_dataset(folder, announce, resource=resource)


def fetch_face_detector(
    folder: Path, announce: Callable[[str], None], *, resource: Weights = FACE_DETECTOR
) -> None:
    """Put the expected weights into the folder; a file with other bytes is replaced in the end.

    Raises FacemaskError where the weights can't be fetched or written, or have another sha256.
    """
    target = folder / resource.name
    sha256 = _sha256(target) if target.exists() else None
    if sha256 != resource.sha256:
        if sha256:
            announce(f"{_shown(target)}: expected sha256 {resource.sha256}, found {sha256}")
        _announce_fetch(resource, announce)
        with _workspace(folder) as workspace:
            path = workspace / resource.name
            _download(resource.url, path, resource.size)
            if (sha256 := _sha256(path)) != resource.sha256:
                raise FacemaskError(
                    f"{resource.url}: expected sha256 {resource.sha256}, found {sha256}"
                )
            path.replace(target)
    announce(f"{_shown(target)} is in place")


def fetch_dataset(
    folder: Path, announce: Callable[[str], None], *, resource: Photographs = DATASET
) -> None:
    """Add the listed photographs that the folder lacks; a new class folder appears complete.

    Raises FacemaskError, and leaves the folder as it was, where the archive can't be fetched or
    lacks a photograph, where one in the archive or in the folder has other bytes than listed, and
    where the folder can't be written.
    """
    from facemask.downloads.archive import extract

    sha256_by_name = resource.sha256_by_name()
    missing = _missing(folder, sha256_by_name)
    if missing:
        _announce_fetch(resource, announce)
        with _workspace(folder) as workspace:
            archive, unpacked = workspace / "archive.zip", workspace / "photographs"
            _download(resource.url, archive, resource.max_archive)
            extract(archive, unpacked, missing, resource.place, resource.url)
            _move(unpacked, folder, missing)
    announce(f"{_shown(folder)}: all {len(sha256_by_name):,} photographs are in place")


# Messages


def _announce_fetch(resource: Resource, announce: Callable[[str], None]) -> None:
    announce(f"fetching {resource.title}, {resource.size / 1e6:.1f} MB, from {resource.url}")


def _shown(path: Path) -> Path:
    """The path as a user in the project's folder would write it."""
    return path.relative_to(files.PROJECT) if path.is_relative_to(files.PROJECT) else path


@contextmanager
def _advice(resource: Resource, folder: Path) -> Iterator[None]:
    """Add to an error how to fetch the resource later, or by hand."""
    try:
        yield
    except FacemaskError as error:
        to = shlex.quote(str(_shown(folder)))
        raise FacemaskError(
            f"{error}; `python -m {COMMAND} {resource.command} --to {to}` tries again, or put"
            f" {resource.by_hand} into {_shown(folder)}"
        ) from error


# The network


def _download(url: str, path: Path, max_bytes: int) -> None:
    """Write what the server sends to a file, with a progress bar where stderr is a terminal.

    pooch.retrieve is not used: its files can be read by their owner alone, and it sets no limit.
    Raises FacemaskError with the address for every failure of the network, and when more than
    `max_bytes` come. An OSError of the disk passes.
    """
    import requests
    from pooch import HTTPDownloader
    from tqdm import tqdm
    from tqdm.utils import CallbackIOWrapper

    def check_size(_: int) -> None:
        if file.tell() > max_bytes:
            raise FacemaskError(f"{url}: expected at most {max_bytes:,} bytes, found more")

    request = {"headers": {"User-Agent": USER_AGENT}, "timeout": TIMEOUT}
    try:
        with (
            open(path, "wb") as file,
            tqdm(total=max_bytes, unit="B", unit_scale=True, disable=None) as progress,
        ):
            # pooch documents that any progress bar will do, not only a bool.
            download = HTTPDownloader(progress, CHUNK, **request)  # pyright: ignore
            download(url, CallbackIOWrapper(check_size, file, "write"), None)
    except requests.RequestException as error:
        raise FacemaskError(f"{url}: {_network_problem(error)}") from error


def _network_problem(error: "RequestException") -> str:
    """What went wrong; requests wraps the system's words in layers that repeat the address."""
    import requests

    if error.response is not None:
        status, phrase = error.response.status_code, error.response.reason
        return f"expected status 200, found {status} ({phrase})"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "can't be fetched: the connection broke before the end"
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
            return f"can't be fetched: {files.reason(cause)}"
        cause = cause.__cause__ or cause.__context__
    return f"can't be fetched: {error}"


# The disk


@contextmanager
def _workspace(folder: Path) -> Iterator[Path]:
    """A temporary folder inside `folder`, which is made where it is missing.

    The temporary folder goes in any case. Folders that were made go as well where the block fails;
    an OSError in the block becomes a FacemaskError that names `folder`.
    """
    made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(".part", ".download.", folder) as workspace:
            yield Path(workspace)
    except BaseException as error:
        for path in made:  # the innermost first; a folder that is no longer empty stays
            with suppress(OSError):
                path.rmdir()
        if isinstance(error, OSError):
            raise FacemaskError(f"{folder}: can't be written: {files.reason(error)}") from error
        raise


def _sha256(path: Path) -> str:
    from pooch import file_hash

    try:
        return file_hash(str(path))
    except OSError as error:
        raise FacemaskError(f"{_shown(path)}: can't be read: {files.reason(error)}") from error


def _missing(folder: Path, sha256_by_name: dict[str, str]) -> dict[str, str]:
    """The listed files that the folder lacks. Raises FacemaskError for one with other bytes."""
    missing = {}
    for name, expected in sha256_by_name.items():
        path = folder / name
        if not os.path.lexists(path):
            missing[name] = expected
        elif (sha256 := _sha256(path)) != expected:
            raise FacemaskError(
                f"{_shown(path)}: expected sha256 {expected}, found {sha256}; move it away if it"
                " is your own, delete it if it is damaged, and fetch again"
            )
    return missing


def _move(source: Path, folder: Path, names: Iterable[str]) -> None:
    """Move the named photographs from `source` to `folder`: all of them, or none on an error.

    A class folder that `folder` lacks is moved as a whole. One class without the other would pass
    for a data set.
    """
    paths = {}  # keeps the order, and each class folder once
    for name in names:
        class_name = name.partition("/")[0]
        paths[name if os.path.lexists(folder / class_name) else class_name] = None
    with ExitStack() as undo:
        for path in paths:
            (source / path).rename(folder / path)
            undo.callback((folder / path).rename, source / path)
        undo.pop_all()
