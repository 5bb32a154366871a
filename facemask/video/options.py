"""The arguments of detect_mask_video.py, with the reasons for their defaults."""

import argparse
import os
import re
import shlex
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from facemask.addresses import parse_address
from facemask.console import info
from facemask.errors import FacemaskError, UsageError
from facemask.files import check_writable, find, real_path
from facemask.options import (
    ArgumentParser,
    add_blur_argument,
    add_detection_arguments,
    file_with_suffix,
    number_above,
    whole_number,
)

RECONNECT_S = 120.0  # a camera that was switched off and on again is back by then
ALERT_AFTER_S = 3.0  # a few wrong frames change a label for a second at most (VOTE_S)
ALERT_COOLDOWN_S = 60.0  # at most one alert a minute
LOOPBACK = "127.0.0.1"  # reached from this machine alone
TOKEN_VARIABLE = "FACEMASK_TOKEN"  # an argument would be in the list of processes
TOKEN = re.compile(r"[A-Za-z0-9_-]{16,}")  # what an address and a cookie hold as it is
# The suffixes for which writer.CODECS has a codec. Not imported: it needs OpenCV.
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".avi", ".mkv")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line; by default, that of this process. Exits with 2 if it is wrong."""
    parser = ArgumentParser(description="Detect face masks in a video stream.")
    _add_source_arguments(parser)
    add_detection_arguments(parser)
    _add_output_arguments(parser)
    add_blur_argument(parser)
    _add_alert_arguments(parser)
    _add_page_arguments(parser)
    parser.add_argument("--no-display", action="store_true", help="open no window")
    parser.add_argument(
        "--fast",
        action="store_true",
        help="show a file as fast as its frames are labelled, and not at its own rate",
    )
    args = parser.parse_args(argv)
    if args.track is False and (args.csv or args.alert_command or args.snapshots):
        parser.error("--no-track: --csv, --alert-command and --snapshots need tracked faces")
    # Each frame is labelled by itself then; and no face may flash up.
    args.detect_every_frame |= args.track is False or args.blur
    if args.alert_labels and not (args.alert_command or args.snapshots or args.serve):
        parser.error(
            "argument --alert-labels: expected --alert-command, --snapshots or --serve with it"
        )
    if args.serve_token is not None and not args.serve:
        parser.error("argument --serve-token: expected --serve with it")
    if args.serve and args.serve_token is None:
        args.serve_token = os.environ.get(TOKEN_VARIABLE)
    if args.serve_token is not None and not TOKEN.fullmatch(args.serve_token):
        parser.error(
            f"argument --serve-token or variable {TOKEN_VARIABLE}: expected at least 16 letters,"
            f" digits, - and _, found {len(args.serve_token)} characters"
        )
    if args.blur and args.snapshots and not args.unblurred_snapshots:
        parser.error(
            "argument --snapshots: not with --blur, which hides what they show; expected"
            " --unblurred-snapshots with both"
        )
    if args.unblurred_snapshots and not (args.blur and args.snapshots):
        parser.error("argument --unblurred-snapshots: expected --blur and --snapshots with it")
    return args


def check_files(args: argparse.Namespace) -> None:
    """Choose the model file, and check it and the outputs, before anything is loaded.

    Raises FacemaskError for a model that can't be one and an output that can't be written, and
    UsageError for arguments that the model does not suit.
    """
    from facemask.detect.classifier import check_model_file  # needs OpenCV
    from facemask.detect.model_choice import class_names, describe_model, find_model
    from facemask.video.alerts import alert_labels

    if args.output and real_path(args.output) == real_path(find(args.source)):
        raise FacemaskError(f"{args.output}: is the video to read; give another --output")
    check_writable(*(file for file in (args.output, args.json, args.csv) if file))
    model = find_model(args.model)
    check_model_file(model)
    names = class_names(model, args.merge_incorrect)
    if args.alert_command or args.snapshots or args.alert_labels:
        args.alert_labels = alert_labels(names, args.alert_labels)
    elif args.serve:  # the page shows alerts, where the model has classes for them
        with suppress(UsageError):
            args.alert_labels = alert_labels(names)
    if args.model is None:
        info(describe_model(model))
    if args.alert_labels:
        info(f"alerts for {', '.join(args.alert_labels)}")
    args.model, args.class_names = model, names


def check_tracking(
    args: argparse.Namespace, photographs: bool, announce: Callable[[str], None]
) -> None:
    """Check that the source has what alerts need: faces that are in view for some time.

    photographs: the frames of the source are pictures by themselves; then, without --track, nothing
    is tracked, and a line says so.
    Raises FacemaskError for alerts there.
    """
    if not photographs or args.track is not None:
        return
    remedy = "add --track if the images are the frames of a video"
    if args.alert_command or args.snapshots:
        raise FacemaskError(
            f"{args.source}: alerts expect a video, in which a face is seen for some time, found a"
            f" folder of images; {remedy}"
        )
    announce(f"counting the faces of each image by itself; {remedy}")


def _add_source_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "-s",
        "--source",
        default="0",
        metavar="SOURCE",
        help="camera number, video file, folder of images or URL (camera %(default)s)",
    )
    add(
        "--every",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="process only each N-th frame of a file or folder (%(default)s)",
    )
    add("--loop", action="store_true", help="start a file or folder again at its end")
    add(
        "--reconnect",
        type=number_above(-1e-9),
        default=RECONNECT_S,
        metavar="SECONDS",
        help="how long to try to reopen a camera or stream that gives no more frames"
        " (%(default)g; 0: the run ends)",
    )


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--track",
        action=argparse.BooleanOptionalAction,
        help="track faces from frame to frame and label each by its last second (the default, but"
        " for folders of images), or label each frame by itself",
    )
    add(
        "--classify-every-frame",
        action="store_true",
        help="classify each face in every frame, and not only while its label is unsure, when its"
        " box or confidence changes, and every 0.5 seconds",
    )
    add(
        "--detect-every-frame",
        action="store_true",
        help="look for faces in every frame of a file, and not only in each fourth and where faces"
        " come or go",
    )
    add(
        "-o",
        "--output",
        type=file_with_suffix(*VIDEO_SUFFIXES),
        metavar="FILE",
        help=f"write the annotated video: {', '.join(VIDEO_SUFFIXES[:-1])} or {VIDEO_SUFFIXES[-1]}",
    )
    add(
        "--json",
        type=file_with_suffix(".jsonl", ".json"),
        metavar="FILE",
        help="write the faces and labels, a line for each frame",
    )
    add(
        "--csv",
        type=file_with_suffix(".csv"),
        metavar="FILE",
        help="write a row for each face that is counted, those tracked for at least 0.5 seconds"
        " or, of a folder of images, each: its times, its label, and the label's share of its"
        " frames",
    )


def _add_alert_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--alert-command",
        type=command,
        default=[],
        metavar="COMMAND",
        help="program to run, with its arguments and without a shell, when a face has been seen"
        " without a properly worn mask; it finds FACEMASK_LABEL, FACEMASK_TRACK, FACEMASK_TIME,"
        " FACEMASK_TIME_S and, with --snapshots, FACEMASK_SNAPSHOT in its environment",
    )
    add(
        "--alert-labels",
        nargs="+",
        default=[],
        metavar="LABEL",
        help="the model's classes that alerts are for (all but a properly worn mask)",
    )
    add(
        "--alert-after",
        type=number_above(-1e-9),
        default=ALERT_AFTER_S,
        metavar="SECONDS",
        help="how long the face must have been so (%(default)g)",
    )
    add(
        "--alert-cooldown",
        type=number_above(0),
        default=ALERT_COOLDOWN_S,
        metavar="SECONDS",
        help="shortest time between two alerts (%(default)g)",
    )
    add(
        "--snapshots",
        type=Path,
        metavar="DIR",
        help="save a picture of the face for each alert: personal data, so off by default",
    )
    add(
        "--unblurred-snapshots",
        action="store_true",
        help="save snapshots with --blur too; the face in them is not blurred",
    )


def _add_page_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--serve",
        type=serve_address,
        metavar="[HOST:]PORT",
        help="show the annotated picture, counts and alerts on a web page, to this machine alone"
        " unless HOST is another address; needs requirements-web.txt",
    )
    parser.add_argument(
        "--serve-token",
        metavar="TOKEN",
        help="what viewers of the page need, at least 16 letters or digits (the environment"
        f" variable {TOKEN_VARIABLE}, which other users can't see; by default one is made and"
        " printed, or none for this machine alone)",
    )


def serve_address(text: str) -> tuple[str, int]:
    """Argument type: host and port of [HOST:]PORT; without a host that of this machine alone."""
    try:
        return parse_address(f"{LOOPBACK}:{text}" if text.isdecimal() else text)
    except FacemaskError as error:
        raise argparse.ArgumentTypeError(
            f"expected [HOST:]PORT, with a port from 1 to 65535, found {text!r}"
        ) from error


def command(text: str) -> list[str]:
    """Argument type: a program that can be run and its arguments, for a run without a shell.

    Quotes and backslashes work as in a shell; |, >, $NAME and * have no special meaning.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"can't read the command {text!r}: {error}") from error
    if not words:
        raise argparse.ArgumentTypeError(f"expected a program and its arguments, found {text!r}")
    if shutil.which(words[0]) is None:
        raise argparse.ArgumentTypeError(f"expected a program that can be run, found {words[0]!r}")
    return words
