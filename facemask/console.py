"""What the scripts say and how they end: `[INFO]`, `[WARN]`, `[ERROR]`, and the exit status."""

import argparse
import math
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TextIO

from facemask.errors import FacemaskError


def info(message: str) -> None:
    _say(f"[INFO] {message}", sys.stdout)


def warn(message: str) -> None:
    _say(f"[WARN] {message}", sys.stderr)


def error(message: str) -> None:
    """One line on standard error, whatever line breaks a library put into its message."""
    _say(f"[ERROR] {' '.join(message.split())}", sys.stderr)


def _say(line: str, file: TextIO) -> None:
    if "tqdm" in sys.modules:  # a progress bar may be shown, which has to make room for the line
        from tqdm import tqdm

        tqdm.write(line, file=file)
        file.flush()
    else:
        print(line, file=file, flush=True)


class ArgumentParser(argparse.ArgumentParser):
    """argparse, with its errors as one `[ERROR]` line and status 2."""

    def error(self, message: str) -> NoReturn:
        error(f"{message} (see {self.prog} --help)")
        sys.exit(2)


def fraction(text: str) -> float:
    """Argument type: a number from 0 to 1."""
    value = _number(text)
    if not 0.0 <= value <= 1.0:  # not-a-number fails this too
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, found {text!r}")
    return value


def number_above(low: float, below: float = math.inf) -> Callable[[str], float]:
    """Argument type: a number strictly between low and below."""

    def parse(text: str) -> float:
        value = _number(text)
        if not low < value < below:
            limits = f"above {low:g}" + ("" if below == math.inf else f" and below {below:g}")
            raise argparse.ArgumentTypeError(f"expected a number {limits}, found {text!r}")
        return value

    return parse


def whole_number(least: int, most: int = 2**32 - 1) -> Callable[[str], int]:
    """Argument type: a whole number from `least` to `most`; by default, of at most 32 bits."""
    limits = f"of at least {least}" if most == 2**32 - 1 else f"from {least} to {most}"

    def parse(text: str) -> int:
        if not text.strip().isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number {limits}, found {text!r}")
        return int(text)

    return parse


def file_with_suffix(*suffixes: str) -> Callable[[str], Path]:
    """Argument type: a path that ends in one of the suffixes, in lower or upper case."""

    def parse(text: str) -> Path:
        name = Path(text).name.lower()
        if not any(name.endswith(suffix) and name != suffix for suffix in suffixes):
            raise argparse.ArgumentTypeError(
                f"expected a file name that ends in {' or '.join(suffixes)}, found {text!r}"
            )
        return Path(text)

    return parse


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


# The face detectors to choose from; detectors.py loads them.
DETECTORS = ("auto", "ssd", "yunet", "builtin")


def add_detector_arguments(parser: argparse.ArgumentParser) -> None:
    """What finds the faces."""
    parser.add_argument(
        "-f",
        "--face",
        default="face_detector",
        metavar="DIR",
        help="folder with the face detector's weights (%(default)s)",
    )
    parser.add_argument(
        "--detector",
        choices=DETECTORS,
        default="auto",
        help="what finds the faces: the SSD, YuNet, or the one that comes with the project; auto,"
        " the default, is the SSD where its weights are at hand and else the built-in one",
    )


def add_detection_arguments(parser: argparse.ArgumentParser) -> None:
    """The networks and the thresholds, the same for images and for video."""
    add_detector_arguments(parser)
    parser.add_argument(
        "--tiles",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="look for faces in N x N overlapping parts of the image as well: finds small ones in"
        " large images, and takes that much longer (%(default)s: only in the whole)",
    )
    parser.add_argument(
        "-m",
        "--model",
        default="mask_detector.keras",
        metavar="FILE",
        help="trained mask detector, .keras, .tflite or HDF5 (%(default)s)",
    )
    parser.add_argument(
        "-c",
        "--confidence",
        type=fraction,
        default=0.5,
        help="faces of more detector confidence than this count (%(default)s)",
    )
    parser.add_argument(
        "--uncertain",
        type=fraction,
        default=0.0,
        metavar="P",
        help="faces whose best class has less probability than this are labelled uncertain (off)",
    )
    parser.add_argument(
        "--timings", action="store_true", help="say at the end how long each stage took"
    )


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
