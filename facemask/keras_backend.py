"""Importing Keras on TensorFlow on first use, and silencing native libraries."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from facemask.errors import FacemaskError
from facemask.streams import STDERR

ZIP_SIGNATURE = b"PK\x03\x04"  # the first bytes of a .keras file
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"  # the first bytes of an HDF5 file, a model or weights


def load_keras() -> Any:
    """The keras module, on TensorFlow unless KERAS_BACKEND is set. Takes seconds the first time."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ and "keras" not in sys.modules:
        with held_back_stderr():
            import keras
    else:
        import keras
    return keras


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
    redirecting the file descriptor silences them.
    """
    sys.stderr.flush()
    # The file descriptor is global: without the lock, two threads could leave it redirected.
    with STDERR, tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except (FacemaskError, KeyboardInterrupt):
            raise
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
