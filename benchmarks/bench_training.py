"""Training: the classic recipe and this project's, in turn.

    python benchmarks/bench_training.py --seeds 42 1 2

Each run is its own process, measured from the start of Python to the written model. The accuracy is
the one that each way reports for its test images, a fifth of all; in the classic way these contain
copies of training images. Processor seconds are those of all cores together, and vary less on a
busy machine. The ImageNet weights must be where Keras looks for them (KERAS_HOME).
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
    add(
        "--seeds",
        nargs="+",
        default=["42"],
        metavar="SEED",
        help="seeds, with a run of each way for each",
    )
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
            f"{statistics.median(each.seconds for each in done):.1f}",
            f"{statistics.median(each.processor for each in done):.1f}",
            ", ".join(map(accuracy, done)),
            f"{max(each.peak for each in done):.0f}",
        ]
        for way, done in runs.items()
    ]
    header = ["way", "seconds", "processor seconds"]
    header += [f"test accuracy, seeds {' '.join(args.seeds)}", "peak memory, MB"]
    print("\n" + table(header, rows))
    for measure in ("seconds", "processor"):
        values = ([getattr(each, measure) for each in done] for done in runs.values())
        print(f"\ntimes as fast, by {measure}: {compared(*values)}")


def accuracy(done: Run) -> str:
    match = re.search(r"test accuracy ([\d.]+)", done.output)
    return match[1] if match else "not stated"


if __name__ == "__main__":
    main()
