"""Train a face mask detector on folders of labelled images.

    python train_mask_detector.py --dataset dataset

The sub-folders of a data set are the classes (with_mask, without_mask). Writes the model, with
its class names inside it, the split of the images beside it, and a plot of the training.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemask.console import (
    ArgumentParser,
    add_detector_arguments,
    file_with_suffix,
    info,
    number_above,
    run,
    warn,
    whole_number,
)
from facemask.files import PROJECT, check_writable, find

if TYPE_CHECKING:
    from facemask.dataset import LabelledImages
    from facemask.splits import Split

# Everything to turn. The network itself and its head are in facemask/training.py, what changes
# the images while training in facemask/augmentation.py.
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
# Pixels, of the square that faces are stretched to. The tutorial's 224 takes 2.5 times as long and
# was no better on photographs of other collections; most faces at use have fewer pixels anyway.
INPUT_SIZE, CLASSIC_INPUT_SIZE = 128, 224
SEED = 42
# Training images that int8 takes the ranges of its numbers from.
CALIBRATION_IMAGES = 200
# What a model file tells of its training; no path, which would tell of the machine.
SETTINGS = (
    "classic", "split", "crop_faces", "detector", "margin", "input_size", "feature_cache", "epochs",
    "fine_tune_epochs", "batch_size", "learning_rate", "fine_tune_rate", "test_size", "seed",
    "quantize",
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
        "--fine-tune-epochs",
        type=whole_number(0),
        default=FINE_TUNE_EPOCHS,
        help="further epochs, in which all of MobileNetV2 learns (%(default)s)",
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
        help="what MobileNetV2 starts from (%(default)s)",
    )
    add(
        "--quantize",
        choices=("none", "float16", "int8"),
        default="none",
        help="numbers in the .tflite model that is written beside the .keras one (%(default)s:"
        " float32)",
    )
    args = parser.parse_args(argv)
    if args.classic and (args.crop_faces or args.scenes):
        parser.error("--classic trains on whole images: not with --crop-faces or --scenes")
    if args.crop_faces is None:
        args.crop_faces = not args.classic
    if args.input_size is None:
        args.input_size = CLASSIC_INPUT_SIZE if args.classic else INPUT_SIZE
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    # Imported once the arguments are known to be good: --help and a typo answer at once.
    from facemask import splits, training
    from facemask.evaluation import classification
    from facemask.export import export_tflite
    from facemask.facts import ModelFacts, weights_digest
    from facemask.sample_dataset import is_sample_dataset
    from facemask.stream import batches, each_input

    split_file, twin = splits.split_path(args.model), args.model.with_suffix(".tflite")
    check_writable(args.model, args.plot, split_file, twin)
    training.check_weights(args.weights)
    folders = [find(folder) for folder in args.dataset]
    drawn = any(is_sample_dataset(folder) for folder in folders)
    margin = 0.0 if args.classic else args.margin
    size = (args.input_size, args.input_size)

    with tempfile.TemporaryDirectory(prefix="facemask-") as cuts:
        images = load_images(args, folders, Path(cuts))
        if drawn:
            warn("drawn sample: the model will know the drawings, not faces")
        split = split_images(args, images)

        info("compiling model...")
        training.make_repeatable(args.seed)
        model = training.build_model(len(images.class_names), args.weights, size)
        stream = partial(batches, images, size=size, batch_size=args.batch_size, margin=margin)
        history, network, validation, test = fit(args, model, images, split, stream)
        temperature = 1.0
        if not args.classic:
            info("calibrating probabilities...")
            labels = images.labels[split.validation]
            temperature = training.calibrate(network, validation, labels)

        info("evaluating network...")
        probabilities = training.predict(network, test)
        labels = images.labels[split.test]
        print(training.report(labels, probabilities.argmax(axis=1), images.class_names))
        names = [images.class_names[label] for label in labels]
        figures = classification(names, probabilities, images.class_names)

        info("saving mask detector model...")
        facts = ModelFacts(
            class_names=images.class_names,
            input_size=size,
            margin=margin,
            training={
                "sources": images.source_names,
                "dataset_sha256": images.digest,
                "drawn_sample": drawn,
                "images": {name: len(getattr(split, name)) for name in splits.PARTS},
                "settings": {name: str(vars(args)[name]) for name in SETTINGS},
                "temperature": round(temperature, 4),  # the weights have it in them already
                "test_accuracy": round(figures.accuracy, 4),
                "test_balanced_accuracy": round(figures.balanced_accuracy, 4),
                "test_calibration_error": round(figures.calibration_error, 4),
                "versions": training.versions(),
            },
        )
        training.save_model(args.model, model, facts)
        facts = replace(facts, twin_of=weights_digest(args.model))
        some = split.train[:: -(-len(split.train) // CALIBRATION_IMAGES)]
        export_tflite(twin, model, facts, args.quantize, each_input(stream(some)))
    splits.write_split(split_file, images, split, args.split, args.seed)
    training.plot_history(args.plot, history)
    low, high = figures.interval
    info(
        f"test accuracy {figures.accuracy:.4f} on {len(labels)} images (95 % interval {low:.4f} to"
        f" {high:.4f}), balanced {figures.balanced_accuracy:.4f}, calibration error"
        f" {figures.calibration_error:.4f}"
    )
    info(f"wrote {args.model}, {twin.name} and {split_file.name} beside it, and {args.plot}")
    if images.skipped:
        warn(f"skipped or mended, {len(images.skipped)}: {'; '.join(images.skipped)}")
    return 0


def fit(
    args: argparse.Namespace,
    model: Any,
    images: "LabelledImages",
    split: "Split",
    stream: Callable[..., Any],
) -> tuple[dict[str, list[float]], Any, Any, Any]:
    """Train the head and, where asked for, all of the network; the curves of both.

    With them come a network to be asked, and what it takes of the validation and the test images:
    the model and images or, where only the head was trained, that and features.
    """
    from tqdm import tqdm

    from facemask import training
    from facemask.dataset import balanced_weights
    from facemask.features import cached_head

    weights = None if args.classic else balanced_weights(images, split.train)
    augmentation = "classic" if args.classic else "face"
    augmented = partial(stream, split.train, augmentation=augmentation, weights=weights)
    others = stream(split.validation), stream(split.test)
    network = model, augmented(seed=args.seed), *others
    train = partial(training.train, early_stopping=not args.classic)
    # A base without weights learns with the head, so that nothing of it can be computed ahead.
    if args.feature_cache and not args.classic and args.weights != "none":
        info("computing features...")
        views = [stream(split.train, weights=weights)]
        views += [augmented(seed=args.seed + view) for view in range(VIEWS)]
        progress = partial(tqdm, disable=None, unit=" batches")
        if args.fine_tune_epochs:  # then it is the whole network that is asked at the end
            others = others[:1]
        asked = cached_head(model, views, others, args.batch_size, args.seed, progress)
    else:
        asked = network
    info("training head...")
    history = train(*asked[:3], epochs=args.epochs, learning_rate=args.learning_rate)
    if args.fine_tune_epochs:
        info("fine-tuning...")
        training.unfreeze(model)
        asked = network
        more = train(
            *asked[:3], epochs=args.fine_tune_epochs, learning_rate=args.fine_tune_rate, decay=True
        )
        history = {name: curve + more[name] for name, curve in history.items()}
    ready, _, validation, test = asked
    return history, ready, validation, test


def load_images(args: argparse.Namespace, folders: list[Path], cuts: Path) -> "LabelledImages":
    """The images of all sources, with the faces in them; those of scenes are cut into `cuts`."""
    from tqdm import tqdm

    from facemask import dataset, faces
    from facemask.detectors import choose, load_detector
    from facemask.downloads import ensure_dataset
    from facemask.scenes import load_scenes

    for folder in folders:
        if folder.resolve() == PROJECT / "dataset":
            ensure_dataset(folder, info)
    progress = partial(tqdm, disable=None, unit=" images")
    load = None
    if args.crop_faces:
        face = find(args.face)
        name = choose(args.detector, face, info)
        info("loading face detector model...")
        load = partial(load_detector, name, face, threads=1, many=True)
        load()  # what is wrong with it shows before the images are read

    info("loading images...")
    images = dataset.load_labelled_images(folders, progress)
    if load:
        info("finding faces...")
        images = images.with_boxes(faces.find_faces(images, load, progress))
        found = sum(box is not None for box in images.boxes)
        info(f"found one face in {found} of {len(images)} images; the others are used whole")
    for number, folder in enumerate(map(find, args.scenes)):
        scenes = load_scenes(folder, progress)
        cut = faces.cut_faces(scenes, images.class_names, load, cuts / str(number), progress)
        info(f"{folder}: {len(cut)} crops of the faces in {len(scenes.scenes)} scenes")
        images = dataset.joined(images, cut)
    return images


def split_images(args: argparse.Namespace, images: "LabelledImages") -> "Split":
    """Training, validation and test parts, as --split says."""
    import numpy as np
    from tqdm import tqdm

    from facemask import splits
    from facemask.duplicates import count_twins, near_duplicate_groups

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
