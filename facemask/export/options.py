"""The arguments of `python -m facemask.export`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from facemask.files import find
from facemask.options import ArgumentParser, Paths, add_detector_arguments, file_with_suffix
from facemask.train.export import QUANTIZATIONS

COMMAND = "facemask.export"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(
        prog=f"python -m {COMMAND}",
        description="Write the TFLite export of a trained model, which is smaller and faster.",
    )
    add = parser.add_argument
    add("-m", "--model", type=Path, default=Path("mask_detector.keras"), help="(%(default)s)")
    add(
        "--quantize", choices=QUANTIZATIONS, default="dynamic",
        help="dynamic (the default) computes most of it in whole numbers, in two thirds of the time"
        " and a third of the size, with nearly the same answers; int8 all of it, faster still and"
        " less exactly, with ranges from --images; float16 halves the file",
    )  # fmt: skip
    add(
        "-i", "--images", nargs="+", action=Paths, default=[], metavar="DIR",
        help="for int8: folders of photographs with faces; of those that the model was trained on,"
        " if its split is beside it",
    )  # fmt: skip
    add_detector_arguments(parser)
    add(
        "-o", "--output", type=file_with_suffix(".tflite"), metavar="FILE",
        help="default: beside the model, where the detection scripts look for it",
    )  # fmt: skip
    args = parser.parse_args(argv)
    if args.quantize == "int8" and not args.images:
        parser.error("--quantize int8 needs photographs: --images")
    args.output = args.output or find(args.model).with_suffix(".tflite")
    return args
