"""The exception that the scripts turn into an error message."""

from collections.abc import Iterator
from contextlib import contextmanager


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
