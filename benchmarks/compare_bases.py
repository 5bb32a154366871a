"""The bases: size and speed of each, and how a training ends with it.

    python benchmarks/compare_bases.py --weights none --options "--fine-tune-epochs 5"

Each base is trained by train_mask_detector.py on the same split. ImageNet's weights must be where
Keras looks for them (KERAS_HOME) or be within its reach; with `--weights none` a network learns all
that it knows from the few photographs of the data set, which says little of how good it can be.
The time is that of one face by the .tflite model on one thread, all of them in turn.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from measure import ASSETS, leave_without, machine, run, table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from facemask.bases import BASES


def main() -> None:
    parser = argparse.ArgumentParser(description="The bases: size, speed and accuracy.")
    add = parser.add_argument
    add("--assets", type=Path, default=ASSETS, metavar="DIR", help="photographs and detector")
    add("--bases", nargs="+", default=list(BASES), choices=tuple(BASES), metavar="BASE")
    add("--weights", default="imagenet", choices=("imagenet", "none"))
    add("--dataset", nargs="+", default=["dataset"], metavar="NAME", help="folders of the assets")
    add("--options", default="", help="more options of the training")
    add("--repeats", type=int, default=50, metavar="N", help="calls of each model (50)")
    args = parser.parse_args()
    leave_without(args.assets)
    print(f"{machine()}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for base in args.bases:
            model, report = Path(folder, f"{base}.keras"), Path(folder, f"{base}.json")
            done = run(
                "train_mask_detector.py", "--base", base, "--weights", args.weights,
                "--dataset", *(args.assets / name for name in args.dataset),
                "--face", args.assets / "face_detector", "--model", model, "--report", report,
                "--plot", f"{folder}/plot.png", *args.options.split(),
            )  # fmt: skip
            test = json.loads(report.read_text())["test"]
            rows.append([f"{test['right']} of {test['crops']}", f"{done.seconds:.0f}"])
            print(f"{base}: {rows[-1][0]}, {done.seconds:.0f} s", flush=True)
        twins = [Path(folder, f"{base}.tflite") for base in args.bases]
        columns = zip(args.bases, twins, seconds(twins, args.repeats), rows, strict=True)
        lines = [
            [BASES[base].title, f"{twin.stat().st_size / 1e6:.1f}", f"{taken * 1000:.1f}", *row]
            for base, twin, taken, row in columns
        ]
    print("\n" + table(["base", "MB", "ms a face", "right", "training, s"], lines))


def seconds(models: list[Path], repeats: int) -> list[float]:
    """The median time of one face for each model, asked in turn."""
    import numpy as np

    from facemask.litert import LiteRTModel

    loaded = []
    for path in models:
        model = LiteRTModel.load(path, threads=1)
        height, width = model.input_shape[1:3]
        assert height
        assert width
        model.prepare((height, width))
        loaded.append((model, np.zeros((1, height, width, 3), np.float32)))
    taken: list[list[float]] = [[] for _ in loaded]
    for _ in range(repeats):
        for times, (model, face) in zip(taken, loaded, strict=True):
            started = time.perf_counter()
            model(face)
            times.append(time.perf_counter() - started)
    return [statistics.median(times) for times in taken]


if __name__ == "__main__":
    main()
