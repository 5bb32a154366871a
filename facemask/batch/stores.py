"""Whole files in folders and in object stores: at paths, and at URLs such as s3://bucket/prefix.

Paths need the standard library alone. URLs are opened by universal-pathlib over fsspec, which come
with requirements-archive.txt; each kind of store needs a package of its own as well: s3fs for
s3://, gcsfs for gs://. Credentials are found as those packages find them.

Each function raises FacemaskError where a folder or store fails, and for a URL that can't be
opened.
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


def open_path(location: str) -> "Path | UPath":
    """A path or URL as an object with the methods of pathlib; a path or file:// URL as a Path."""
    if not is_url(location):
        return Path(location)
    path = _open_url(location)
    return Path(path.path) if path.protocol in ("file", "local") else path


def find_files(url: str) -> list[str]:
    """The URLs of all files below a URL but hidden ones, in the same order on every machine.

    The URL of a file gives that URL, and so does one at which nothing is: reading it reports the
    error.
    """
    folder = _open_url(url)
    root = folder.path.rstrip("/")
    with _naming(url, "listed"):
        paths = folder.fs.find(root)
        if paths == [root] or (not paths and not folder.exists()):
            return [url]
    inner = sorted(path[len(root) :].lstrip("/") for path in paths)
    return [f"{url.rstrip('/')}/{name}" for name in inner if not is_hidden(PurePosixPath(name))]


def names(folder: "Path | UPath") -> set[str]:
    """The names of the files in a folder, also hidden ones; empty where there is no such folder."""
    with _naming(folder, "listed"):
        if not isinstance(folder, Path):  # other machines write here, too
            folder.fs.invalidate_cache(folder.path)
        return {path.name for path in folder.iterdir()} if folder.exists() else set()


def read(path: "Path | UPath") -> bytes | None:
    """The content of a file; None where there is none, or the user may not read it."""
    with _naming(path, "read"):
        try:
            if isinstance(path, Path):
                return path.read_bytes()
            fs: Any = path.fs
            return fs.cat_file(path.path)  # one request; UPath.read_bytes makes two
        except (FileNotFoundError, IsADirectoryError, PermissionError):
            return None


def write(path: "Path | UPath", content: bytes) -> None:
    """Write a file, whole or not at all, also when the process is killed meanwhile.

    Makes the folder of a path where it is missing.
    """
    with _naming(path, "written"):
        if isinstance(path, Path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(content)
        elif path.protocol in _ATOMIC_PUT:
            path.fs.pipe_file(path.path, content)
        else:
            temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.part")
            temporary.parent.mkdir(parents=True, exist_ok=True)
            temporary.fs.pipe_file(temporary.path, content)
            path.fs.mv(temporary.path, path.path)


def remove(path: "Path | UPath") -> None:
    """Remove a file, if it is there."""
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
        path = UPath(url)
        path.fs.protocol  # noqa: B018 - opens the file system
        return path


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
