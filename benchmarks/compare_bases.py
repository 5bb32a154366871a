"""The backbones: size and speed of each, and the result of training those that can be trained.

    python benchmarks/compare_bases.py --train mobilenet_v2=imagenet vgg16=none

Size and time are those of the .tflite model, one face at a time on one thread, all models in turn;
they do not depend on the weights. `--train` trains with train_mask_detector.py on the classic
photographs, from ImageNet's weights, which Keras must have in KERAS_HOME or be able to download, or
from none. From none a network learns all it knows from a thousand photographs, which says little
about how good it can be.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from measure import ASSETS, leave_without, machine, run, table

from facemask.train.backbones import BACKBONES


def main() -> None:
    parser = argparse.ArgumentParser(description="The backbones: size, speed and accuracy.")
    add = parser.add_argument
    add("--assets", type=Path, default=ASSETS, metavar="DIR", help="photographs and detector")
    add(
        "--backbones", nargs="+", default=list(BACKBONES), choices=list(BACKBONES), metavar="NAME",
        help="backbones to measure (all)",
    )  # fmt: skip
    add(
        "--train", nargs="*", default=["mobilenet_v2=imagenet"], metavar="NAME=WEIGHTS",
        help="backbones to train, with imagenet or none (mobilenet_v2=imagenet)",
    )  # fmt: skip
    add("--options", default="", help="more options for the training of those with none")
    add("--size", type=int, default=128, help="pixels a side of the timed model's input (128)")
    add("--repeats", type=int, default=50, metavar="N", help="calls of each model (50)")
    args = parser.parse_args()
    leave_without(args.assets)
    print(f"{machine()}\n", flush=True)
    accuracy = {name: ["not trained here", ""] for name in args.backbones}
    with tempfile.TemporaryDirectory() as folder:
        # Trained first: a child's peak memory would count TensorFlow, once it is loaded here.
        for text in args.train:
            name, weights = text.split("=")
            accuracy[name] = train(name, weights, args, Path(folder))
            print(f"{text}: {', '.join(accuracy[name])}", flush=True)
        sizes, times = measure(Path(folder), args.backbones, args.size, args.repeats)
    rows = [
        [BACKBONES[name].title, f"{size / 1e6:.1f}", f"{seconds * 1000:.1f}", *accuracy[name]]
        for name, size, seconds in zip(args.backbones, sizes, times, strict=True)
    ]
    print("\n" + table(["backbone", "MB", "ms a face", "correct", "training"], rows))


def train(name: str, weights: str, args: argparse.Namespace, folder: Path) -> list[str]:
    """Correct predictions on the test images, and how the training went."""
    options = args.options.split() if weights == "none" else []
    done = run(
        "train_mask_detector.py", "--backbone", name, "--weights", weights,
        "--dataset", args.assets / "dataset", "--face", args.assets / "face_detector",
        "--model", folder / "m.keras", "--plot", folder / "plot.png",
        "--report", folder / "report.json", *options,
    )  # fmt: skip
    report = json.loads((folder / "report.json").read_text())
    confusion = report["test"]["confusion"]
    correct = sum(row[label] for label, row in enumerate(confusion))
    start = "ImageNet's weights" if weights == "imagenet" else "random weights"
    return [
        f"{correct} of {sum(map(sum, confusion))}",
        f"{start}, {report['epochs']} epochs, {done.seconds:.0f} s",
    ]


def measure(
    folder: Path, names: Sequence[str], size: int, repeats: int
) -> tuple[list[int], list[float]]:
    """Bytes of each backbone's model, and the median seconds for one face."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import numpy as np

    from facemask.detect.litert import LiteRTModel
    from facemask.detect.metadata import ModelMetadata
    from facemask.train.export import export_tflite
    from facemask.train.model import build_model

    paths, models = [], []
    for name in names:
        paths.append(folder / f"{name}.tflite")
        classifier = build_model(2, "none", (size, size), backbone=name)
        export_tflite(paths[-1], classifier, ModelMetadata(input_size=(size, size)))
        model = LiteRTModel.load(paths[-1], threads=1)
        model.prepare((size, size))
        models.append(model)
    face = np.random.default_rng(0).uniform(-1, 1, (1, size, size, 3)).astype(np.float32)
    seconds: list[list[float]] = [[] for _ in models]
    for _ in range(repeats):
        for times, model in zip(seconds, models, strict=True):
            started = time.perf_counter()
            model(face)
            times.append(time.perf_counter() - started)
    return [path.stat().st_size for path in paths], [statistics.median(each) for each in seconds]


if __name__ == "__main__":
    main()
