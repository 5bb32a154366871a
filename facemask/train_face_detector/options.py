"""The arguments and the settings of `python -m facemask.train_face_detector`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from facemask.detect.builtin import LONGER_SIDE
from facemask.files import PROJECT, find, real_path
from facemask.options import ArgumentParser, Paths, file_with_suffix, number_above, whole_number

COMMAND = "facemask.train_face_detector"

# Every default that can be changed on the command line, and the batches. The optimizer is in
# trainer.py, the random crops in samples.py, the layers in network.py, the assignment of anchor
# points in targets.py, YuNet's thresholds in pseudo_labels.py, the sizes of a split in loading.py.
EPOCHS = 64
STEPS = 100  # batches of an epoch
BATCH_SIZE = 16
LEARNING_RATE = 1e-3
SEED = 42
# Pixels of a batch's crops. One in LARGE_EVERY batches has larger ones, or faces that fill an image
# would never be trained on.
CROP_SIZE, LARGE_CROP_SIZE = 320, LONGER_SIDE
LARGE_EVERY = 8
# The options that a checkpoint records, and must be the same to resume; and those of the card.
RUN_SETTINGS = ("epochs", "steps", "batch_size", "learning_rate", "seed")
SETTINGS = (*RUN_SETTINGS, "stop_after", "start", "blend")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(
        prog=f"python -m {COMMAND}", description="Train the built-in face detector."
    )
    _add_data_arguments(parser)
    _add_recipe_arguments(parser)
    args = parser.parse_args(argv)
    return args


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """The photographs, the split, and the files to write."""
    add = parser.add_argument
    add(
        "--scenes", required=True, nargs="+", action=Paths, metavar="DIR",
        help="folders of photographs with annotated faces (Pascal VOC, YOLO or COCO)",
    )  # fmt: skip
    add(
        "--detected", nargs="+", action=Paths, default=[], metavar="DIR",
        help="the same, but a detector made the boxes: those that YuNet does not find are ignored",
    )  # fmt: skip
    add(
        "-d", "--dataset", nargs="+", action=Paths, default=[], metavar="DIR",
        help="folders of portraits, whose faces YuNet finds",
    )  # fmt: skip
    add(
        "--video", nargs="+", action=Paths, default=[], metavar="FILE",
        help="videos, some of whose frames are trained on; YuNet finds their faces too",
    )  # fmt: skip
    add(
        "--split", type=Path, default=Path("pretrained/mask_detector.split.json"), metavar="FILE",
        help="which photographs are for training, validation and test, as train_mask_detector.py"
        " writes it (%(default)s); others get a part here, and all are written beside the detector,"
        " so that evaluation leaves out those that were trained on",
    )  # fmt: skip
    add(
        "--labels", type=Path, default=Path("face_labels"), metavar="DIR",
        help="folder that keeps the faces YuNet finds, by photograph: they are computed once"
        " (%(default)s)",
    )  # fmt: skip
    add(
        "-f", "--face", default="face_detector", metavar="DIR",
        help="folder with YuNet's weights (%(default)s)",
    )  # fmt: skip
    add(
        "-o", "--output", type=file_with_suffix(".tflite"),
        default=PROJECT / "face_detector" / "builtin.tflite", metavar="FILE",
        help="detector to write; its plot, its card and the checkpoint are written beside it"
        " (face_detector/builtin.tflite)",
    )  # fmt: skip
    add(
        "--compare", nargs="+", type=Path, default=[], metavar="FILE",
        help="other detectors of this command, which the card's tables show beside the new one",
    )  # fmt: skip
    add(
        "--keep-weights", type=file_with_suffix(".weights.h5"), metavar="FILE",
        help="also write the trained weights for Keras, a .weights.h5 file, for --start",
    )  # fmt: skip


def _add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """The training."""
    add, count = parser.add_argument, whole_number(1)
    add(
        "--epochs", type=whole_number(0), default=EPOCHS,
        help="(%(default)s); 0 calibrates, measures and exports the weights at the start",
    )  # fmt: skip
    add(
        "--stop-after", type=count, metavar="EPOCHS",
        help="end after this many epochs; the learning rate still falls as for all --epochs",
    )  # fmt: skip
    add("--steps", type=count, default=STEPS, help="batches of an epoch (%(default)s)")
    add("--batch-size", type=count, default=BATCH_SIZE, help="(%(default)s)")
    add("--learning-rate", type=number_above(0), default=LEARNING_RATE, help="(%(default)s)")
    add("--seed", type=whole_number(0), default=SEED, help="of random numbers (%(default)s)")
    add(
        "--start", type=Path, metavar="FILE",
        help="start from weights that --keep-weights wrote, instead of YuNet's: to train further on"
        " your own scenes, for example",
    )  # fmt: skip
    add(
        "--blend", type=number_above(0, below=1), metavar="RATIO",
        help="at the end, mix the weights, by this ratio, with those at the start",
    )  # fmt: skip
    add("--resume", action="store_true", help="continue from the checkpoint of an earlier run")


def command_line(args: argparse.Namespace) -> str:
    """The command, without its settings. Folders appear by name: a path tells of the machine."""
    sources = {
        "--scenes": args.scenes,
        "--detected": args.detected,
        "--dataset": args.dataset,
        "--video": args.video,
        "--compare": args.compare,
    }
    words = ["python", "-m", COMMAND]
    for option, paths in sources.items():
        words += [option, *(real_path(find(path)).name for path in paths)] if paths else []
    return " ".join(words)


def settings(args: argparse.Namespace) -> dict[str, object]:
    """The settings that the card records; files appear by name."""
    values = {name: getattr(args, name) for name in SETTINGS}
    return {
        name: value.name if isinstance(value, Path) else value
        for name, value in values.items()
        if value is not None
    }


def batch_shapes(batch_size: int) -> list[tuple[int, int]]:
    """The crop size and the number of crops of batches, which take turns.

    Large crops are fewer, so that a batch has about as many pixels.
    """
    usual = (CROP_SIZE, batch_size)
    large = (LARGE_CROP_SIZE, max(1, round(batch_size * (CROP_SIZE / LARGE_CROP_SIZE) ** 2)))
    # From the first two, Keras learns which sides vary.
    return [usual, large, *[usual] * (LARGE_EVERY - 2)]
