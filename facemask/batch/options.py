"""The arguments of detect_mask_image.py, with the reasons for their defaults."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from facemask.addresses import parse_address
from facemask.console import info, progress
from facemask.errors import FacemaskError
from facemask.files import check_writable
from facemask.options import (
    ArgumentParser,
    Paths,
    add_blur_argument,
    add_detection_arguments,
    file_with_suffix,
    number_above,
    whole_number,
)

T = TypeVar("T")

MANY_IMAGES = 10  # more images take seconds: they get a progress bar, and networks made for many
# The largest photographs of phones and cameras have 16,320 x 12,240 pixels; see images.MAX_PIXELS,
# which is the same number. Not imported: it needs OpenCV.
MAX_MEGAPIXELS = 200
MOST_MEGAPIXELS = 2**30 / 1e6  # OpenCV supports no larger images
PART_SIZE = 100  # images: a killed worker loses seconds of work, and parts stay few
MAX_WORKERS = 4096  # a typing error such as 80000 would fill the machine


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line; by default, that of this process. Exits with 2 if it is wrong."""
    parser = ArgumentParser(description="Detect face masks in images.")
    add = parser.add_argument
    add(
        "-i",
        "--image",
        required=True,
        nargs="+",
        action=Paths,
        metavar="PATH",
        help="images, or folders of them; with an engine also URLs such as s3://bucket/folder",
    )
    add_detection_arguments(parser)
    add(
        "--max-megapixels",
        type=number_above(0, MOST_MEGAPIXELS),
        default=MAX_MEGAPIXELS,
        metavar="N",
        help="report larger images as errors instead of decoding them, which takes 10 to 16 MB of"
        " memory for each megapixel (%(default)s)",
    )
    add(
        "-o",
        "--output",
        type=Path,
        metavar="PATH",
        help="write the annotated image there; for several images or a folder: a folder",
    )
    add_blur_argument(parser)
    add("--json", type=file_with_suffix(".json"), metavar="FILE", help="write faces and labels")
    add("--csv", type=file_with_suffix(".csv"), metavar="FILE", help="write the same as a table")
    add("--no-display", action="store_true", help="open no window")
    _add_engine_arguments(parser)
    args = parser.parse_args(argv)
    _check_engine_arguments(parser, args)
    args.max_pixels = int(args.max_megapixels * 1e6)
    args.part_size = args.part_size or PART_SIZE
    return args


def check_files(args: argparse.Namespace, outputs: Sequence[Path] = ()) -> None:
    """Choose the model file, and check it and the outputs, before anything is loaded.

    outputs: of the annotated images; one in each folder is tried.
    Raises FacemaskError for a file that can be no model and an output that can't be written, and
    UsageError for arguments that the model does not suit.
    """
    from facemask.detect.classifier import check_model_file  # needs NumPy
    from facemask.detect.model_choice import class_names, describe_model, find_model

    one_in_each_folder = {output.parent: output for output in outputs}
    check_writable(*one_in_each_folder.values(), *(file for file in (args.json, args.csv) if file))
    model = find_model(args.model)
    check_model_file(model)
    class_names(model, args.merge_incorrect)
    if args.model is None:
        info(describe_model(model))
    args.model = model


def show_progress(items: Iterable[T], total: int) -> Iterable[T]:
    """The items; if they are many, with a progress bar or with lines in a log."""
    return progress(items, total, "images") if total > MANY_IMAGES else items


def _add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--engine",
        choices=("local", "dask"),
        default="local",
        help="what labels the images: this process, or Dask workers, which write --parts"
        " (%(default)s)",
    )
    add("--parts", metavar="DIR", help="folder or URL that the engine's workers write to")
    part_help = f"images in each part ({PART_SIZE})"
    add("--part-size", type=whole_number(1), metavar="N", help=part_help)
    add(
        "--workers",
        type=whole_number(1, MAX_WORKERS),
        metavar="N",
        help="worker processes to start on this machine (one for each core)",
    )
    add(
        "--engine-address",
        type=_scheduler_address,
        metavar="HOST:PORT",
        help="scheduler of a running cluster, whose workers are used instead",
    )


def _scheduler_address(text: str) -> str:
    """Argument type: HOST:PORT, also with tcp:// or tls:// before it."""
    try:
        parse_address(text.removeprefix("tcp://").removeprefix("tls://"))
    except FacemaskError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from problem
    return text


def _check_engine_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    local_only = ("output", "blur", "json", "csv", "timings")
    engine_only = ("parts", "part_size", "workers", "engine_address")
    unusable = engine_only if args.engine == "local" else local_only
    given = [f"--{name.replace('_', '-')}" for name in unusable if getattr(args, name)]
    if given and args.engine == "local":
        parser.error(f"argument {given[0]}: expected --engine dask with it")
    if given:
        parser.error(f"argument {given[0]}: not with --engine {args.engine}, which writes --parts")
    if args.engine != "local" and not args.parts:
        parser.error(f"argument --engine {args.engine}: expected --parts with it")
    if args.workers and args.engine_address:
        parser.error("argument --workers: not with --engine-address, whose cluster has its own")
