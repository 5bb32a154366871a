"""Importing Keras on TensorFlow when it is first needed, and silencing native libraries."""

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from facemask.errors import FacemaskError

ZIP_SIGNATURE = b"PK\x03\x04"  # how a .keras file starts
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"  # how an HDF5 file starts, of a model or of weights


def load_keras() -> Any:
    """The keras module, on TensorFlow. Takes seconds the first time."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ and "keras" not in sys.modules:
        with held_back_stderr():
            import keras
    else:
        import keras
    return keras


_STDERR = threading.RLock()


@contextmanager
def held_back_stderr() -> Iterator[None]:
    """Keep what native code writes to standard error; show it only if the block fails.

    A FacemaskError says by itself what is wrong, and with one line: nothing is shown for it.
    TensorFlow 2.21 prints lines on the processor and on missing GPUs before it looks at
    TF_CPP_MIN_LOG_LEVEL, so that nothing but the file descriptor can silence them.
    """
    sys.stderr.flush()
    # There is one standard error: two threads that turned it aside at once would leave it there.
    with _STDERR, tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except FacemaskError:
            raise
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
