"""Memory of training: the same with few images and with many.

    python benchmarks/bench_memory.py --images 600 6000 60000

For each number it draws that many portraits, half of them with masks, and trains on them in a
process of its own: a short training of the head on features, at 96 pixels. The split is random;
bench_duplicates.py measures the search for copies.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import PROJECT, machine, run, table

OPTIONS = ["--no-crop-faces", "--split", "random", "--input-size", "96", "--epochs", "2"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory of training by the number of images.")
    add = parser.add_argument
    add("--images", nargs="+", type=int, default=[600, 6000], metavar="N", help="(600 6000)")
    add("--size", type=int, default=64, help="pixels a side (64)")
    add("--options", default="", help='more options of the training, as in "--cache DIR"')
    args = parser.parse_args()
    print(f"{machine()}\n", flush=True)
    rows = []
    for number in args.images:
        with tempfile.TemporaryDirectory() as folder:
            drawn = Path(folder, "drawn")
            draw = ["--count", str(number // 2), "--size", str(args.size)]
            # In another process: a child's peak memory would count what this one had in memory.
            subprocess.run(
                [sys.executable, "-m", "facemask.sample_dataset", drawn, *draw],
                cwd=PROJECT, check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            done = run(
                "train_mask_detector.py", "--dataset", drawn, *OPTIONS, *args.options.split(),
                "--model", Path(folder, "m.keras"), "--plot", Path(folder, "plot.png"),
            )  # fmt: skip
            match = re.search(r"test accuracy ([\d.]+)", done.output)
            accuracy = match[1] if match else "not stated"
            rows.append([str(number), f"{done.peak:.0f}", f"{done.seconds:.0f}", accuracy])
            print(rows[-1], flush=True)
    print("\n" + table(["images", "peak memory, MB", "seconds", "test accuracy"], rows))


if __name__ == "__main__":
    main()
