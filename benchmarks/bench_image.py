"""Images: the start of the script, a folder, and memory; the classic way and ours alternate.

    python benchmarks/bench_image.py
    python benchmarks/bench_image.py --images 500 --larger 10000

Each run is a new process, timed from its start. The files it reads have been read before, so that
the disk matters little. `first result` is the time until the annotated picture of one image exists.
For a folder the classic way is one process too, although tutorials start one for each image; both
write every annotated picture. `--larger` images are only read and recorded, to compare memory.
"""

import statistics
import tempfile
from collections.abc import Callable
from itertools import count, cycle, islice
from pathlib import Path

from measure import (
    PROJECT,
    Run,
    arguments,
    classic_model,
    compared,
    leave_without,
    machine,
    model_with_export,
    run,
    table,
)

EXAMPLE = PROJECT / "examples" / "example_01.png"
LARGEST = 500_000  # bytes; with larger ones, peak memory depends on how many are decoded at once


def main() -> None:
    parser = arguments("Images, the classic way and ours: start, folder, memory.")
    add = parser.add_argument
    add("--images", type=int, default=500, metavar="N", help="in the folder (500)")
    add("--larger", type=int, default=2000, metavar="N", help="in the larger one (2000)")
    args = parser.parse_args()
    leave_without(args.assets)
    print(f"{machine()}\n", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = model_with_export(args.model, folder)
        face = ["--face", args.assets / "face_detector", "--model"]
        networks, theirs = [*face, model], [*face, classic_model(folder)]
        photographs = [
            path
            for path in sorted((args.assets / "dataset").rglob("*.jpg"))
            if path.stat().st_size < LARGEST
        ]
        step = max(1, len(photographs) // args.images)
        sample = photographs[::step][: args.images]  # from both classes
        smaller = linked(sample, args.images, folder / "smaller")
        larger = linked(sample, args.larger, folder / "larger")  # the same ones, repeated
        outputs = (folder / f"output{number}" for number in count())

        def classic_way(images: list[Path]) -> Run:
            output = next(outputs)
            return run(
                "benchmarks/classic.py", "image", "--image", *images, "--output", output,
                *theirs, awaited=output / images[0].name,
            )  # fmt: skip

        def our_way(images: list[Path]) -> Run:
            output = next(outputs)
            return run(
                "detect_mask_image.py", "--no-display", "--image", *images, "--output", output,
                *networks, awaited=output / images[0].name,
            )  # fmt: skip

        def recorded(images: Path) -> Run:
            return run(
                "detect_mask_image.py", "--no-display", "--image", images, "--timings",
                "--json", folder / "faces.json", "--csv", folder / "faces.csv", *networks,
            )  # fmt: skip

        single = alternate(lambda: classic_way([EXAMPLE]), lambda: our_way([EXAMPLE]), args.repeats)
        images = sorted(smaller.iterdir())
        many = alternate(lambda: classic_way(images), lambda: our_way(images), args.repeats)
        helps = [run("detect_mask_image.py", "--help") for _ in range(args.repeats)]
        rows = [
            row("one image, first result", single, lambda process: process.first),
            row("one image, whole run", single, lambda process: process.seconds),
            row(f"{args.images} images, whole run", many, lambda process: process.seconds),
        ]
        print(table(["", "classic", "ours", "ratio", "classic, peak", "ours, peak"], rows))
        print(f"\n`--help`: {statistics.median(run.seconds for run in helps):.2f} s\n", flush=True)
        rows = []
        for size, image_folder in ((args.images, smaller), (args.larger, larger)):
            process = recorded(image_folder)
            speed = f"{size / process.seconds:.1f}"
            rows.append([str(size), f"{process.seconds:.1f} s", speed, f"{process.peak:.0f} MB"])
        print(table(["images, recorded only", "ours", "images a second", "peak"], rows))


def alternate(
    classic: Callable[[], Run], ours: Callable[[], Run], repeats: int
) -> list[tuple[Run, Run]]:
    """Runs of both ways in alternation, so that other load on the machine affects both."""
    return [(classic(), ours()) for _ in range(repeats)]


def row(name: str, pairs: list[tuple[Run, Run]], seconds: Callable[[Run], float]) -> list[str]:
    """A row of the table. seconds: takes the time to compare from a run."""
    classic, ours = zip(*pairs, strict=True)
    times = [list(map(seconds, runs)) for runs in (classic, ours)]
    return [
        name,
        *(f"{statistics.median(each_way):.2f} s" for each_way in times),
        compared(*times),
        *(f"{max(process.peak for process in runs):.0f} MB" for runs in (classic, ours)),
    ]


def linked(photographs: list[Path], number: int, folder: Path) -> Path:
    """A folder of `number` links to the photographs, which are repeated if they are fewer."""
    folder.mkdir()
    for index, path in enumerate(islice(cycle(photographs), number)):
        (folder / f"{index:06}{path.suffix}").symlink_to(path.resolve())
    return folder


if __name__ == "__main__":
    main()
