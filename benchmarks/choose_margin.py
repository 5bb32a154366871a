"""How much to enlarge face boxes before cropping: a head for each margin, on equal terms.

    python benchmarks/choose_margin.py -d DIR... --scenes DIR... --split FILE.split.json

Trains only the head, on features of the frozen backbone, with the training part of a split. Prints
how many faces of the validation part it labels correctly, for each source. The test part is not
used.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from facemask.console import info, progress, run
from facemask.options import ArgumentParser, add_detector_arguments, number_above, whole_number
from facemask.train.options import BATCH_SIZE, EPOCHS, INPUT_SIZE

LEARNING_RATE = 5e-4


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description="Compare margins around face boxes.")
    add = parser.add_argument
    add("-d", "--dataset", required=True, nargs="+", metavar="DIR", help="folders of class folders")
    add("--scenes", nargs="+", default=[], metavar="DIR", help="folders of annotated scenes")
    add("--split", required=True, metavar="FILE", help="split that training wrote")
    add_detector_arguments(parser)
    parser.set_defaults(detector="builtin")
    add(
        "--margins", nargs="+", type=number_above(-0.001), default=[0.0, 0.1, 0.2, 0.3, 0.4],
        metavar="RATIO", help="margins to compare (0 0.1 0.2 0.3 0.4)",
    )  # fmt: skip
    add(
        "--input-size", type=whole_number(32), default=INPUT_SIZE,
        help="pixels a side of the square that faces are stretched to (%(default)s)",
    )  # fmt: skip
    add("--epochs", type=whole_number(1), default=EPOCHS, help="(%(default)s)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    import numpy as np

    from facemask.data import loading
    from facemask.data.batches import batches
    from facemask.data.dataset import balanced_weights
    from facemask.train import calibrate, fit
    from facemask.train.feature_cache import cached_head
    from facemask.train.model import build_model, set_seed

    size = (args.input_size, args.input_size)
    load_detector = loading.detector_loader(args.detector, args.face, info)
    with TemporaryDirectory() as crops:
        info("loading images...")
        images = loading.load_images(
            args.dataset, args.scenes, args.split, Path(crops), load_detector, info, progress
        )
        split = loading.split_images(images, args.split, 0.0, 0, info)
        weights = balanced_weights(images, split.train)
        labels, sources = images.labels[split.validation], images.sources[split.validation]
        print(f"| margin | {' | '.join(images.source_names)} | validation loss |")
        print("| --- |" + " --- |" * (len(images.source_names) + 1))
        for margin in args.margins:
            set_seed(0)
            model = build_model(len(images.class_names), size=size)
            stream = partial(batches, images, size=size, batch_size=BATCH_SIZE, margin=margin)
            views = [stream(split.train, weights=weights)]
            views += [stream(split.train, augmentation="face", weights=weights)]
            others = [stream(split.validation)]
            head, training, validation = cached_head(model, views, others, BATCH_SIZE, 0, progress)
            history = fit.train(
                head, training, validation,
                epochs=args.epochs, learning_rate=LEARNING_RATE, quiet=True,
            )  # fmt: skip
            correct = calibrate.predict(head, validation).argmax(axis=1) == labels
            ratios = [
                f"{correct[sources == source].mean():.4f} of {np.sum(sources == source)}"
                for source in range(len(images.source_names))
            ]
            print(f"| {margin:g} | {' | '.join(ratios)} | {min(history['val_loss']):.4f} |")
    return 0


if __name__ == "__main__":
    run(main)
