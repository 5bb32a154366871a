"""How far face boxes should be grown before cropping: a head for each margin, on equal terms.

    python benchmarks/choose_margin.py -d DIR... --scenes DIR... --split mask_detector.split.json

Trains the head alone, on features of the frozen base, with the training part of a split, and
prints how many faces of the validation part it labels right, for each source. The test part is
not touched.
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from facemask.console import info, run
from facemask.files import find
from facemask.options import ArgumentParser, number_above

EPOCHS = 20
LEARNING_RATE = 5e-4
BATCH_SIZE = 32


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description="Compare margins around face boxes.")
    add = parser.add_argument
    add("-d", "--dataset", required=True, nargs="+", metavar="DIR", help="folders of class folders")
    add("--scenes", nargs="+", default=[], metavar="DIR", help="folders of annotated scenes")
    add("--split", required=True, metavar="FILE", help="split that training wrote")
    add("-f", "--face", default="face_detector", metavar="DIR", help="face detector's weights")
    add(
        "--margins",
        nargs="+",
        type=number_above(-0.001),
        default=[0.0, 0.1, 0.2, 0.3, 0.4],
        metavar="PART",
        help="margins to compare (0 0.1 0.2 0.3 0.4)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    import numpy as np
    from tqdm import tqdm

    from facemask.data import dataset, face_crops, splits
    from facemask.data.batches import batches
    from facemask.data.pascal_voc import load_scenes
    from facemask.detect.ssd import SSDFaceDetector
    from facemask.train import backbones, fit
    from facemask.train import model as model_module
    from facemask.train.feature_cache import cached_head

    progress = partial(tqdm, disable=None)
    with tempfile.TemporaryDirectory(prefix="facemask-") as cuts:
        info("loading images...")
        load = partial(SSDFaceDetector.load, find(args.face), threads=1, bulk=True)
        images = dataset.load_labelled_images([find(folder) for folder in args.dataset], progress)
        images = images.with_boxes(face_crops.find_faces(images, load, progress))
        for number, folder in enumerate(map(find, args.scenes)):
            scenes = load_scenes(folder)
            cut = face_crops.cut_faces(
                scenes, images.class_names, load, Path(cuts, str(number)), progress
            )
            images = dataset.concatenate(images, cut)
        split = splits.repeated_split(images, find(args.split))
        labels, sources = images.labels[split.validation], images.sources[split.validation]
        print("| margin | " + " | ".join(images.source_names) + " | validation loss |")
        print("| --- |" + " --- |" * (len(images.source_names) + 1))
        for margin in args.margins:
            model_module.set_seed(0)
            model = model_module.build_model(len(images.class_names))
            stream = partial(
                batches, images, size=backbones.SIZE, batch_size=BATCH_SIZE, margin=margin
            )
            weights = dataset.balanced_weights(images, split.train)
            views = [
                stream(split.train, weights=weights),
                stream(split.train, augmentation="face", weights=weights),
            ]
            validation = stream(split.validation)
            head, known, unseen = cached_head(model, views, [validation], BATCH_SIZE, 0, progress)
            curves = fit.train(
                head, known, unseen, epochs=EPOCHS, learning_rate=LEARNING_RATE, quiet=True
            )
            right = head.predict(unseen, verbose=0).argmax(axis=1) == labels
            shares = [
                f"{right[sources == source].mean():.4f} of {np.sum(sources == source)}"
                for source in range(len(images.source_names))
            ]
            print(f"| {margin:g} | {' | '.join(shares)} | {min(curves['val_loss']):.4f} |")
    return 0


if __name__ == "__main__":
    run(main)
