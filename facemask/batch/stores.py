"""Folders and object stores alike: paths, and URLs such as s3://bucket/prefix, as fsspec has them.

fsspec comes with requirements-archive.txt; each kind of store has a package of its own beside it,
s3fs for s3:// and gcsfs for gs://. Credentials are found as those packages find them.
"""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from facemask.errors import FacemaskError
from facemask.files import reason, replacing
from facemask.images import is_hidden

# Where putting an object is one step: readers see all of it or nothing. Elsewhere a new file grows
# in place, and must be given another name until it is whole.
_PUT_AT_ONCE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "memory"}


def is_url(text: str) -> bool:
    """Whether it is SCHEME://..., and no path."""
    return "://" in text


def find_files(url: str) -> list[str]:
    """The URLs of all files below a URL but hidden ones, in the same order on every machine.

    The URL of one file gives that file, and a URL at which nothing is gives it, too: reading it
    will say so. Raises FacemaskError for a store that can't be listed.
    """
    system, root = _open(url)
    with _naming(url, "listed"):
        found = system.find(root)
        if found == [root] or (not found and not system.exists(root)):
            return [url]
    inner = sorted(path[len(root) :].lstrip("/") for path in found)
    return [f"{url.rstrip('/')}/{name}" for name in inner if not is_hidden(PurePosixPath(name))]


def read_bytes(url: str) -> bytes | None:
    """What lies at a URL; None where nothing does, or what the user may not read.

    Raises FacemaskError when the store does not answer as it should.
    """
    system, path = _open(url)
    with _naming(url, "read"):
        try:
            return system.cat_file(path)
        except (FileNotFoundError, IsADirectoryError, PermissionError):
            return None


def local_path(where: str) -> Path | None:
    """The path of a path, or of a file:// URL; None for what lies elsewhere."""
    if not is_url(where):
        return Path(where)
    if where.partition("://")[0] in ("file", "local"):
        return Path(_open(where)[1])
    return None


class Store(Protocol):
    """A folder of small files, which is made by the first one written.

    Each method raises FacemaskError where the folder or store does not answer as it should.
    """

    def names(self) -> set[str]:
        """The names of the files in it, also hidden ones; empty where there is no such folder."""
        ...

    def read(self, name: str) -> bytes | None:
        """What a file holds; None where there is none."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all, also when the process is killed meanwhile."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        ...


def open_store(where: str) -> Store:
    """The folder at a path or URL. Raises FacemaskError for a URL that nothing here can open."""
    folder = local_path(where)
    return _Folder(folder) if folder else _Elsewhere(where)


class _Folder:
    """A Store in the file system."""

    def __init__(self, folder: Path):
        self._folder = folder

    def names(self) -> set[str]:
        with _naming(self._folder, "listed"):
            return set(os.listdir(self._folder)) if self._folder.exists() else set()

    def read(self, name: str) -> bytes | None:
        path = self._folder / name
        with _naming(path, "read"):
            return path.read_bytes() if path.exists() else None

    def write(self, name: str, content: bytes) -> None:
        with replacing(self._folder / name) as part:
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content)

    def remove(self, name: str) -> None:
        with _naming(self._folder / name, "removed"):
            (self._folder / name).unlink(missing_ok=True)


class _Elsewhere:
    """A Store at a URL."""

    def __init__(self, url: str):
        self._url = url.rstrip("/")
        self._system, self._root = _open(self._url)
        self._puts_at_once = url.partition("://")[0] in _PUT_AT_ONCE

    def names(self) -> set[str]:
        with _naming(self._url, "listed"):
            self._system.invalidate_cache(self._root)
            try:
                found = self._system.ls(self._root, detail=False)
            except FileNotFoundError:
                return set()
            return {PurePosixPath(path).name for path in found}

    def read(self, name: str) -> bytes | None:
        return read_bytes(f"{self._url}/{name}")

    def write(self, name: str, content: bytes) -> None:
        with _naming(f"{self._url}/{name}", "written"):
            if self._puts_at_once:
                self._system.pipe_file(f"{self._root}/{name}", content)
                return
            part = f"{self._root}/.{name}.{platform.node()}.{os.getpid()}.part"
            self._system.makedirs(self._root, exist_ok=True)
            self._system.pipe_file(part, content)
            self._system.mv(part, f"{self._root}/{name}")

    def remove(self, name: str) -> None:
        with _naming(f"{self._url}/{name}", "removed"), suppress(FileNotFoundError):
            self._system.rm_file(f"{self._root}/{name}")


@contextmanager
def _naming(where: str | Path, what: str) -> Iterator[None]:
    """Turn an error of the block, of whatever kind a store has, into one line that says where."""
    try:
        yield
    except Exception as error:
        said = reason(error) if isinstance(error, OSError) else " ".join(str(error).split())[:300]
        raise FacemaskError(f"{where}: can't be {what}: {said or type(error).__name__}") from error


def _open(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise FacemaskError(
            f"{url}: URLs need fsspec, which can't be imported ({error});"
            " `pip install -r requirements-archive.txt`"
        ) from error
    with _naming(url, "opened"):  # an unknown scheme, a package that is missing, a bad setting
        return url_to_fs(url)
