"""The arguments of `python -m facemask.evaluate`, with the reasons for their defaults."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facemask.options import (
    DETECTORS,
    MODEL_HELP,
    ArgumentParser,
    Paths,
    add_merge_argument,
    fraction,
    whole_number,
)

COMMAND = "python -m facemask.evaluate"
FACE_FOLDER = "face_detector"
CONFIDENCE = 0.5  # as of the scripts, whose labels are measured
MIN_FACE_PX = 24  # of narrower faces many labels are a guess; the figures by width have them
OUTPUT = Path("evaluation")
# More lines than this on what was skipped are found in evaluation.json alone.
MAX_PROBLEMS = 5


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; by default, that of this process. Exits with 2 if it is wrong."""
    parser = ArgumentParser(
        prog=COMMAND,
        description="Measure mask detectors on class folders, on annotated scenes, and by group of"
        " people, all on the same images. Images that one of them was trained on, as the"
        " .split.json beside it says, are left out. Writes table.md, evaluation.json, and pictures:"
        " a confusion matrix for each figure, and sheets of the most confident mistakes, which show"
        " people's faces.",
    )
    add = parser.add_argument
    add(
        "-m",
        "--model",
        nargs="+",
        action=Paths,
        default=[None],
        metavar="FILE",
        help=MODEL_HELP,
    )
    _add_data(parser)
    add_merge_argument(parser)
    add("-f", "--face", metavar="DIR", help=f"folder with face detectors' weights ({FACE_FOLDER})")
    add(
        "--detector",
        nargs="+",
        choices=DETECTORS[1:],
        help="what finds the faces; all are measured, and the first crops the images of --dataset"
        " (all whose weights are available)",
    )
    add(
        "-c",
        "--confidence",
        type=fraction,
        default=CONFIDENCE,
        help="faces of more detector confidence than this count (%(default)s)",
    )
    add(
        "--min-face",
        type=whole_number(1),
        default=MIN_FACE_PX,
        metavar="PX",
        help="width of the annotated faces that are classified in their own boxes; the figures by"
        " width are of all (%(default)s)",
    )
    add(
        "-o",
        "--output",
        type=Path,
        default=OUTPUT,
        metavar="DIR",
        help="folder to write to (%(default)s)",
    )
    add("--include-seen", action="store_true", help="keep images that a model was trained on")
    add("--no-pictures", action="store_true", help="write no sheets of mistakes")
    args = parser.parse_args(argv)
    if not (args.dataset or args.scenes or args.groups):
        parser.error("expected --dataset, --scenes or --groups, found none")
    if args.groups_csv and not args.groups:
        parser.error("--groups-csv needs the folders of its faces, --groups")
    return args


def _add_data(parser: argparse.ArgumentParser) -> None:
    """Add what the models are measured on."""
    add = parser.add_argument
    folders: dict[str, Any] = {"nargs": "+", "action": Paths, "default": [], "metavar": "DIR"}
    add("-d", "--dataset", help="folders with a sub-folder of images for each class", **folders)
    add(
        "--scenes",
        help="folders of photographs with annotated faces (Pascal VOC, YOLO or COCO)",
        **folders,
    )
    add(
        "--groups",
        help="folders of faces whose names tell groups of people, AGE_GENDER_RACE_NUMBER as in"
        " UTKFace: errors by group, on the faces as they are, and with masks drawn on",
        **folders,
    )
    add(
        "--groups-csv",
        type=Path,
        metavar="FILE",
        help="CSV file that tells the groups of the faces in --groups instead: a column file or"
        " sha256, columns such as age or kind and, if wanted, label and the box x1, y1, x2, y2",
    )
