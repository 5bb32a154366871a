"""Frames a second over video: the classic way, and this project's with each face detector, in turn.

    python benchmarks/bench_video.py

The clips are street.mp4 and its first frames enlarged to 1280x720. The classic way shrinks each
frame to a width of 400 pixels before detection, and uses the tutorial's classifier of 224x224
pixels; ours keeps the frame's size. Frames a second are those that each script prints, without the
time of its start. Memory is the peak of the process. Neither writes or shows the video.
"""

import re
import statistics
import tempfile
from pathlib import Path

from measure import (
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


def main() -> None:
    parser = arguments("Frames a second: the classic way and ours.")
    parser.add_argument(
        "--frames", type=int, default=240, metavar="N", help="length of the 1280x720 clip (240)"
    )
    parser.add_argument(
        "--clip", nargs="+", type=Path, metavar="FILE", help="videos to use instead of these two"
    )
    parser.add_argument(
        "--detector", nargs="+", default=["ssd", "builtin"], help="of ours (ssd builtin)"
    )
    args = parser.parse_args()
    leave_without(args.assets)
    print(f"{machine()}\n", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = model_with_export(args.model, folder)
        face = ["--face", args.assets / "face_detector", "--model"]
        classic_networks = [*face, classic_model(folder)]
        street = args.assets / "video" / "street.mp4"
        clips = args.clip or [street, enlarged(street, folder / "1280x720.mp4", args.frames)]
        rows, profiles = [], []
        for clip in clips:
            source = ["--source", clip]
            classic: list[Run] = []
            of_detector: dict[str, list[Run]] = {name: [] for name in args.detector}
            for _ in range(args.repeats):
                classic.append(run("benchmarks/classic.py", "video", *source, *classic_networks))
                for name, ours in of_detector.items():
                    options = ["--no-display", "--timings", "--detector", name, *face, model]
                    ours.append(run("detect_mask_video.py", *source, *options))
            for name, ours in of_detector.items():
                rows.append(
                    [
                        clip.name,
                        name,
                        *(f"{statistics.median(map(fps, runs)):.1f}" for runs in (classic, ours)),
                        compared(list(map(fps, ours)), list(map(fps, classic))),
                        *(f"{max(r.peak for r in runs):.0f} MB" for runs in (classic, ours)),
                    ]
                )
                profiles.append((f"{clip.name}, {name}", stages(ours[-1])))
        columns = [
            "clip",
            "detector",
            "classic, FPS",
            "ours, FPS",
            "ratio",
            "classic, peak",
            "ours, peak",
        ]
        print(table(columns, rows))
        for clip_name, lines in profiles:
            print(f"\nOurs on {clip_name}, by stage (they overlap):\n\n```\n{lines}\n```")


def fps(finished: Run) -> float:
    match = re.search(r"([\d.]+) FPS", finished.output)
    if not match:
        raise RuntimeError(f"no frame rate in:\n{finished.output}")
    return float(match[1])


def stages(finished: Run) -> str:
    """The table that --timings prints."""
    lines = [line.removeprefix("[INFO] ") for line in finished.output.splitlines()]
    start = next(number for number, line in enumerate(lines) if line.startswith("stage"))
    return "\n".join(lines[start:])


def enlarged(source: Path, path: Path, frames: int) -> Path:
    """The first frames of a video, stretched to 1280x720 pixels, as a video at `path`."""
    import cv2

    capture = cv2.VideoCapture(str(source))
    writer = cv2.VideoWriter(
        str(path),
        cv2.VideoWriter.fourcc(*"mp4v"),
        capture.get(cv2.CAP_PROP_FPS),
        (1280, 720),
    )
    for _ in range(frames):
        read, frame = capture.read()
        if not read:
            break
        writer.write(cv2.resize(frame, (1280, 720)))
    writer.release()
    return path


if __name__ == "__main__":
    main()
