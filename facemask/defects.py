"""Defects of the program itself: one line for the user, and a file that can be reported."""

import os
import platform
import sys
import tempfile
import threading
import traceback
from datetime import datetime
from pathlib import Path

_lock = threading.Lock()  # several threads may write at once


def describe(error: Exception) -> str:
    """One line about an exception that nobody expected; its traceback is added to a file.

    The line names the file, which is in the system's folder for temporary files. It holds the
    command, the versions and the traceback: paths, but no pictures. Running out of memory is no
    defect, and is not written.
    """
    if isinstance(error, MemoryError):
        return "not enough memory"
    message = " ".join(str(error).split())
    line = f"unexpected {type(error).__name__}" + (f": {message}" if message else "")
    try:
        return f"{line}; {_write(error)} has what a bug report needs"
    except OSError:  # such as a full disk: the line alone must do
        return line


def _write(error: Exception) -> Path:
    file = Path(tempfile.gettempdir()) / f"facemask-error-{os.getpid()}.txt"
    heading = (
        f"{datetime.now():%Y-%m-%d %H:%M:%S} Python {platform.python_version()} on"
        f" {platform.platform()}\n{' '.join(sys.argv)}\n"
    )
    with _lock, file.open("a", encoding="utf-8", errors="surrogateescape") as report:
        report.write(heading + "".join(traceback.format_exception(error)) + "\n")
    return file
