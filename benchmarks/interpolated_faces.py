"""Faces of a video file whose frames are not all searched, beside those of every frame.

    python benchmarks/interpolated_faces.py

Faces of the two runs are matched as evaluation matches boxes with annotated faces.
"""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measure import arguments, leave_without, machine, run, table

from facemask.evaluate.detection import match_boxes

COLUMNS = (
    "clip", "detector", "frames searched", "faces, every frame", "faces", "found again",
    "other faces", "other labels",
)  # fmt: skip


def main() -> None:
    parser = arguments("Faces that are interpolated, beside those of every frame.")
    parser.add_argument("--detector", nargs="+", default=["builtin", "ssd"], help="(builtin ssd)")
    parser.add_argument("--clip", nargs="+", type=Path, metavar="FILE", help="videos to use")
    args = parser.parse_args()
    leave_without(args.assets)
    print(f"{machine()}\n", flush=True)
    videos = args.assets / "video"
    clips = args.clip or [videos / "street.mp4", videos / "four_people.mp4"]
    rows = []
    for clip in clips:
        for detector in args.detector:
            options = "--source", clip, "--no-display", "--timings", "--model", args.model
            options += "--detector", detector, "--face", args.assets / "face_detector"
            with tempfile.TemporaryDirectory() as folder:
                every, some = Path(folder, "every.jsonl"), Path(folder, "some.jsonl")
                run("detect_mask_video.py", *options, "--json", every, "--detect-every-frame")
                ours = run("detect_mask_video.py", *options, "--json", some)
                rows.append([clip.name, detector, *compared(every, some, ours.output)])
    print(table(COLUMNS, rows))


def compared(every: Path, some: Path, output: str) -> list[str]:
    """The figures of a row, from the records of both runs and what the second one printed."""
    frames = list(zip(faces_of(every), faces_of(some), strict=True))
    totals = [sum(len(frame[side]) for frame in frames) for side in (0, 1)]
    pairs = [pair for frame in frames for pair in matched(*frame)]
    others = sum(first["label"] != second["label"] for first, second in pairs)
    searched = re.search(r"detect\s+(\d+)", output)
    if not searched:
        raise RuntimeError(f"no number of searched frames in:\n{output}")
    return [
        ratio(int(searched[1]), len(frames)),
        *map(str, totals),
        ratio(len(pairs), totals[0]),
        ratio(totals[1] - len(pairs), totals[1]),
        ratio(others, len(pairs)),
    ]


def faces_of(records: Path) -> list[list[dict[str, Any]]]:
    return [json.loads(line)["faces"] for line in records.read_text().splitlines()]


def matched(
    faces: list[dict[str, Any]], others: list[dict[str, Any]]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs of the same face in two runs."""
    boxes, other_boxes = (
        np.array([face["box"] for face in side], np.float32).reshape(-1, 4)
        for side in (faces, others)
    )
    scores = np.array([face["confidence"] for face in others])
    matches = match_boxes(boxes, other_boxes, scores)
    return [
        (faces[index], other)
        for other, index in zip(others, matches, strict=True)
        if index is not None
    ]


def ratio(part: int, whole: int) -> str:
    return f"{100 * part / max(1, whole):.1f} %"


if __name__ == "__main__":
    main()
