"""An archive: a folder labelled by one worker process and by two, and by the run without an engine.

    python benchmarks/bench_archive.py
    python benchmarks/bench_archive.py --images 2000

Each run is a new process, timed from its start, which with an engine takes some seconds: the
workers are processes of their own. The last column is without those: from the first part that was
written to the run's end, on the images that are left then. All runs must find the same.
"""

import json
import statistics
import tempfile
from itertools import count
from pathlib import Path

from bench_image import LARGEST, linked
from measure import Run, arguments, compared, leave_without, machine, model_with_export, run, table

WAYS = {"no engine": 0, "one worker": 1, "two workers": 2}


def main() -> None:
    parser = arguments("An archive: one worker process and two.")
    parser.add_argument("--images", type=int, default=1000, metavar="N", help="(1000)")
    parser.add_argument("--part-size", type=int, default=20, metavar="N", help="(20)")
    args = parser.parse_args()
    leave_without(args.assets)
    print(f"{machine()}\n", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = model_with_export(args.model, folder)
        photographs = [
            path
            for path in sorted((args.assets / "dataset").rglob("*.jpg"))
            if path.stat().st_size < LARGEST
        ]
        step = max(1, len(photographs) // args.images)
        images = linked(photographs[::step][: args.images], args.images, folder / "images")
        common = ["--detector", "builtin", "--model", model, "--image", images, "--no-display"]
        numbers = count()

        def labelled(workers: int) -> tuple[Run, list[dict]]:
            written = folder / f"found{next(numbers)}"
            if not workers:
                file = written.with_suffix(".json")
                done = run("detect_mask_image.py", *common, "--json", file)
                return done, json.loads(file.read_text())
            done = run(
                "detect_mask_image.py", *common, "--engine", "dask", "--workers", str(workers),
                "--parts", written, "--part-size", str(args.part_size),
                awaited=written / "part-00000.jsonl",
            )  # fmt: skip
            parts = sorted(written.glob("part-*.jsonl"))
            return done, [json.loads(line) for part in parts for line in part.open()]

        # In turn, so that what else the machine does hits all ways.
        rounds = [
            {way: labelled(workers) for way, workers in WAYS.items()} for _ in range(args.repeats)
        ]
    found = [records for one in rounds for _, records in one.values()]
    assert all(records == found[0] for records in found), "the runs do not find the same"
    rows = []
    for way, workers in WAYS.items():
        runs = [one[way][0] for one in rounds]
        left = args.images - workers * args.part_size
        speeds = [left / (one.seconds - one.first) for one in runs if workers]
        rows.append(
            [
                way,
                f"{statistics.median(one.seconds for one in runs):.1f} s",
                f"{statistics.median(speeds):.1f}" if speeds else "",
            ]
        )
    head = [f"{args.images} images", "whole run", "images a second, once at work"]
    print(table(head, rows))
    ratio = compared(
        *([one[way][0].seconds for one in rounds] for way in ("one worker", "two workers"))
    )
    print(f"\nOne worker takes {ratio} times as long as two, start and all; all find the same.")


if __name__ == "__main__":
    main()
