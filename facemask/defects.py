"""Defects of the program itself: one line for the user, and a file that can be reported."""

import os
import platform
import re
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

from facemask.addresses import without_secrets

# Beginnings of options whose values stay secret: --serve-token, and --alert-command, which may hold
# anything. argparse takes the beginning of an option for the whole.
SECRET_OPTIONS = ("--serve-t", "--alert-com")

_lock = threading.Lock()  # several threads may write at once


def describe(error: Exception) -> str:
    """One line about an exception that nobody expected; its traceback is added to a file.

    The line names the file, which is in the system's folder for temporary files. It holds the
    command without passwords, the versions and the traceback: paths, but no pictures. Its owner
    alone can read it. Running out of memory is no defect, and is not written.
    """
    if isinstance(error, MemoryError):
        return "not enough memory"
    message = _redacted(" ".join(str(error).split()))
    line = f"unexpected {type(error).__name__}" + (f": {message}" if message else "")
    try:
        return f"{line}; {_write(error)} has what a bug report needs"
    except OSError:  # such as a full disk: the line alone must do
        return line


def _write(error: Exception) -> Path:
    heading = (
        f"{datetime.now():%Y-%m-%d %H:%M:%S} Python {platform.python_version()} on"
        f" {platform.platform()}\n{' '.join(_shown(sys.argv))}\n"
    )
    with _lock:
        file = _file(tempfile.gettempdir())
        with open(file, "a", encoding="utf-8", errors="surrogateescape", opener=_private) as report:
            report.write(_redacted(heading + "".join(traceback.format_exception(error))) + "\n")
    return file


@cache
def _file(folder: str) -> Path:
    """This process's file, which is made with a name that nobody can foresee."""
    descriptor, name = tempfile.mkstemp(".txt", "facemask-error-", folder)
    os.close(descriptor)
    return Path(name)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)  # made again where somebody tidies up


def _shown(arguments: Sequence[str]) -> Iterator[str]:
    """A command's arguments without the values of SECRET_OPTIONS."""
    is_secret = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        hides = name.startswith(SECRET_OPTIONS)
        if is_secret:
            yield "..."
        else:
            yield f"{name}=..." if hides and equals else argument
        is_secret = hides and not equals


def _redacted(text: str) -> str:
    """A text whose addresses have no passwords."""
    return re.sub(r"\S+://\S+", lambda url: without_secrets(url[0]), text)
