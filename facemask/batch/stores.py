"""Whole files in folders and in object stores: at paths, and at URLs such as s3://bucket/prefix.

Paths need the standard library alone. URLs are opened by universal-pathlib over fsspec, which come
with requirements-archive.txt; each kind of store needs a package of its own as well: s3fs for
s3://, gcsfs for gs://. Credentials are found as those packages find them.
"""

import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from facemask.errors import FacemaskError
from facemask.files import reason, replacing
from facemask.images import is_hidden

if TYPE_CHECKING:
    from upath import UPath

# Where putting an object is one step: readers see all of it or nothing. In other stores a new file
# grows in place, so it gets its name only when it is whole.
_ATOMIC_PUT = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "memory"}
_LONGEST_REASON = 300  # characters of a store's own message, which can be a page of HTML


def is_url(location: str) -> bool:
    """Whether it is SCHEME://..., and no path."""
    return "://" in location


def local_path(location: str) -> Path | None:
    """The path of a path, or of a file:// URL; None for other URLs."""
    if not is_url(location):
        return Path(location)
    if location.partition("://")[0] in ("file", "local"):
        return Path(_open_url(location).path)
    return None


def find_files(url: str) -> list[str]:
    """The URLs of all files below a URL but hidden ones, in the same order on every machine.

    The URL of a file gives that URL, and so does one at which nothing is: reading it reports the
    error. Raises FacemaskError for a store that can't be listed.
    """
    place = _open_url(url)
    root = place.path.rstrip("/")
    with _naming(url, "listed"):
        paths = place.fs.find(root)
        if paths == [root] or (not paths and not place.exists()):
            return [url]
    inner = sorted(path[len(root) :].lstrip("/") for path in paths)
    return [f"{url.rstrip('/')}/{name}" for name in inner if not is_hidden(PurePosixPath(name))]


def read_bytes(url: str) -> bytes | None:
    """The content of the file at a URL; None where there is none, or the user may not read it.

    Raises FacemaskError where the store fails.
    """
    place = _open_url(url)
    fs: Any = place.fs
    with _naming(url, "read"):
        try:
            return fs.cat_file(place.path)  # one request; UPath.read_bytes makes two
        except (FileNotFoundError, IsADirectoryError, PermissionError):
            return None


class Store:
    """A folder of small files at a path or URL. The first file written makes it.

    Each method raises FacemaskError where the folder or the store fails.
    """

    def __init__(self, location: str):
        """Raises FacemaskError for a URL that can't be opened."""
        self._folder = local_path(location) or _open_url(location)

    def names(self) -> set[str]:
        """The names of the files in it, also hidden ones; empty where there is no such folder."""
        folder = self._folder
        with _naming(folder, "listed"):
            if not isinstance(folder, Path):  # other machines write here, too
                folder.fs.invalidate_cache(folder.path)
            return {path.name for path in folder.iterdir()} if folder.exists() else set()

    def read(self, name: str) -> bytes | None:
        """The content of a file; None where there is none."""
        path = self._folder / name
        with _naming(path, "read"):
            return path.read_bytes() if path.exists() else None

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all, also when the process is killed meanwhile."""
        path = self._folder / name
        with _naming(path, "written"):
            if isinstance(path, Path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as part:
                    part.write_bytes(content)
            elif path.protocol in _ATOMIC_PUT:
                path.fs.pipe_file(path.path, content)
            else:
                part = path.with_name(f".{name}.{platform.node()}.{os.getpid()}.part")
                part.parent.mkdir(parents=True, exist_ok=True)
                part.fs.pipe_file(part.path, content)
                path.fs.mv(part.path, path.path)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        path = self._folder / name
        with _naming(path, "removed"):
            path.unlink(missing_ok=True)


def _open_url(url: str) -> "UPath":
    try:
        from upath import UPath
    except ImportError as error:
        raise FacemaskError(
            f"{url}: URLs need universal-pathlib, which can't be imported ({error});"
            " `pip install -r requirements-archive.txt`"
        ) from error
    warnings.filterwarnings("ignore", module="upath")  # remarks on stores that it has no tests for
    with _naming(url, "opened"):  # an unknown scheme, a package that is missing, a bad setting
        place = UPath(url)
        place.fs.protocol  # noqa: B018 - opens the file system
        return place


@contextmanager
def _naming(location: "str | Path | UPath", action: str) -> Iterator[None]:
    """Turn an error of the block, of whatever kind a store has, into one line with the location."""
    try:
        yield
    except FacemaskError:
        raise
    except Exception as error:
        cause = reason(error) if isinstance(error, OSError) else " ".join(str(error).split())
        cause = cause[:_LONGEST_REASON] or type(error).__name__
        raise FacemaskError(f"{location}: can't be {action}: {cause}") from error
