"""Arguments that several commands share, and types for argument values."""

import argparse
import glob
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from facemask.class_names import WITH_MASK, WITHOUT_MASK
from facemask.console import error
from facemask.errors import FacemaskError
from facemask.files import find

MAX_TILES = 16  # a side: 257 calls of the detector


class ArgumentParser(argparse.ArgumentParser):
    """argparse, with errors as one `[ERROR]` line and exit status 2."""

    def error(self, message: str) -> NoReturn:
        error(f"{message} (see {self.prog} --help)")
        sys.exit(2)


class Paths(argparse.Action):
    """Action for paths: a pattern such as `photos/*.jpg` becomes the files that match it.

    A Unix shell does so itself; Windows passes the pattern. A path that exists is no pattern, even
    with brackets in its name. `**` stands for folders of any depth.
    Raises FacemaskError for a pattern that matches nothing.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if "" in values:  # such as a variable of the shell that is not set; it would be this folder
            raise argparse.ArgumentError(self, "expected a path, found an empty one")
        setattr(namespace, self.dest, [path for text in values for path in _matches(text)])


def _matches(text: str) -> list[str]:
    if not glob.has_magic(text) or "://" in text or find(text).exists():
        return [text]
    matches = sorted(glob.glob(text, recursive=True))
    if not matches:
        raise FacemaskError(f"{text}: expected a path, or a pattern that matches files; found none")
    return matches


def fraction(text: str) -> float:
    """Argument type: a number from 0 to 1."""
    value = _number(text)
    if not 0.0 <= value <= 1.0:  # false for NaN too
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
    """Argument type: a whole number from `least` to `most`, by default the largest of 32 bits."""
    limits = f"of at least {least}" if most == 2**32 - 1 else f"from {least} to {most}"

    def parse(text: str) -> int:
        if not text.strip().isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number {limits}, found {text!r}")
        return int(text)

    return parse


def file_with_suffix(*suffixes: str) -> Callable[[str], Path]:
    """Argument type: a path that ends in one of the suffixes, in any case."""

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


# The face detectors; facemask.detect.registry loads them.
DETECTORS = ("auto", "ssd", "yunet", "builtin")


MODEL_HELP = (
    "trained mask detector, .keras, .tflite or HDF5 (mask_detector.keras, as training writes it, or"
    " where there is none the one that comes with the project)"
)


def add_detector_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choice of the face detector: --face and --detector."""
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
        help="face detector: the SSD, YuNet, or the one that comes with the project; auto, the"
        " default, is the SSD where its weights are available, and otherwise the built-in one",
    )


def add_detection_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the networks and thresholds, the same for images and video."""
    add_detector_arguments(parser)
    parser.add_argument(
        "--tiles",
        type=whole_number(1, MAX_TILES),
        default=1,
        metavar="N",
        help="also search N x N overlapping parts of the image: finds small faces in large images,"
        " and takes accordingly longer (%(default)s: only the whole image)",
    )
    parser.add_argument(
        "-m",
        "--model",
        metavar="FILE",
        help=MODEL_HELP,
    )
    parser.add_argument(
        "-c",
        "--confidence",
        type=fraction,
        default=0.5,
        help="only faces of more detector confidence than this are used (%(default)s)",
    )
    parser.add_argument(
        "--uncertain",
        type=fraction,
        default=0.0,
        metavar="P",
        help="label a face uncertain when its best class has less probability than this (off)",
    )
    add_merge_argument(parser)
    parser.add_argument(
        "--timings", action="store_true", help="print at the end how long each stage took"
    )


def add_merge_argument(parser: argparse.ArgumentParser) -> None:
    """Add what makes two answers of three, see MaskClassifier.merge_incorrect."""
    parser.add_argument(
        "--merge-incorrect",
        choices=(WITHOUT_MASK, WITH_MASK),
        help="two answers of a model that knows three: its probability that a mask is worn"
        " incorrectly is added to this class",
    )


def add_blur_argument(parser: argparse.ArgumentParser) -> None:
    """Add what hides the people, see output.blurring."""
    parser.add_argument(
        "--blur",
        action="store_true",
        help="blur the faces that are found, in all that is written and shown; look at the result"
        " before you pass it on, since no detector finds every face",
    )
