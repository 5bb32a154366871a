"""Milliseconds that boxes and labels take on a frame, by its size and the number of faces.

    python benchmarks/bench_drawing.py

Faces lie at random, in the sizes that a crowd has, some over others. Probabilities change from
frame to frame, as those of a video do. "Blurred" is with blurred faces. Times are medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
from measure import machine, table

from facemask.detect.types import MaskDetection
from facemask.geometry import FaceBox
from facemask.output.blurring import blur_faces
from facemask.output.drawing import draw_detections
from facemask.output.labels import CLASS_STYLES

WIDTHS = (640, 1280, 1920)  # pixels; frames are 16:9
FACE_RATIOS = (1 / 40, 1 / 15)  # of the frame's width


def main() -> None:
    parser = argparse.ArgumentParser(description="The time that drawing takes, by faces.")
    parser.add_argument("--faces", nargs="+", type=int, default=[1, 5, 20, 60], metavar="N")
    parser.add_argument("--repeats", type=int, default=100, metavar="N", help="frames (100)")
    args = parser.parse_args()
    print(f"{machine()}\n", flush=True)
    rows = []
    for width in WIDTHS:
        for count in args.faces:
            times = [milliseconds(width, count, args.repeats, way) for way in (draw, blur_and_draw)]
            rows.append([str(width), str(count), *(f"{each:.2f}" for each in times)])
    print(table(("width", "faces", "drawn, ms", "blurred, ms"), rows))


def draw(frame: np.ndarray, detections: Sequence[MaskDetection]) -> None:
    draw_detections(frame, detections, in_place=True)


def blur_and_draw(frame: np.ndarray, detections: Sequence[MaskDetection]) -> None:
    blur_faces(frame, [detection.face for detection in detections])
    draw(frame, detections)


def milliseconds(
    width: int, count: int, repeats: int, way: Callable[[np.ndarray, list[MaskDetection]], None]
) -> float:
    """The median time of a frame with so many faces."""
    rng = np.random.default_rng(count)
    height = width * 9 // 16
    sides = (rng.uniform(*FACE_RATIOS, count) * width).astype(int)
    corners = (rng.uniform(0, 0.9, (count, 2)) * (width, height)).astype(int)
    faces = [
        FaceBox(x, y, x + side, y + side, 0.9).clip(width, height)
        for (x, y), side in zip(corners.tolist(), sides.tolist(), strict=True)
    ]
    labels = rng.choice(list(CLASS_STYLES), count).tolist()
    times = []
    for _ in range(repeats):
        frame = np.full((height, width, 3), 90, np.uint8)
        probabilities = rng.uniform(0.5, 1, count).tolist()
        detections = list(map(MaskDetection, faces, labels, probabilities))
        start = time.perf_counter()
        way(frame, detections)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


if __name__ == "__main__":
    main()
