"""Train a face mask detector on folders of labelled images.

    python train_mask_detector.py --dataset dataset

The sub-folders of a data set are the classes. This writes the model, its TFLite export, the split
of the images and a plot. All settings, with their reasons, are in facemask/train/options.py.
"""

if __name__ == "__main__":
    from facemask.startup import end_quietly_on_ctrl_c

    end_quietly_on_ctrl_c()

import argparse
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from facemask.console import info, progress, run, warn
from facemask.train.options import check_files, parse_arguments, settings_of

if TYPE_CHECKING:
    from facemask.train.stages import Outputs, Training


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    # Imported here, so that --help and wrong arguments are answered at once.
    from facemask.data import batches, loading
    from facemask.train import backbones, distribution, fit, stages
    from facemask.train.model import build_model, load_meanwhile

    cluster = args.cluster, args.worker, args.cluster_timeout
    with distribution.initialize(*cluster) as processes, TemporaryDirectory() as crops:
        # What is missing shows before photographs are read, and what is quickest to check first.
        outputs = check_files(args, processes)
        weights = backbones.find_weights(args.weights, args.backbone, download=not args.dry_run)
        read = batches.image_reader(None if args.dry_run else args.cache)
        detector = args.detector, args.face, info
        load_detector = loading.detector_loader(*detector) if args.crop_faces else None
        size = (args.input_size, args.input_size)
        info("loading images...")
        sources = args.dataset, args.scenes, args.split, Path(crops), load_detector, info
        options = {"download": not args.dry_run, "incorrect": args.three_classes}
        load = partial(loading.load_images, *sources, **options)
        images, network = load_meanwhile(load, progress, args.seed, weights, size, args.backbone)
        for warning in loading.warnings_about(images, args.dataset) + fit.unused_gpus(processes):
            warn(warning)
        split = loading.split_images(images, args.split, args.test_size, args.seed, info, progress)
        if args.three_classes:
            drawing = args.face, Path(crops), args.seed, info, progress
            images, split = loading.draw_masks(images, split, *drawing)
        stream = partial(
            batches.batches, images, size=size, batch_size=args.batch_size, margin=args.margin,
            read=read,
        )  # fmt: skip
        checkpoint = stages.open_checkpoint(
            outputs.checkpoint, images, split, settings_of(args) | {"weights": weights}, processes
        )
        if args.resume and not checkpoint.resume(processes.broadcast):
            info(f"{checkpoint.path}: not there, so the training starts anew")
        info("compiling model...")
        head = len(images.class_names), weights, size
        model = build_model(*head, backbone=args.backbone, network=network)
        training = stages.Training(
            model, images, split, stream, checkpoint, processes, classic=args.classic,
            early_stopping=args.early_stopping, feature_cache=args.feature_cache, seed=args.seed,
            mixed_precision=args.mixed_precision, tensorboard=args.tensorboard,
        )  # fmt: skip
        if args.dry_run:
            seconds = training.train_one_batch()
            info(f"dry run: a batch of {args.batch_size} took {seconds:.1f} s; nothing was written")
            return 0
        if training.needs_features:
            info("computing features...")
            training.cache_features(args.batch_size, progress)
        info("training head...")
        training.train_head(args.epochs, args.learning_rate)
        if args.fine_tune_epochs and not training.interrupted:
            info("fine-tuning...")
            training.fine_tune(args.fine_tune_epochs, args.fine_tune_rate)
        processes.leave()
        if processes.chief:
            evaluate_and_save(args, training, outputs)
    return 130 if training.interrupted else 0


def evaluate_and_save(args: argparse.Namespace, training: "Training", outputs: "Outputs") -> None:
    """Calibrate the model, report on the test images, and write all files."""
    from facemask.evaluate.metrics import classification
    from facemask.train import calibrate, report

    images, split = training.images, training.split
    if training.interrupted:
        warn(f"interrupted: the best weights so far are kept, of epoch {training.best_epoch + 1}")
    temperature = 1.0
    if not args.classic:
        info("calibrating probabilities...")
        known = images.labels[split.validation], images.class_names
        temperature = calibrate.calibrate(training.network, training.validation, *known)

    info("evaluating network...")
    labels = images.labels[split.test]
    probabilities = calibrate.predict(training.network, training.test)
    print(calibrate.report(labels, probabilities.argmax(axis=1), images.class_names))
    names = [images.class_names[label] for label in labels]
    figures = classification(names, probabilities, images.class_names)

    info("saving mask detector model...")
    record = report.training_record(args.dataset, training, settings_of(args), temperature, figures)
    outputs.save(training, record)
    report.plot_history(args.plot, training.history, training.best_epoch, figures)
    if args.report:
        report.write_report(args.report, args.model.name, record, training, figures)
    report.announce_result(figures, images, info)
    info(f"wrote {outputs}")
    if training.interrupted:
        info(f"the same command with --resume goes on from {outputs.checkpoint}")
    else:
        outputs.checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    run(main)
