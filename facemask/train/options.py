"""The arguments and the settings of train_mask_detector.py."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemask.addresses import check_addresses
from facemask.errors import FacemaskError, check_installed
from facemask.options import (
    ArgumentParser,
    Paths,
    add_detector_arguments,
    file_with_suffix,
    number_above,
    whole_number,
)
from facemask.train.backbones import BACKBONES

if TYPE_CHECKING:
    from facemask.train.distribution import Processes
    from facemask.train.stages import Outputs

# Every default that can be changed on the command line. The head is in model.py, the augmentation
# in data/augmentation.py, and what early stopping waits for in fit.py.
BACKBONE = "mobilenet_v2"  # as in the tutorial
EPOCHS = 20  # of the head, as in the tutorial
# The classic photographs show one kind of mask: fine-tuning on them alone makes the model worse.
FINE_TUNE_EPOCHS = 0
BATCH_SIZE = 32  # as in the tutorial
LEARNING_RATE = 1e-4  # of the head, as in the tutorial
FINE_TUNE_RATE = 2e-4  # of the whole network; falls to zero along a cosine
TEST_SIZE = 0.2  # as in the tutorial
# The margin around face boxes. benchmarks/choose_margin.py compares margins.
MARGIN = 0.1
# Pixels a side of the square that faces are stretched to. The tutorial's 224 takes 2.4 times as
# long and was not more accurate on photographs of other collections: most faces are smaller.
INPUT_SIZE, CLASSIC_INPUT_SIZE = 128, 224
SEED = 42
CLUSTER_TIMEOUT = 300  # seconds; some machines start more slowly than others
# The options that are recorded; see settings_of. No paths: they describe the user's machine.
SETTINGS = (
    "backbone", "classic", "three_classes", "split", "crop_faces", "detector", "margin",
    "input_size", "feature_cache", "epochs", "early_stopping", "fine_tune_epochs", "batch_size",
    "learning_rate", "fine_tune_rate", "test_size", "seed", "quantize",
)  # fmt: skip


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options, with the defaults that depend on --classic filled in."""
    parser = ArgumentParser(description="Train a face mask detector on labelled images.")
    _add_data_arguments(parser)
    _add_recipe_arguments(parser)
    _add_run_arguments(parser)
    args = parser.parse_args(argv)
    if (args.cluster is None) != (args.worker is None):
        parser.error("--cluster and --worker belong together")
    if args.cluster:
        try:
            check_addresses(args.cluster, args.worker)
        except FacemaskError as error:
            parser.error(str(error))
    if args.classic and (args.crop_faces or args.scenes):
        parser.error("--classic trains on whole images: not with --crop-faces or --scenes")
    if args.three_classes and not args.scenes:
        parser.error("--three-classes learns the third class from --scenes, which is missing")
    if args.crop_faces is None:
        args.crop_faces = not args.classic
    if args.early_stopping is None:
        args.early_stopping = not args.classic
    if args.input_size is None:
        args.input_size = CLASSIC_INPUT_SIZE if args.classic else INPUT_SIZE
    if args.classic:
        args.margin = 0.0  # there are no boxes to enlarge
    # A backbone with random weights is trained together with the head.
    args.feature_cache &= not args.classic and args.weights != "none"
    return args


def check_files(args: argparse.Namespace, processes: "Processes") -> "Outputs":
    """The files to write, after a check of them and of the inputs, before anything is loaded.

    Raises FacemaskError for an input that is missing, and an output that can't be written.
    """
    from facemask.data.loading import check_inputs  # needs NumPy
    from facemask.detect.yunet import YuNetFaceDetector
    from facemask.files import find
    from facemask.train.stages import Outputs

    check_installed("keras")
    if args.three_classes:
        YuNetFaceDetector.load(find(args.face))
    check_inputs(args.dataset, args.scenes, args.split, download=not args.dry_run)
    outputs = Outputs(args.model, args.plot, args.report, args.tensorboard)
    outputs.check(processes, make_folders=not args.dry_run)
    return outputs


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """The options that a model file, a report and a checkpoint record."""
    settings = {name: getattr(args, name) for name in SETTINGS}
    return settings | {"split": Path(args.split).name}


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """The images, the faces in them, the split, and the files to write."""
    add = parser.add_argument
    add(
        "-d", "--dataset", required=True, nargs="+", action=Paths, metavar="DIR",
        help="folders with a sub-folder of images for each class",
    )  # fmt: skip
    add(
        "--scenes", nargs="+", action=Paths, default=[], metavar="DIR",
        help="folders of photographs with annotated faces (Pascal VOC, YOLO or COCO) to train on as"
        " well",
    )  # fmt: skip
    add(
        "--three-classes", action="store_true",
        help="learn mask_weared_incorrect too: from --scenes that have such faces, and from masks"
        " drawn onto bare faces of the training part, which YuNet finds",
    )  # fmt: skip
    add(
        "-p", "--plot", type=file_with_suffix(".png", ".jpg", ".svg", ".pdf"), default="plot.png",
        help="plot of the training to write (%(default)s)",
    )  # fmt: skip
    add(
        "-m", "--model", type=file_with_suffix(".keras"), default="mask_detector.keras",
        help="model to write, a .keras file (%(default)s)",
    )  # fmt: skip
    add_detector_arguments(parser)
    add(
        "--crop-faces", action=argparse.BooleanOptionalAction,
        help="train on the faces that the face detector finds (the default without --classic);"
        " images without a face, or with several, are used whole",
    )  # fmt: skip
    add(
        "--margin", type=number_above(-0.001, below=2), default=MARGIN,
        help="enlarge face boxes on each side by this ratio of their size (%(default)s)",
    )  # fmt: skip
    add(
        "--input-size", type=int, choices=(96, 128, 160, 192, 224),
        help="pixels a side of the square that faces are stretched to"
        f" ({INPUT_SIZE}; with --classic {CLASSIC_INPUT_SIZE})",
    )  # fmt: skip
    add(
        "--split", default="grouped", metavar="{grouped,random,FILE}",
        help="how test images are chosen: never a near-duplicate of a training image, at random,"
        " or as in a file that an earlier run wrote, and anew for images that it lacks"
        " (%(default)s)",
    )  # fmt: skip
    add(
        "--test-size", type=number_above(0, below=1), default=TEST_SIZE,
        help="fraction of the images that is kept for the report (%(default)s)",
    )  # fmt: skip
    add(
        "--cache", type=Path, metavar="DIR",
        help="keep decoded images there, three bytes a pixel, for this run and later ones",
    )  # fmt: skip


