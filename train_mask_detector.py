"""Train a face mask detector on folders of labelled images.

    python train_mask_detector.py --dataset dataset

The sub-folders of a data set are the classes (with_mask, without_mask). Writes the model, with
its class names inside it, the split of the images beside it, and a plot of the training.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemask.console import info, run, warn
from facemask.errors import FacemaskError
from facemask.files import PROJECT, check_writable, find
from facemask.options import (
    ArgumentParser,
    add_detector_arguments,
    check_addresses,
    file_with_suffix,
    number_above,
    whole_number,
)
from facemask.train.backbones import BACKBONES

if TYPE_CHECKING:
    from facemask.data.dataset import LabelledImages
    from facemask.data.splits import Split
    from facemask.train.checkpoint import Checkpoint, History
    from facemask.train.cluster import Cluster

# Everything to turn. The networks are in facemask/bases.py, the head in facemask/training.py, what
# changes the images while training in facemask/augmentation.py.
BASE = "mobilenet_v2"  # the tutorial's
EPOCHS = 20  # of the head; the tutorial's
FINE_TUNE_EPOCHS = 0
VIEWS = 3  # augmented views of each image that the head is trained on, beside itself
BATCH_SIZE = 32
LEARNING_RATE = 1e-4  # of the head; the tutorial's
FINE_TUNE_RATE = 2e-4  # of the whole network; falls to zero along a cosine
TEST_SIZE = 0.2
# Of the images that are left after the test part. The tutorial watched its test images while
# training; here the curves, the best epoch and the temperature come from images that neither the
# training nor the report uses.
VALIDATION_SIZE = 0.1
# How far face boxes are grown on each side before cropping.
MARGIN = 0.1
# Pixels, of the square that faces are stretched to. The tutorial's 224 takes 2.4 times as long and
# was no better on photographs of other collections; most faces at use have fewer pixels anyway.
INPUT_SIZE, CLASSIC_INPUT_SIZE = 128, 224
SEED = 42
CLUSTER_TIMEOUT = 300  # seconds; some machines start more slowly than others
# Training images that int8 takes the ranges of its numbers from.
CALIBRATION_IMAGES = 200
# What a model file tells of its training; no path, which would tell of the machine.
SETTINGS = (
    "base", "classic", "split", "crop_faces", "detector", "margin", "input_size", "feature_cache",
    "epochs", "early_stopping", "fine_tune_epochs", "batch_size", "learning_rate", "fine_tune_rate",
    "test_size", "seed", "quantize",
)  # fmt: skip


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description="Train a face mask detector on labelled images.")
    add = parser.add_argument
    add(
        "-d",
        "--dataset",
        required=True,
        nargs="+",
        metavar="DIR",
        help="folders with a sub-folder of images for each class",
    )
    add(
        "--scenes",
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of photographs with annotated faces (Pascal VOC XML) to train on as well",
    )
    add(
        "-p",
        "--plot",
        type=file_with_suffix(".png", ".jpg", ".svg", ".pdf"),
        default="plot.png",
        help="picture of the training to write (%(default)s)",
    )
    add(
        "-m",
        "--model",
        type=file_with_suffix(".keras"),
        default="mask_detector.keras",
        help="model to write, a .keras file (%(default)s)",
    )
    add_detector_arguments(parser)
    add(
        "--crop-faces",
        action=argparse.BooleanOptionalAction,
        help="train on the faces that the face detector finds (the default, but for --classic);"
        " images without one, or with several, are used whole",
    )
    add(
        "--margin",
        type=number_above(-0.001, below=2),
        default=MARGIN,
        help="grow face boxes by this part of their size on each side (%(default)s)",
    )
    add(
        "--input-size",
        type=int,
        choices=(96, 128, 160, 192, 224),
        help=f"pixels across that faces are stretched to ({INPUT_SIZE}; with --classic"
        f" {CLASSIC_INPUT_SIZE})",
    )
    add(
        "--split",
        default="grouped",
        metavar="{grouped,random,FILE}",
        help="how test images are chosen: never a near-duplicate of a training image, at random,"
        " or as a file says that an earlier run wrote (%(default)s)",
    )
    add(
        "--base",
        choices=tuple(BACKBONES),
        default=BASE,
        metavar="BASE",
        help=f"network under the head: {', '.join(BACKBONES)} (%(default)s)",
    )
    add(
        "--classic",
        action="store_true",
        help="the tutorial's recipe: whole images, its augmentation, every epoch, plain weights",
    )
    add(
        "--epochs",
        type=whole_number(1),
        default=EPOCHS,
        help="times that the head sees the images, at most (%(default)s)",
    )
    add(
        "--early-stopping",
        action=argparse.BooleanOptionalAction,
        help="end the head's training when the validation loss no longer falls, and keep the best"
        " weights (the default, but for --classic)",
    )
    add(
        "--fine-tune-epochs",
        type=whole_number(0),
        default=FINE_TUNE_EPOCHS,
        help="further epochs, in which all of the base learns (%(default)s)",
    )
    add(
        "--feature-cache",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="train the head on features of the images and of some augmented views, computed"
        " once (the default), instead of anew in each epoch as the tutorial does",
    )
    add(
        "--batch-size", type=whole_number(1), default=BATCH_SIZE, help="images a step (%(default)s)"
    )
    add(
        "--learning-rate",
        type=number_above(0),
        default=LEARNING_RATE,
        help="of the Adam optimizer, for the head (%(default)s)",
    )
    add(
        "--fine-tune-rate",
        type=number_above(0),
        default=FINE_TUNE_RATE,
        help="the same for fine-tuning, where it falls to zero (%(default)s)",
    )
    add(
        "--test-size",
        type=number_above(0, below=1),
        default=TEST_SIZE,
        help="fraction of the images that is kept for the report (%(default)s)",
    )
    add(
        "--seed",
        type=whole_number(0),
        default=SEED,
        help="the same seed gives the same split and figures (%(default)s)",
    )
    add(
        "--weights",
        default="imagenet",
        metavar="{imagenet,none,PATH}",
        help="what the base starts from: ImageNet's weights, which Keras fetches once, random ones,"
        " or a file: HDF5 of that base without its top, or a .keras model that was trained here"
        " (%(default)s)",
    )
    add(
        "--quantize",
        choices=("none", "float16", "int8"),
        default="none",
        help="numbers in the .tflite model that is written beside the .keras one (%(default)s:"
        " float32)",
    )
    add(
        "--mixed-precision",
        action=argparse.BooleanOptionalAction,
        help="calculate in float16 where the whole network learns (the default on a GPU made for"
        " it; much slower on a CPU)",
    )
    add(
        "--cache",
        type=Path,
        metavar="DIR",
        help="keep decoded images there, three bytes a pixel, for this run and later ones",
    )
    add(
        "--resume",
        action="store_true",
        help="go on after the last whole epoch of this very command, however it ended",
    )
    add(
        "--dry-run",
        action="store_true",
        help="check the data set, build the model, train on one batch, write nothing",
    )
    add(
        "--report",
        type=file_with_suffix(".json"),
        metavar="FILE",
        help="write figures, curves, settings and data of the training, a .json file",
    )
    add(
        "--tensorboard",
        type=Path,
        metavar="DIR",
        help="write the curves for TensorBoard as they grow",
    )
    add(
        "--cluster",
        nargs="+",
        metavar="HOST:PORT",
        help="train together with other processes or machines, each of which runs this command with"
        " the same addresses and images and a --worker of its own; worker 0 writes the model",
    )
    add("--worker", type=whole_number(0), metavar="N", help="this one's place among them, from 0")
    add(
        "--cluster-timeout",
        type=number_above(0),
        default=CLUSTER_TIMEOUT,
        metavar="SECONDS",
        help="how long to wait for the others to come (%(default)g)",
    )
    args = parser.parse_args(argv)
    if (args.cluster is None) != (args.worker is None):
        parser.error("--cluster and --worker belong together")
    if args.cluster:
        try:
            check_addresses(args.cluster, args.worker)
        except FacemaskError as problem:
            parser.error(str(problem))
    if args.classic and (args.crop_faces or args.scenes):
        parser.error("--classic trains on whole images: not with --crop-faces or --scenes")
    if args.crop_faces is None:
        args.crop_faces = not args.classic
    if args.early_stopping is None:
        args.early_stopping = not args.classic
    if args.input_size is None:
        args.input_size = CLASSIC_INPUT_SIZE if args.classic else INPUT_SIZE
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    # Imported once the arguments are known to be good: --help and a typo answer at once.
    from facemask.data import splits
    from facemask.data.batches import batches, each_input
    from facemask.data.image_cache import ImageCache, read_uncached
    from facemask.detect.metadata import ModelMetadata, weights_digest
    from facemask.evaluate.metrics import classification
    from facemask.sample_dataset.writer import is_sample_dataset
    from facemask.train import backbones, calibrate, cluster, report
    from facemask.train import fit as fit_module
    from facemask.train import model as model_module
    from facemask.train.checkpoint import Checkpoint, checkpoint_path
    from facemask.train.export import export_tflite

    split_file, twin = splits.split_path(args.model), args.model.with_suffix(".tflite")
    progress_file = checkpoint_path(args.model)
    reports = [args.report] if args.report else []
    if args.cluster:
        place = tuple(args.cluster), args.worker
    else:
        place = cluster.from_tf_config() or cluster.ALONE
    if place[1] == 0:
        check_writable(args.model, args.plot, split_file, twin, progress_file, *reports)
    if args.weights not in ("imagenet", "none"):
        args.weights = str(find(args.weights))
    backbones.check_weights(args.weights, args.base)
    if args.tensorboard:
        fit_module.check_tensorboard()
    folders = [find(folder) for folder in args.dataset]
    drawn = any(is_sample_dataset(folder) for folder in folders)
    margin = 0.0 if args.classic else args.margin
    size = (args.input_size, args.input_size)
    read = ImageCache(args.cache).read if args.cache else read_uncached

    with (
        cluster.join(*place, timeout_s=args.cluster_timeout) as group,
        tempfile.TemporaryDirectory(prefix="facemask-") as cuts,
    ):
        images = load_images(args, folders, Path(cuts))
        if drawn:
            warn("drawn sample: the model will know the drawings, not faces")
        split = split_images(args, images)
        settings = {name: str(vars(args)[name]) for name in SETTINGS}
        checkpoint = Checkpoint(
            progress_file,
            {
                "data": images.digest[:12],
                "parts": split.digest[:12],
                **{f"--{name.replace('_', '-')}": value for name, value in settings.items()},
                "--weights": args.weights,
            },
            writes=group.chief,
        )
        group.check_same("images", images.digest + split.digest)
        group.check_same("options", str(settings | {"weights": Path(args.weights).name}))
        if args.resume:
            if group.chief and not checkpoint.resume():
                info(f"{progress_file}: not there, so that the training begins anew")
            checkpoint.stages = json.loads(group.told(json.dumps(checkpoint.stages)))

        if group.size == 1 and (gpus := fit_module.gpu_count()) > 1:
            info(
                f"one of {gpus} GPUs is used; `python -m facemask.workers` runs this on all of them"
            )
        info("compiling model...")
        model_module.set_seed(args.seed)
        model = model_module.build_model(
            len(images.class_names), args.weights, size, base=args.base
        )
        stream = partial(
            batches, images, size=size, batch_size=args.batch_size, margin=margin, read=read
        )
        if args.dry_run:
            seconds = fit_module.train_one_batch(
                model, stream(split.train, augmentation=augmentation(args))
            )
            info(f"dry run: a batch of {args.batch_size} took {seconds:.1f} s; nothing was written")
            warn_of_skipped(images)
            return 0
        fitted = fit(args, model, images, split, stream, checkpoint, group)
        group.leave("interrupted" if fitted.interrupted else None)
        if not group.chief:
            return 130 if fitted.interrupted else 0
        if fitted.interrupted:
            warn(f"interrupted: the best weights so far are kept, of epoch {fitted.kept + 1}")
        temperature = 1.0
        if not args.classic:
            info("calibrating probabilities...")
            labels = images.labels[split.validation]
            temperature = calibrate.calibrate(fitted.network, fitted.validation, labels)

        info("evaluating network...")
        probabilities = calibrate.predict(fitted.network, fitted.test)
        labels = images.labels[split.test]
        print(calibrate.report(labels, probabilities.argmax(axis=1), images.class_names))
        names = [images.class_names[label] for label in labels]
        figures = classification(names, probabilities, images.class_names)

        info("saving mask detector model...")
        facts = ModelMetadata(
            class_names=images.class_names,
            input_size=size,
            margin=margin,
            training={
                "sources": images.source_names,
                "dataset_sha256": images.digest,
                "drawn_sample": drawn,
                "images": {name: len(getattr(split, name)) for name in splits.PARTS},
                "settings": settings,
                "temperature": round(temperature, 4),  # the weights have it in them already
                "test_accuracy": round(figures.accuracy, 4),
                "test_balanced_accuracy": round(figures.balanced_accuracy, 4),
                "test_calibration_error": round(figures.calibration_error, 4),
                "versions": model_module.versions(),
            },
        )
        model_module.save_model(args.model, model, facts)
        facts = replace(facts, twin_of=weights_digest(args.model))
        some = split.train[:: -(-len(split.train) // CALIBRATION_IMAGES)]
        export_tflite(twin, model, facts, args.quantize, each_input(stream(some)))
    splits.write_split(split_file, images, split, args.split, args.seed)
    report.plot_history(args.plot, fitted.curves, fitted.kept, figures)
    if args.report:
        report.write_report(
            args.report, args.model.name, facts.training, fitted.curves, fitted.kept, figures,
            images.skipped, fitted.interrupted,
        )  # fmt: skip
    low, high = figures.interval
    info(
        f"test accuracy {figures.accuracy:.4f} on {len(labels)} images (95 % interval {low:.4f} to"
        f" {high:.4f}), balanced {figures.balanced_accuracy:.4f}, calibration error"
        f" {figures.calibration_error:.4f}"
    )
    written = ", ".join([str(args.plot), *map(str, reports)])
    info(f"wrote {args.model}, {twin.name} and {split_file.name} beside it, and {written}")
    warn_of_skipped(images)
    if fitted.interrupted:
        info(f"the same command with --resume goes on from {progress_file}")
        return 130
    checkpoint.remove()
    return 0


def warn_of_skipped(images: "LabelledImages") -> None:
    if images.skipped:
        warn(f"skipped or mended, {len(images.skipped)}: {'; '.join(images.skipped)}")


def augmentation(args: argparse.Namespace) -> str:
    return "classic" if args.classic else "face"


@dataclass(frozen=True)
class Fitted:
    """What became of a training."""

    curves: "History"  # of the head, and then of fine-tuning
    kept: int  # the epoch among them, from 0 on, whose weights the model has
    interrupted: bool
    network: Any  # to be asked: the model or, where only the head was trained, that
    validation: Any  # what it takes of these images: themselves or their features
    test: Any


def fit(
    args: argparse.Namespace,
    model: Any,
    images: "LabelledImages",
    split: "Split",
    stream: Callable[..., Any],
    checkpoint: "Checkpoint",
    group: "Cluster",
) -> Fitted:
    """Train the head and, where asked for, all of the network, or go on doing so."""
    from tqdm import tqdm

    from facemask.data.dataset import balanced_weights
    from facemask.train import fit as fit_module
    from facemask.train import model as model_module
    from facemask.train.feature_cache import cached_head

    weights = None if args.classic else balanced_weights(images, split.train)
    augmented = partial(stream, split.train, augmentation=augmentation(args), weights=weights)
    shares = partial(augmented, shard=group.shard), stream(split.validation, shard=group.shard)
    # Where the base learns with the head, for want of weights, nothing of it can be computed ahead;
    # and several workers share the batches of images.
    ahead = args.feature_cache and not args.classic and args.weights != "none" and group.size == 1
    mixed = (
        fit_module.supports_mixed_precision()
        if args.mixed_precision is None
        else args.mixed_precision
    )
    train = partial(
        fit_module.train,
        early_stopping=args.early_stopping,
        checkpoint=checkpoint,
        mixed=mixed and group.size == 1,
        tensorboard=args.tensorboard if group.chief else None,
        group=group,
    )
    head, fine = "head", "fine-tuning"
    # What answers in the end, and what it takes of the validation and the test images.
    asked = model, stream(split.validation), stream(split.test)
    curves, interrupted = checkpoint.stages.get(head), False
    if curves is None or checkpoint.stage == head:
        learns = model, shares[0](seed=args.seed), shares[1]
        if ahead:
            info("computing features...")
            views = [stream(split.train, weights=weights)]
            views += [augmented(seed=args.seed + view) for view in range(VIEWS)]
            others = asked[1:2] if args.fine_tune_epochs else asked[1:]
            progress = partial(tqdm, disable=None, unit=" batches")
            network, seen, *others = cached_head(
                model, views, others, args.batch_size, args.seed, progress
            )
            learns = network, seen, others[0]
            if not args.fine_tune_epochs:  # then the test images have features as well
                asked = network, *others
        info("training head...")
        try:
            curves = train(
                *learns, stage=head, epochs=args.epochs, learning_rate=args.learning_rate
            )
        except fit_module.Interrupted as stopped:
            curves, interrupted = stopped.curves, True
    kept = fit_module.best_epoch(curves, best=args.early_stopping or interrupted)
    if args.fine_tune_epochs and not interrupted:
        info("fine-tuning...")
        model_module.unfreeze(model)
        before, best_before = len(curves["loss"]), curves["val_loss"][kept]
        seed = args.seed + (0 if ahead else VIEWS + 1)  # other views than the head has seen
        try:
            more = train(
                model, shares[0](seed=seed), shares[1], stage=fine, epochs=args.fine_tune_epochs,
                learning_rate=args.fine_tune_rate, decay=True, best_before=best_before,
            )  # fmt: skip
            kept = before + len(more["loss"]) - 1
        except fit_module.Interrupted as stopped:
            more, interrupted = stopped.curves, True
            if min(more["val_loss"], default=math.inf) < best_before:
                kept = before + fit_module.best_epoch(more, best=True)
        curves = {name: curve + more[name] for name, curve in curves.items()}
    return Fitted(curves, kept, interrupted, *asked)


def load_images(args: argparse.Namespace, folders: list[Path], cuts: Path) -> "LabelledImages":
    """The images of all sources, with the faces in them; those of scenes are cut into `cuts`."""
    from tqdm import tqdm

    from facemask.data import dataset, face_crops
    from facemask.data.pascal_voc import load_scenes
    from facemask.detect.registry import load_detector, resolve
    from facemask.downloads.fetch import ensure_dataset

    for folder in folders:
        if folder.resolve() == PROJECT / "dataset":
            ensure_dataset(folder, info)
    progress = partial(tqdm, disable=None, unit=" images")
    load = None
    if args.crop_faces:
        face = find(args.face)
        name = resolve(args.detector, face, info)
        info("loading face detector model...")
        load = partial(load_detector, name, face, threads=1, bulk=True)
        load()  # what is wrong with it shows before the images are read

    info("loading images...")
    images = dataset.load_labelled_images(folders, progress)
    if load:
        info("finding faces...")
        images = images.with_boxes(face_crops.find_faces(images, load, progress))
        found = sum(box is not None for box in images.boxes)
        info(f"found one face in {found} of {len(images)} images; the others are used whole")
    for number, folder in enumerate(map(find, args.scenes)):
        scenes = load_scenes(folder, progress)
        cut = face_crops.cut_faces(scenes, images.class_names, load, cuts / str(number), progress)
        info(f"{folder}: {len(cut)} crops of the faces in {len(scenes.scenes)} scenes")
        images = dataset.concatenate(images, cut)
    return images


def split_images(args: argparse.Namespace, images: "LabelledImages") -> "Split":
    """Training, validation and test parts, as --split says."""
    import numpy as np
    from tqdm import tqdm

    from facemask.data import splits
    from facemask.data.near_duplicates import count_twins, near_duplicate_groups

    if args.split not in ("grouped", "random"):
        return splits.repeated_split(images, find(args.split))
    # Faces of one photograph stay together in any case.
    _, groups = np.unique(images.digests, return_inverse=True)
    if args.split == "grouped":
        info("looking for near-duplicates...")
        progress = partial(tqdm, disable=None, unit=" steps")
        groups = near_duplicate_groups(images.originals, images.digests, progress)
        photographs = list({path: index for index, path in enumerate(images.originals)}.values())
        twins = count_twins(groups[photographs], [images.digests[index] for index in photographs])
        info(
            f"{len(photographs)} images make {twins.groups} groups: {twins.identical} are byte for"
            f" byte like another one, {twins.near} have a near-twin"
        )
    split = splits.split_images(images, groups, args.test_size, VALIDATION_SIZE, args.seed)
    counts = [f"{len(getattr(split, name))} for {name}" for name in splits.PARTS]
    info(f"images: {', '.join(counts)}")
    return split


if __name__ == "__main__":
    run(main)
