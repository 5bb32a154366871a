"""The messages of the scripts, `[INFO]`, `[WARN]` and `[ERROR]`, and their exit status."""

import io
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import NoReturn, TextIO, TypeVar

from facemask.errors import HANGUP, FacemaskError, plain_interrupts
from facemask.streams import STDERR

T = TypeVar("T")

LOG_SECONDS = 30.0  # at least so long between two lines of progress in a log


def info(message: str) -> None:
    """Print one line; control characters in it, as names of files may have, are escaped."""
    _print(f"[INFO] {_escaped(message)}", sys.stdout)


def warn(message: str) -> None:
    """As info, on standard error."""
    _print(f"[WARN] {_escaped(message)}", sys.stderr)


def error(message: str) -> None:
    """Print one line on standard error; line breaks in the message become spaces."""
    _print(f"[ERROR] {_escaped(' '.join(message.split()))}", sys.stderr)


def _escaped(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], text)


def progress(items: Iterable[T], total: int, unit: str = "") -> Iterable[T]:
    """The items, with a progress bar where standard error is a terminal.

    Elsewhere, in a log file for example, with a line of text now and then in long stages. unit:
    what the items are, in the plural.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        return _logged(items, total, unit)
    from tqdm import tqdm

    return tqdm(items, total=total, unit=f" {unit}" if unit else "it")


def _logged(items: Iterable[T], total: int, unit: str) -> Iterator[T]:
    last = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - last >= LOG_SECONDS:
            last = time.monotonic()
            _print(f"[INFO] {done} of {total} {unit}".rstrip(), sys.stderr)
        yield item


def _print(line: str, file: TextIO | None) -> None:
    if file is None:  # a program without a console, as pythonw starts it
        return
    # Standard output stays free while native messages are hidden, by an import of TensorFlow.
    with STDERR if file is sys.stderr else nullcontext():
        if "tqdm" in sys.modules:  # there may be a progress bar, which must not mix with the line
            from tqdm import tqdm

            tqdm.write(line, file=file)
            file.flush()
        else:
            print(f"{line}\n", end="", file=file, flush=True)  # in one call: whole lines


def run(main: Callable[[], int]) -> NoReturn:
    """Call a script's main and exit with its status, without a traceback for unusable input.

    SIGTERM and SIGHUP end a script as Ctrl-C does, so that open files are completed. What the
    console can't show, such as a name that is not UTF-8, is printed with backslash escapes.
    """
    # These silence the start-up messages of libraries, unless the user has set them.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    warnings.filterwarnings("ignore", module="PIL")  # on images that are odd but readable
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if HANGUP and signal.getsignal(HANGUP) is signal.SIG_DFL:  # nohup has it ignored
        signal.signal(HANGUP, signal.default_int_handler)
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # see facemask.startup
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with plain_interrupts():
            sys.exit(main())
    except FacemaskError as problem:
        error(str(problem))
        sys.exit(problem.status)
    except ModuleNotFoundError as problem:  # a light install that is asked to train, for example
        found = f"{problem}; expected what `pip install -r requirements.txt` installs"
        error(f"{sys.executable}: {found}")
        sys.exit(1)
    except ImportError as problem:
        error(f"{problem}; on a server without a desktop `apt-get install libgl1 libglib2.0-0`")
        sys.exit(1)
    except BrokenPipeError:  # the reader of standard output has ended, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as problem:  # any that no module has handled, such as a name that is too long
        error(f"{problem.filename or 'system'}: {problem.strerror or problem}")
        sys.exit(1)
    except KeyboardInterrupt:
        error("interrupted")
        sys.exit(130)
    except Exception as problem:  # a defect: one line here, and its traceback in a file
        from facemask.defects import describe

        error(describe(problem))
        sys.exit(1)