def _add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """The network, and how it is trained."""
    add, flag = parser.add_argument, argparse.BooleanOptionalAction
    add(
        "--backbone", "--base", choices=tuple(BACKBONES), default=BACKBONE, metavar="NAME",
        help=f"network under the head: {', '.join(BACKBONES)} (%(default)s)",
    )  # fmt: skip
    add(
        "--weights", default="imagenet", metavar="{imagenet,none,PATH}",
        help="initial weights of the backbone: those of ImageNet, which Keras downloads once,"
        " random ones, or a file: HDF5 of that backbone without its top, or a .keras model that"
        " was trained here (%(default)s)",
    )  # fmt: skip
    add(
        "--classic", action="store_true",
        help="the tutorial's recipe: whole images, its augmentation, all epochs, equal weights",
    )  # fmt: skip
    add(
        "--epochs", type=whole_number(1), default=EPOCHS,
        help="epochs in which the head is trained, at most (%(default)s)",
    )  # fmt: skip
    add(
        "--early-stopping", action=flag,
        help="end the head's training when the validation loss no longer falls, and keep the best"
        " weights (the default without --classic)",
    )  # fmt: skip
    add(
        "--fine-tune-epochs", type=whole_number(0), default=FINE_TUNE_EPOCHS,
        help="further epochs, in which the whole backbone is trained (%(default)s)",
    )  # fmt: skip
    add(
        "--feature-cache", action=flag, default=True,
        help="train the head on features of the images and of some augmented views, computed"
        " once (the default), instead of in each epoch as the tutorial does",
    )  # fmt: skip
    add(
        "--batch-size", type=whole_number(1), default=BATCH_SIZE,
        help="images a step (%(default)s)",
    )  # fmt: skip
    add(
        "--learning-rate", type=number_above(0), default=LEARNING_RATE,
        help="of the Adam optimizer, for the head (%(default)s)",
    )  # fmt: skip
    add(
        "--fine-tune-rate", type=number_above(0), default=FINE_TUNE_RATE,
        help="the same for fine-tuning, where it falls to zero (%(default)s)",
    )  # fmt: skip
    add(
        "--mixed-precision", action=flag,
        help="compute in float16 while the whole network is trained (the default on a GPU that"
        " supports it; much slower on a CPU)",
    )  # fmt: skip
    add(
        "--seed", type=whole_number(0), default=SEED,
        help="the same seed gives the same split and, with the same libraries on the same machine,"
        " the same figures (%(default)s)",
    )  # fmt: skip


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """What the run writes beside the model, and where it runs."""
    add = parser.add_argument
    add(
        "--quantize", choices=("none", "float16", "dynamic", "int8"), default="none",
        help="numbers in the .tflite model that is written beside the .keras one (%(default)s:"
        " float32); see python -m facemask.export --help",
    )  # fmt: skip
    add(
        "--resume", action="store_true",
        help="continue after the last whole epoch of this same command, however it ended",
    )  # fmt: skip
    add(
        "--dry-run", action="store_true",
        help="check the data set, build the model, train on one batch; write and download nothing",
    )  # fmt: skip
    add(
        "--report", type=file_with_suffix(".json"), metavar="FILE",
        help="write figures, curves, settings and data of the training, a .json file",
    )  # fmt: skip
    add(
        "--tensorboard", type=Path, metavar="DIR",
        help="write the curves for TensorBoard during the training",
    )  # fmt: skip
    add(
        "--cluster", nargs="+", metavar="HOST:PORT",
        help="train together with other processes or machines, each of which runs this command with"
        " the same addresses and images and its own --worker; worker 0 writes the model",
    )  # fmt: skip
    add(
        "--worker", type=whole_number(0), metavar="N",
        help="number of this process among them, from 0",
    )  # fmt: skip
    add(
        "--cluster-timeout", type=number_above(0), default=CLUSTER_TIMEOUT, metavar="SECONDS",
        help="how long to wait for the others to start (%(default)g)",
    )  # fmt: skip
