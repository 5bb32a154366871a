"""Finding files, digests, and replacing files so that no half-written one is ever seen."""

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from facemask.errors import FacemaskError

PROJECT = Path(__file__).resolve().parent.parent


def find(path: str | os.PathLike[str]) -> Path:
    """The path itself or, where it does not exist, the same relative path beside the scripts.

    So `face_detector` is found from every working folder. A path that exists in neither place is
    returned unchanged, for the error message to name.
    """
    given = Path(path)
    beside_scripts = PROJECT / given
    return beside_scripts if not given.exists() and beside_scripts.exists() else given


def real_path(path: str | os.PathLike[str]) -> Path:
    """An absolute path without symbolic links. Unlike Path.resolve it takes links in a circle."""
    return Path(os.path.realpath(path))


def check_writable(*paths: Path, make_folders: bool = True) -> None:
    """Check, before any expensive work, that files can be written at the paths.

    make_folders: make missing folders; otherwise nothing on disk changes, and the check goes by
    the permissions of the nearest folder that exists.
    Raises FacemaskError naming the path and the reason.
    """
    for path in paths:
        if path.is_dir():
            raise FacemaskError(f"{path}: expected a file to write to, found a folder")
        if not make_folders:
            existing = next(parent for parent in path.absolute().parents if parent.exists())
            if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
                raise FacemaskError(f"{path}: can't be written: {existing} takes no new files")
            continue
        # Only an attempt is sure: permission bits ignore read-only disks and do not bind root.
        probe = beside(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise FacemaskError(f"{path}: can't be written: {reason(error)}") from error


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` when the block succeeds.

    Readers see the old file or the new one, never a part of it. On any exception the temporary
    file is deleted, and the old file stays. The temporary path has the same suffix, because
    libraries choose the format by it. An OSError in the block (such as a full disk) becomes a
    FacemaskError that names `path`.
    """
    path = Path(path)
    temporary = beside(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise FacemaskError(f"{path}: can't be written: {reason(error)}") from error
    finally:
        with suppress(OSError):  # an error of the block is the one to report
            temporary.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 file, whole or not at all, as replacing() does."""
    with replacing(path) as temporary:
        temporary.write_bytes(encode(text))


def encode(text: str) -> bytes:
    """Text as UTF-8, for files and digests.

    A file name that is not UTF-8 has lone surrogates, which no UTF-8 file can hold. They become
    backslash escapes: `\\udcef`, as JSON writes them, so that a name in JSON survives a round trip.
    """
    return text.encode("utf-8", "backslashreplace")


def reason(error: OSError) -> str:
    """The system's message, without the path, which our own message already names."""
    return error.strerror or str(error) or type(error).__name__


def beside(path: Path) -> Path:
    """The temporary name that replacing() uses for a path: hidden, in the same folder.

    A long name is truncated, so that it stays within the file system's limit. Each process and
    thread has its own, because several may write the same file at once.
    """
    writer = f"{os.getpid()}"
    if threading.current_thread() is not threading.main_thread():
        writer += f"-{threading.get_native_id()}"
    return path.with_name(f".{path.stem[:40]}.{writer}.part{path.suffix}")


def file_digest(path: Path) -> str:
    """The sha256 of a file's bytes, 64 hexadecimal digits. Raises OSError as open does."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
