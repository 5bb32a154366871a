"""What the scripts say and how they end: `[INFO]`, `[WARN]`, `[ERROR]`, and the exit status."""

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TextIO

from facemask.errors import FacemaskError


def info(message: str) -> None:
    _say(f"[INFO] {message}", sys.stdout)


def warn(message: str) -> None:
    _say(f"[WARN] {message}", sys.stderr)


def error(message: str) -> None:
    """One line on standard error, whatever line breaks a library put into its message."""
    _say(f"[ERROR] {' '.join(message.split())}", sys.stderr)


def progress(items: Iterable[Any], total: int) -> Iterable[Any]:
    """The items, with a progress bar where standard error is a terminal."""
    from tqdm import tqdm

    return tqdm(items, total=total, disable=None)


def _say(line: str, file: TextIO) -> None:
    if "tqdm" in sys.modules:  # a progress bar may be shown, which has to make room for the line
        from tqdm import tqdm

        tqdm.write(line, file=file)
        file.flush()
    else:
        print(line, file=file, flush=True)


def run(main: Callable[[], int]) -> NoReturn:
    """Call a script's main and leave with its status, without a traceback for bad input.

    SIGTERM ends a script as Ctrl-C does, so that files being written are finished.
    """
    # Libraries' start-up chatter, silenced unless the user has set these.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    warnings.filterwarnings("ignore", module="PIL")  # remarks on odd but readable images
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except FacemaskError as problem:
        error(str(problem))
        sys.exit(1)
    except ImportError as problem:
        error(
            f"{problem}; to install what is missing: `pip install -r requirements.txt`, and for a"
            " library such as libGL.so.1 on a server `apt-get install libgl1 libglib2.0-0`"
        )
        sys.exit(1)
    except BrokenPipeError:  # the reader of our output has left, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as problem:  # what no module foresaw, such as a name that is too long
        error(f"{problem.filename or 'system'}: {problem.strerror or problem}")
        sys.exit(1)
    except KeyboardInterrupt:
        error("interrupted")
        sys.exit(130)
