"""An archive: a folder labelled by one worker process, by two, and without an engine.

    python benchmarks/bench_archive.py
    python benchmarks/bench_archive.py --images 2000

Each run is a new process, timed from its start. With an engine the start takes some seconds, as
the workers are processes of their own: `start` is a run over two images, `rest` is what remains
without it. Processor time says more than seconds on a machine that does other things too. All runs
must give the same records.
"""

import json
import statistics
import tempfile
from itertools import count
from pathlib import Path

from bench_image import LARGEST, linked
from measure import Run, arguments, compared, leave_without, machine, model_with_export, run, table

FEW = 2  # images, for the start: one for each worker
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
        few = linked(photographs, FEW, folder / "few")
        common = ["--detector", "builtin", "--model", model, "--no-display", "--image"]
        numbers = count()

        def labelled(workers: int, source: Path, part_size: int) -> tuple[Run, list[dict]]:
            output = folder / f"output{next(numbers)}"
            if not workers:
                file = output.with_suffix(".json")
                process = run("detect_mask_image.py", *common, source, "--json", file)
                return process, json.loads(file.read_text())
            process = run(
                "detect_mask_image.py", *common, source, "--engine", "dask", "--workers",
                str(workers), "--parts", output, "--part-size", str(part_size),
            )  # fmt: skip
            parts = sorted(output.glob("part-*.jsonl"))
            return process, [json.loads(line) for part in parts for line in part.open()]

        # In alternation, so that other load on the machine affects all ways.
        starts: dict[str, list[Run]] = {way: [] for way in WAYS}
        wholes: dict[str, list[Run]] = {way: [] for way in WAYS}
        all_records = []
        for _ in range(args.repeats):
            for way, workers in WAYS.items():
                starts[way].append(labelled(workers, few, 1)[0])
                whole, records = labelled(workers, images, args.part_size)
                wholes[way].append(whole)
                all_records.append(records)
    assert all(records == all_records[0] for records in all_records), "the records differ"
    rows, rests = [], {}
    for way in WAYS:
        pairs = list(zip(wholes[way], starts[way], strict=True))
        rests[way] = [whole.seconds - start.seconds for whole, start in pairs]
        processor = [whole.processor - start.processor for whole, start in pairs]
        rows.append(
            [
                way,
                *(
                    f"{statistics.median(seconds):.1f} s"
                    for seconds in (
                        [whole.seconds for whole in wholes[way]],
                        [start.seconds for start in starts[way]],
                        rests[way],
                    )
                ),
                f"{statistics.median(processor) / (args.images - FEW) * 1000:.1f} ms",
            ]
        )
    print(
        table([f"{args.images} images", "whole run", "start", "rest", "processor, an image"], rows)
    )
    plain, two = compared(rests["two workers"], rests["no engine"]), rests["two workers"]
    print(f"\nAfter the start two workers take {plain} times as long as no engine,")
    print(f"and one worker {compared(rests['one worker'], two)} times as long as two.")


if __name__ == "__main__":
    main()
