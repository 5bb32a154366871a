"""Importing Keras on TensorFlow on first use, and silencing native libraries."""

import gc
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from facemask.errors import FacemaskError
from facemask.streams import STDERR

ZIP_SIGNATURE = b"PK\x03\x04"  # the first bytes of a .keras file
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"  # the first bytes of an HDF5 file, a model or weights


def load_keras() -> Any:
    """The keras module, on TensorFlow unless KERAS_BACKEND is set. Takes seconds the first time."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if "keras" in sys.modules:
        import keras
    else:
        hidden = held_back_stderr() if "TF_CPP_MIN_LOG_LEVEL" in os.environ else nullcontext()
        with _no_garbage_collection(), hidden:
            import keras
    return keras


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Look for no garbage in the block, nor later among what it has made.

    TensorFlow and Keras make half a million objects that stay: looking through them again and again
    takes a sixth of the time of their import, and then 0.2 s each time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def verbosity(log: int = 2) -> Any:
    """Keras's `verbose`: a progress bar on a terminal, and in a log file lines without one.

    log: 2 for a line an epoch, 0 for none.
    """
    return "auto" if sys.stdout is not None and sys.stdout.isatty() else log


@contextmanager
def held_back_stderr() -> Iterator[None]:
    """Hide what native code writes to standard error, and show it only if the block fails.

    For a FacemaskError and for Ctrl-C nothing is shown: one line is enough. TensorFlow 2.21 prints
    lines on the processor and on missing GPUs before it reads TF_CPP_MIN_LOG_LEVEL, so only
    redirecting the file descriptor silences them. Other threads may do the same meanwhile: one
    imports TensorFlow while others load face detectors.
    """
    if sys.stderr is None:  # a program without a console, as pythonw starts it
        yield
        return
    _HIDDEN.start()
    failed = False
    try:
        yield
    except (FacemaskError, KeyboardInterrupt):
        raise
    except BaseException:
        failed = True
        raise
    finally:
        _HIDDEN.end(show=failed)


class _HiddenStderr:
    """What is written to standard error while a thread hides it; several threads may at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0

    def start(self) -> None:
        with self._lock:
            if not self._threads:
                # What can fail comes before the lock, which each message on the console needs.
                sys.stderr.flush()
                self._file = tempfile.TemporaryFile()  # noqa: SIM115
                self._stderr = os.dup(2)
                STDERR.acquire()
                os.dup2(self._file.fileno(), 2)
            self._threads += 1

    def end(self, show: bool) -> None:
        """show: what has been hidden so far."""
        with self._lock:
            sys.stderr.flush()
            if show:
                self._file.seek(0)
                os.write(self._stderr, self._file.read())
            self._threads -= 1
            if not self._threads:
                os.dup2(self._stderr, 2)
                os.close(self._stderr)
                self._file.close()
                STDERR.release()


_HIDDEN = _HiddenStderr()
