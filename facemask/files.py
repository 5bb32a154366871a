"""Finding files where a person expects them, and replacing them without half-written states."""

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facemask.errors import FacemaskError

PROJECT = Path(__file__).resolve().parent.parent


def find(path: str | os.PathLike[str]) -> Path:
    """The path itself or, where nothing is there, the same relative path beside the scripts.

    So `face_detector` is found from every working folder. A path found in neither place comes
    back as it was given, for the error message to name.
    """
    given = Path(path)
    beside_scripts = PROJECT / given
    return beside_scripts if not given.exists() and beside_scripts.exists() else given


def check_writable(*paths: Path, make_folders: bool = True) -> None:
    """Make sure, before any expensive work, that files can be written at the paths.

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
        # Only the attempt tells: permission bits say nothing of read-only disks, or to root.
        probe = beside(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise FacemaskError(f"{path}: can't be written: {reason(error)}") from error


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well.

    Readers see the old file or the new one, never a part; on any exception the temporary file
    goes and what stood at `path` stays. The suffix is kept, since writers go by it. An OSError
    in the block (a full disk, say) becomes a FacemaskError that names `path`.
    """
    path = Path(path)
    part = beside(path)
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        raise FacemaskError(f"{path}: can't be written: {reason(error)}") from error
    finally:
        part.unlink(missing_ok=True)


def reason(error: OSError) -> str:
    """What the system said, without the path that the message already names."""
    return error.strerror or str(error) or type(error).__name__


def beside(path: Path) -> Path:
    """The temporary name that replacing() uses for a path: hidden, in the same folder.

    A long name is cut, so that whatever name the file system takes, it takes this one too.
    """
    writer = f"{os.getpid()}"
    if threading.current_thread() is not threading.main_thread():
        writer += f"-{threading.get_native_id()}"  # several may be writing the same file
    return path.with_name(f".{path.stem[:40]}.{writer}.part{path.suffix}")


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
