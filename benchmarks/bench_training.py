"""Training: the classic recipe and this project's, in turn.

    python benchmarks/bench_training.py --seeds 42 1 2

Each run is a process of its own, from the start of Python to the written model. The accuracy is
what each way reports of the fifth of the images that it keeps away; the classic way lets copies of
its training images into that fifth. The ImageNet weights must be where Keras looks for them
(KERAS_HOME).
"""

import argparse
import re
import statistics
import tempfile
from pathlib import Path

from measure import ASSETS, Run, compared, leave_without, machine, run, table


def main() -> None:
    parser = argparse.ArgumentParser(description="Training, the classic way and ours.")
    add = parser.add_argument
    add("--assets", type=Path, default=ASSETS, metavar="DIR", help="photographs and detector")
    add("--seeds", nargs="+", default=["42"], metavar="SEED", help="a run of each way for each")
    add("--options", default="", help='more options for ours, as in "--no-crop-faces"')
    args = parser.parse_args()
    leave_without(args.assets)
    print(f"{machine()}\n", flush=True)
    runs: dict[str, list[Run]] = {"classic": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        for seed in args.seeds:
            common = ["--dataset", args.assets / "dataset", "--seed", seed]
            common += ["--model", f"{folder}/m.keras", "--plot", f"{folder}/plot.png"]
            runs["classic"].append(run("benchmarks/classic_training.py", *common))
            face = ["--face", args.assets / "face_detector"]
            runs["ours"].append(
                run("train_mask_detector.py", *common, *face, *args.options.split())
            )
            for way in runs:
                last = runs[way][-1]
                print(f"{way}, seed {seed}: {last.seconds:.1f} s, {accuracy(last)}", flush=True)
    rows = [
        [
            way,
            f"{statistics.median(one.seconds for one in done):.1f}",
            ", ".join(accuracy(one) for one in done),
            f"{max(one.peak for one in done):.0f}",
        ]
        for way, done in runs.items()
    ]
    head = ["way", "seconds", f"test accuracy, seeds {' '.join(args.seeds)}", "peak memory, MB"]
    print("\n" + table(head, rows))
    seconds = ([one.seconds for one in done] for done in runs.values())
    print(f"\ntimes as fast: {compared(*seconds)}")


def accuracy(done: Run) -> str:
    found = re.search(r"test accuracy ([\d.]+)", done.output)
    return found[1] if found else "not said"


if __name__ == "__main__":
    main()
