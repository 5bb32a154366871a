"""Milliseconds a frame on this machine, by size of the frame and face detector.

    python benchmarks/bench_frames.py

Needs requirements-detect.txt alone, and no camera: the frames are examples/example_03.png, which
shows two faces, stretched to each size. The detectors are those whose weights are there. The sizes
and detectors take turns, and the median of each counts. Reading, drawing and writing are left out.
"""

import argparse
import statistics
import time
from pathlib import Path

import cv2
from measure import PROJECT, machine, table

from facemask.detect import registry
from facemask.detect.classifier import MaskClassifier
from facemask.detect.model_choice import SHIPPED
from facemask.detect.pipeline import detect_masks
from facemask.files import find
from facemask.images import read_image

SIZES = ((320, 240), (640, 480), (1280, 720), (1920, 1080))


def main() -> None:
    parser = argparse.ArgumentParser(description="Milliseconds a frame on this machine.")
    add = parser.add_argument
    add("--face", default="face_detector", metavar="DIR", help="the face detectors' weights")
    add("--tiles", type=int, default=1, metavar="N", help="as detect_mask_video.py --tiles (1)")
    add("--threads", type=int, metavar="N", help="of each network (as many as the cores)")
    add("--repeats", type=int, default=20, metavar="N", help="frames of each size (20)")
    args = parser.parse_args()
    print(f"{machine()}\n", flush=True)
    if args.threads:
        cv2.setNumThreads(args.threads)
    threads, folder = cv2.getNumThreads(), find(args.face)
    names = [name for name in ("builtin", "ssd", "yunet") if has_weights(name, folder)]
    detectors = {name: registry.load_detector(name, folder, threads, args.tiles) for name in names}
    classifier = MaskClassifier.load(find(SHIPPED).with_suffix(".tflite"), args.threads)
    example = read_image(PROJECT / "examples" / "example_03.png")
    frames = {size: cv2.resize(example, size) for size in SIZES}
    cases = [(name, size) for name in names for size in SIZES]
    seconds: dict[tuple[str, tuple[int, int]], list[float]] = {case: [] for case in cases}
    faces = dict.fromkeys(cases, 0)
    for repeat in range(args.repeats + 1):
        for name, size in cases:
            start = time.perf_counter()
            faces[name, size] = len(detect_masks(frames[size], detectors[name], classifier))
            if repeat:  # the first call of each is slower: memory is allocated
                seconds[name, size].append(time.perf_counter() - start)
    rows = [
        [
            f"{width}x{height}",
            name,
            str(faces[name, (width, height)]),
            f"{1000 * median:.1f}",
            f"{1 / median:.0f}",
        ]
        for name, (width, height) in cases
        for median in [statistics.median(seconds[name, (width, height)])]
    ]
    print(table(["frame", "detector", "faces", "ms a frame", "frames a second"], rows))


def has_weights(detector: str, folder: Path) -> bool:
    return registry.weights_file(detector, folder).is_file()


if __name__ == "__main__":
    main()
