"""The exception that the scripts turn into an error message."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

# A closed terminal or connection, which ends a run as Ctrl-C does; it may come twice. Windows has
# no such signal.
HANGUP = getattr(signal, "SIGHUP", None)


class FacemaskError(Exception):
    """An input that can't be used: a file, a value, or a combination of options.

    The message is one line that names the path or value, what was expected and what was found. The
    scripts print it after `[ERROR]` and exit with its status.
    """

    status = 1


class UsageError(FacemaskError):
    """An argument that does not suit the model, which is known once its file is read.

    The exit status is that of all wrong arguments.
    """

    status = 2


@contextmanager
def plain_interrupts() -> Iterator[None]:
    """A context manager in which Ctrl-C always raises KeyboardInterrupt.

    Where it comes while Python's Condition waits, as in queues and futures, the lock is not held
    when the Condition releases it, and RuntimeError hides the KeyboardInterrupt.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        raise


def check_installed(module: str) -> None:
    """Raise ModuleNotFoundError where a library is missing, as after a light install.

    Nothing is imported, so that it takes no time before other arguments are checked.
    """
    if find_spec(module) is None:
        raise ModuleNotFoundError(f"No module named {module!r}")
