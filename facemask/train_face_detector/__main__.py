"""Train the built-in face detector on photographs with annotated faces, and on portraits.

    python -m facemask.train_face_detector --scenes scenes scenes2 --dataset dataset real_crops \\
        --video street.mp4 four_people.mp4

Writes the detector for LiteRT, a plot of the training, and a card: what the detector was trained
on, and how good it is. Needs YuNet's weights (--face), which label all faces without annotations.
"""

if __name__ == "__main__":
    from facemask.startup import end_quietly_on_ctrl_c

    end_quietly_on_ctrl_c()

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from facemask.console import info, progress, run
from facemask.errors import FacemaskError, check_installed
from facemask.files import check_writable, file_digest, find, replacing
from facemask.train_face_detector import options

if TYPE_CHECKING:
    from facemask.detect.types import Detector
    from facemask.train_face_detector.loading import Loaded


def main(argv: Sequence[str] | None = None) -> int:
    args = options.parse_arguments(argv)
    check_files(args)
    with tempfile.TemporaryDirectory(prefix="facemask-") as folder:
        return train(args, load_photographs(args, Path(folder)))


def check_files(args: argparse.Namespace) -> None:
    """Raise FacemaskError for files that can't be written, or are missing, before any work."""
    from facemask.data.splits import split_path
    from facemask.train.checkpoint import checkpoint_path

    check_installed("keras")
    output, checkpoint = args.output, checkpoint_path(args.output)
    weights = [args.keep_weights] if args.keep_weights else []
    beside = [output.with_suffix(suffix) for suffix in (".md", ".png")]
    check_writable(output, *beside, split_path(output), checkpoint, *weights)
    if args.start and not find(args.start).is_file():
        raise FacemaskError(f"{args.start}: no such file; expected weights of --keep-weights")
    if args.resume and not checkpoint.is_file():
        raise FacemaskError(f"{checkpoint}: no such file; expected the checkpoint of a run")


def load_photographs(args: argparse.Namespace, folder: Path) -> "Loaded":
    """The images of each part of the split; folder: an empty one for images made of others."""
    from facemask.data.splits import read_split
    from facemask.detect.yunet import YuNetFaceDetector
    from facemask.train_face_detector.label_store import LabelStore
    from facemask.train_face_detector.loading import Sources, load_images

    info("loading face detector model...")
    store = LabelStore(find(args.labels), YuNetFaceDetector.load(find(args.face)))
    info("loading images...")
    folders = (args.scenes, args.detected, args.dataset, args.video)
    return load_images(
        Sources(*(list(map(find, paths)) for paths in folders)),
        split_of=read_split(find(args.split)),
        labels=store.labels,
        folder=folder,
        seed=args.seed,
        progress=partial(progress, unit="images"),
        log=info,
    )


def train(args: argparse.Namespace, loaded: "Loaded") -> int:
    """Train, calibrate and measure the detector, and write it with its card and its plot."""
    from facemask.data.splits import GROUPED, split_path, write_parts
    from facemask.detect import yunet
    from facemask.train import model
    from facemask.train.checkpoint import Checkpoint, checkpoint_path
    from facemask.train_face_detector import card
    from facemask.train_face_detector.export import export
    from facemask.train_face_detector.loading import images_digest
    from facemask.train_face_detector.trainer import Trainer, save_weights
    from facemask.train_face_detector.validation import average_precision, calibrate, describe

    images = loaded.images
    info("compiling model...")
    model.set_seed(args.seed)
    recipe = {name: getattr(args, name) for name in options.RUN_SETTINGS}
    start = find(args.start or Path(args.face, yunet.WEIGHTS_NAME))
    run_of = {**recipe, "images": images_digest(images), "start": file_digest(start)}
    shapes = options.batch_shapes(recipe.pop("batch_size"))
    trainer = Trainer(images["train"], shapes=shapes, stop_after=args.stop_after, **recipe)
    run_of["parameters"] = trainer.network.count_params()
    checkpoint = Checkpoint(checkpoint_path(args.output), run_of)
    trainer.start(start)
    start_weights = trainer.network.get_weights()
    if args.resume:
        trainer.resume(checkpoint)

    if args.epochs:
        info("training...")
        trainer.fit(images["validation"], checkpoint, info)
        trainer.apply_ema()
    if args.blend:
        trainer.interpolate_weights(start_weights, args.blend)
    if args.keep_weights:
        save_weights(args.keep_weights, trainer.network)
    precision = average_precision(trainer.network, images["validation"])
    info(f"on validation, at the end: {describe(precision)}")

    info("calibrating confidences...")
    calibration = calibrate(trainer.network, images["validation"])
    info("saving face detector...")
    export(args.output, trainer.network, *calibration, images["validation"])
    write_parts(split_path(args.output), loaded.split, GROUPED, args.seed)
    info("measuring face detectors...")
    detectors = load_detectors([args.output, *args.compare], find(args.face))
    tables = card.figures(detectors, images["test"], loaded.portraits)
    made_by = options.command_line(args), options.settings(args), model.versions()
    with replacing(args.output.with_suffix(".md")) as temporary:
        text = card.card_text(args.output.name, *made_by, loaded, tables, calibration)
        temporary.write_text(text, encoding="utf-8")
    if args.epochs:
        card.plot_history(args.output.with_suffix(".png"), trainer.history)
    print(tables)
    info(f"wrote {args.output}, with its card (.md), split and plot beside it")
    checkpoint.remove()
    return 0


def load_detectors(files: Sequence[Path], folder: Path) -> "dict[str, Detector]":
    """Detectors to measure, on one thread: these files, YuNet, and the SSD if it is there."""
    from facemask.detect import registry
    from facemask.detect.builtin import BuiltinFaceDetector
    from facemask.detect.ssd import SSDFaceDetector
    from facemask.evaluate.image_sets import distinct_names

    names = distinct_names(files)
    detectors = {
        name: BuiltinFaceDetector.load(file, threads=1)
        for name, file in zip(names, files, strict=True)
    }
    others = ["ssd", "yunet"] if SSDFaceDetector.has_weights(folder) else ["yunet"]
    return detectors | {name: registry.load_detector(name, folder, threads=1) for name in others}


if __name__ == "__main__":
    run(main)
