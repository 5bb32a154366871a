"""Images: the start of the script, a folder, and memory; the classic way and ours, in turn.

    python benchmarks/bench_image.py
    python benchmarks/bench_image.py --images 500 --larger 10000

Each run is a new process, timed from its start; the files it reads have been read before, so that
the disk counts little. `first result` is when the annotated picture of one image is there. For a
folder the classic way is one process too, though tutorials start one for each image; both write
every annotated picture. `--larger` images are only read and recorded, to compare memory.
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
LARGEST = 500_000  # bytes; how many photographs of 16 megapixels meet would decide on the memory


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
        some = linked(sample, args.images, folder / "some")
        larger = linked(sample, args.larger, folder / "larger")  # the same ones, over and over
        written = (folder / f"written{number}" for number in count())

        def classic_way(images: list[Path]) -> Run:
            output = next(written)
            return run(
                "benchmarks/classic.py", "image", "--image", *images, "--output", output,
                *theirs, awaited=output / images[0].name,
            )  # fmt: skip

        def our_way(images: list[Path]) -> Run:
            output = next(written)
            return run(
                "detect_mask_image.py", "--no-display", "--image", *images, "--output", output,
                *networks, awaited=output / images[0].name,
            )  # fmt: skip

        def recorded(images: Path) -> Run:
            return run(
                "detect_mask_image.py", "--no-display", "--image", images, "--timings",
                "--json", folder / "found.json", "--csv", folder / "found.csv", *networks,
            )  # fmt: skip

        one = in_turn(lambda: classic_way([EXAMPLE]), lambda: our_way([EXAMPLE]), args.repeats)
        every = sorted(some.iterdir())
        many = in_turn(lambda: classic_way(every), lambda: our_way(every), args.repeats)
        helps = [run("detect_mask_image.py", "--help") for _ in range(args.repeats)]
        rows = [
            row("one image, first result", one, lambda one: one.first),
            row("one image, whole run", one, lambda one: one.seconds),
            row(f"{args.images} images, whole run", many, lambda one: one.seconds),
        ]
        print(table(["", "classic", "ours", "ratio", "classic, peak", "ours, peak"], rows))
        print(f"\n`--help`: {statistics.median(run.seconds for run in helps):.2f} s\n", flush=True)
        sizes = {args.images: recorded(some), args.larger: recorded(larger)}
        rows = [
            [str(size), f"{one.seconds:.1f} s", f"{size / one.seconds:.1f}", f"{one.peak:.0f} MB"]
            for size, one in sizes.items()
        ]
        print(table(["images, recorded only", "ours", "images a second", "peak"], rows))


def in_turn(
    classic: Callable[[], Run], ours: Callable[[], Run], repeats: int
) -> list[tuple[Run, Run]]:
    """Runs of both ways, one after the other, so that what else the machine does hits both."""
    return [(classic(), ours()) for _ in range(repeats)]


def row(what: str, pairs: list[tuple[Run, Run]], figure: Callable[[Run], float]) -> list[str]:
    classic, ours = zip(*pairs, strict=True)
    figures = [list(map(figure, runs)) for runs in (classic, ours)]
    return [
        what,
        *(f"{statistics.median(seconds):.2f} s" for seconds in figures),
        compared(*figures),
        *(f"{max(one.peak for one in runs):.0f} MB" for runs in (classic, ours)),
    ]


def linked(photographs: list[Path], number: int, folder: Path) -> Path:
    """A folder of links to so many photographs, over and over where there are fewer."""
    folder.mkdir()
    for index, path in enumerate(islice(cycle(photographs), number)):
        (folder / f"{index:06}{path.suffix}").symlink_to(path.resolve())
    return folder


if __name__ == "__main__":
    main()
