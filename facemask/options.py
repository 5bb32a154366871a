"""Arguments that several commands share, and the kinds of values they take."""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from facemask.console import error
from facemask.errors import FacemaskError


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT, of [HOST]:PORT for IPv6.

    Raises FacemaskError for anything else.
    """
    host, colon, port = text.rpartition(":")
    in_brackets = host.startswith("[") and host.endswith("]")
    name = host[1:-1] if in_brackets else host
    valid_name = name and not any(char.isspace() or char in "[]/" for char in name)
    valid_port = port.isascii() and port.isdecimal() and 0 < int(port) < 65536
    if not (colon and valid_name and valid_port and in_brackets == (":" in name)):
        raise FacemaskError(f"{text}: expected HOST:PORT, with a port from 1 to 65535")
    return name, int(port)


def check_addresses(addresses: Sequence[str], index: int) -> None:
    """Raise FacemaskError unless each address is HOST:PORT, none is repeated, and index is of one.

    index: of this process among them, from 0.
    """
    for address in addresses:
        parse_address(address)
    if repeated := [address for address in addresses if addresses.count(address) > 1]:
        raise FacemaskError(f"{repeated[0]}: expected an address for each worker, found it twice")
    if not 0 <= index < len(addresses):
        raise FacemaskError(
            f"worker {index}: expected a number from 0 to {len(addresses) - 1}, as there are"
            f" {len(addresses)} addresses"
        )


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
