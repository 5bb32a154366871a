"""The bases: size and speed of each, and how a training ends with those that can be trained.

    python benchmarks/compare_bases.py --train mobilenet_v2=imagenet vgg16=none

Size and time are those of the .tflite model, one face at a time on one
thread, all models in turn; they do not depend on what a model has learnt. `--train` trains bases
with train_mask_detector.py on the classic photographs: with ImageNet's weights, which must be where
Keras looks for them (KERAS_HOME) or within its reach, or with none. Then a network learns all that
it knows from a thousand photographs, which says little of how good it can be.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from measure import ASSETS, leave_without, machine, run, table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from facemask.train.backbones import BACKBONES


def main() -> None:
    parser = argparse.ArgumentParser(description="The bases: size, speed and accuracy.")
    add = parser.add_argument
    add("--assets", type=Path, default=ASSETS, metavar="DIR", help="photographs and detector")
    add(
        "--train", nargs="*", default=["mobilenet_v2=imagenet"], metavar="BASE=WEIGHTS",
        help="bases to train, with imagenet or none (mobilenet_v2=imagenet)",
    )  # fmt: skip
    add("--options", default="", help="more options of the training of those with none")
    add("--size", type=int, default=128, help="pixels across, of the model that is timed (128)")
    add("--repeats", type=int, default=50, metavar="N", help="calls of each model (50)")
    args = parser.parse_args()
    leave_without(args.assets)
    print(f"{machine()}\n", flush=True)
    accuracy = {base: ["not trained here", ""] for base in BACKBONES}
    with tempfile.TemporaryDirectory() as folder:
        for text in args.train:  # before TensorFlow is in this process, whose memory counts
            base, weights = text.split("=")
            accuracy[base] = trained(base, weights, args, Path(folder))
            print(f"{text}: {', '.join(accuracy[base])}", flush=True)
        sizes, times = measured(Path(folder), args.size, args.repeats)
    rows = [
        [BACKBONES[base].title, f"{size / 1e6:.1f}", f"{taken * 1000:.1f}", *accuracy[base]]
        for base, size, taken in zip(BACKBONES, sizes, times, strict=True)
    ]
    print("\n" + table(["base", "MB", "ms a face", "right", "training"], rows))


def trained(base: str, weights: str, args: argparse.Namespace, folder: Path) -> list[str]:
    """Right answers on the test images, and how the training was done."""
    options = args.options.split() if weights == "none" else []
    done = run(
        "train_mask_detector.py", "--base", base, "--weights", weights,
        "--dataset", args.assets / "dataset", "--face", args.assets / "face_detector",
        "--model", folder / "m.keras", "--plot", folder / "plot.png",
        "--report", folder / "report.json", *options,
    )  # fmt: skip
    report = json.loads((folder / "report.json").read_text())
    test = report["test"]
    begun = "ImageNet's weights" if weights == "imagenet" else "random weights"
    return [
        f"{test['right']} of {test['crops']}",
        f"{begun}, {report['epochs']} epochs, {done.seconds:.0f} s",
    ]


def measured(folder: Path, size: int, repeats: int) -> tuple[list[int], list[float]]:
    """Bytes of each base's model, and the median seconds that one face takes."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import numpy as np

    from facemask.detect.litert import LiteRTModel
    from facemask.detect.metadata import ModelMetadata
    from facemask.train import model as model_module
    from facemask.train.export import export_tflite

    paths, models = [], []
    for base in BACKBONES:
        paths.append(folder / f"{base}.tflite")
        network = model_module.build_model(2, "none", (size, size), base=base)
        export_tflite(paths[-1], network, ModelMetadata(input_size=(size, size)))
        model = LiteRTModel.load(paths[-1], threads=1)
        model.prepare((size, size))
        models.append(model)
    face = np.random.default_rng(0).uniform(-1, 1, (1, size, size, 3)).astype(np.float32)
    taken: list[list[float]] = [[] for _ in models]
    for _ in range(repeats):
        for times, model in zip(taken, models, strict=True):
            started = time.perf_counter()
            model(face)
            times.append(time.perf_counter() - started)
    return [path.stat().st_size for path in paths], [statistics.median(one) for one in taken]


if __name__ == "__main__":
    main()
