"""Looking for copies: time and memory by the number of images.

    python benchmarks/bench_duplicates.py --images 1000 10000 60000

Parts of photographs, cut along a grid so that they do not overlap, are different pictures. One of
ten images is an altered copy of another one: rotated, mirrored, blurred, cropped or noisy. Each
number of images is grouped in a process of its own, from the files to the groups. CPU seconds are
those of all its threads: half of them are the time on two cores that do nothing else. Pictures are
"together" with another picture also where the photographs themselves are copies, or their parts
nearly blank.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from measure import ASSETS, leave_without, machine, run, table

from facemask.data.near_duplicates import near_duplicate_groups
from facemask.images import list_files, read_image, write_image

GRID = 5  # parts of a photograph along each side
FOLDERS = ("scenes", "scenes3", "bare_scenes")  # below the assets


def main() -> None:
    parser = argparse.ArgumentParser(description="Time to find copies by the number of images.")
    add = parser.add_argument
    add("--images", nargs="+", type=int, default=[1000, 10_000], metavar="N", help="(1000 10000)")
    add("--assets", type=Path, default=ASSETS, metavar="DIR", help="photographs")
    add("--group", type=Path, metavar="DIR", help="only group the images of this folder")
    args = parser.parse_args()
    if args.group:
        group(args.group)
        return
    leave_without(args.assets)
    print(f"{machine()}\n", flush=True)
    rows = []
    for count in args.images:
        with tempfile.TemporaryDirectory() as folder:
            write_images(args.assets, count, Path(folder))
            done = run("benchmarks/bench_duplicates.py", "--group", folder)
        rows.append([f"{count:,}", *done.output.split(" | "), f"{done.peak:.0f}"])
        print(rows[-1], flush=True)
    header = ["images", "seconds", "CPU seconds", "copies found", "pictures together", "peak, MB"]
    print("\n" + table(header, rows))


def write_images(assets: Path, count: int, folder: Path) -> None:
    """Pictures as `7.jpg`; a copy of it is `7_copy.jpg`."""
    rng = np.random.default_rng(0)
    paths = [path for name in FOLDERS for path in list_files(assets / name)]
    paths = [path for path in paths if path.suffix in (".jpg", ".png")]
    pictures = count - count // 11
    chosen = rng.choice(len(paths) * GRID**2, pictures, replace=False)
    numbers = dict(zip(np.sort(chosen).tolist(), range(pictures), strict=True))
    for place, part in parts(paths, set(numbers)):
        write_image(folder / f"{numbers[place]}.jpg", part)
        if numbers[place] < count - pictures:
            write_image(folder / f"{numbers[place]}_copy.jpg", altered(part, rng))


def parts(paths: list[Path], chosen: set[int]) -> Iterator[tuple[int, np.ndarray]]:
    for number, path in enumerate(paths):
        cells = [cell for cell in range(GRID**2) if number * GRID**2 + cell in chosen]
        image = read_image(path) if cells else np.empty(0)
        for cell in cells:
            (y, x), (height, width) = divmod(cell, GRID), (s // GRID for s in image.shape[:2])
            yield (
                number * GRID**2 + cell,
                image[y * height : (y + 1) * height, x * width : (x + 1) * width],
            )


def altered(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    way = rng.integers(5)
    if way == 0:
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-20, 20), 1)
        return cv2.warpAffine(image, matrix, (width, height))
    if way == 1:
        return image[:, ::-1]
    if way == 2:
        return cv2.GaussianBlur(image, (0, 0), width / 100)
    if way == 3:
        y, x = rng.integers(0, height // 8 + 1), rng.integers(0, width // 8 + 1)
        return image[y : y + height * 7 // 8, x : x + width * 7 // 8]
    return np.clip(image + rng.normal(0, 15, image.shape), 0, 255).astype(np.uint8)


def group(folder: Path) -> None:
    """Group the images, and print the columns of the table."""
    paths = list_files(folder)
    start = time.perf_counter()
    groups = near_duplicate_groups(paths)
    seconds = time.perf_counter() - start
    of_name = {path.stem: number for path, number in zip(paths, groups, strict=True)}
    copies = [name for name in of_name if name.endswith("_copy")]
    found = sum(of_name[name] == of_name[name.removesuffix("_copy")] for name in copies)
    pictures = np.array([number for name, number in of_name.items() if not name.endswith("_copy")])
    together = (np.bincount(pictures)[pictures] > 1).sum()
    cpu = sum(os.times()[:2])
    ratio = f"{found} of {len(copies)}"
    print(f"{seconds:.1f} | {cpu:.0f} | {ratio} | {together}", end="")


if __name__ == "__main__":
    main()
