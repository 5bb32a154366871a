"""An archive: a folder labelled by one worker process, by two, and without an engine.

    python benchmarks/bench_archive.py
    python benchmarks/bench_archive.py --images 2000

Each run is a new process, timed from its start. With an engine the start takes some seconds, as
the workers are processes of their own. The last column leaves the start out: it is measured on the
images that remain when the first part has been written. All runs must give the same records.
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
            output = folder / f"output{next(numbers)}"
            if not workers:
                file = output.with_suffix(".json")
                process = run("detect_mask_image.py", *common, "--json", file)
                return process, json.loads(file.read_text())
            process = run(
                "detect_mask_image.py", *common, "--engine", "dask", "--workers", str(workers),
                "--parts", output, "--part-size", str(args.part_size),
                awaited=output / "part-00000.jsonl",
            )  # fmt: skip
            parts = sorted(output.glob("part-*.jsonl"))
            return process, [json.loads(line) for part in parts for line in part.open()]

        # In alternation, so that other load on the machine affects all ways.
        rounds = [
            {way: labelled(workers) for way, workers in WAYS.items()} for _ in range(args.repeats)
        ]
    all_records = [records for runs in rounds for _, records in runs.values()]
    assert all(records == all_records[0] for records in all_records), "the records differ"
    rows = []
    for way, workers in WAYS.items():
        processes = [runs[way][0] for runs in rounds]
        remaining = args.images - workers * args.part_size
        speeds = [remaining / (process.seconds - process.first) for process in processes if workers]
        rows.append(
            [
                way,
                f"{statistics.median(process.seconds for process in processes):.1f} s",
                f"{statistics.median(speeds):.1f}" if speeds else "",
            ]
        )
    header = [f"{args.images} images", "whole run", "images a second, after the start"]
    print(table(header, rows))
    one, two = ([runs[way][0].seconds for runs in rounds] for way in ("one worker", "two workers"))
    print(f"\nOne worker takes {compared(one, two)} times as long as two, with the start.")


if __name__ == "__main__":
    main()
