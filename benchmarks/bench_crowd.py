"""Milliseconds a frame with 1, 5, 20 and 50 faces in view: the classic way and ours.

    python benchmarks/bench_crowd.py

The faces are cut out of the annotated photographs in scenes3 and laid on a grey frame of 1280x720
pixels, which drifts as a camera held by hand does. Each way labels the same clips. "Every frame" is
ours with --classify-every-frame. Times are medians, from the frame rates that the scripts print.
Faces are those that are found, as a mean of the frames: the classic way shrinks a frame to a width
of 400 pixels, and misses most of these.
"""

import re
import statistics
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from bench_video import fps
from measure import (
    Run,
    arguments,
    classic_model,
    leave_without,
    machine,
    model_with_export,
    run,
    table,
)

from facemask.data import pascal_voc
from facemask.data.scenes import annotated_folder
from facemask.geometry import face_boxes
from facemask.images import crop_face, read_image, resize

WIDTH, HEIGHT, FPS = 1280, 720, 25
CELL, COLUMNS = 128, 10  # pixels of the square for a face and what is around it; faces in a row
SMALLEST_FACE = 60  # pixels, of those that are cut out
LARGEST_SIZE = 4000, 4000  # pixels, of a photograph
AROUND = 0.4  # of a face's width and height, on each side
DRIFT = 24  # pixels, at most


def main() -> None:
    parser = arguments("Milliseconds a frame, by the number of faces in view.")
    parser.add_argument("--faces", nargs="+", type=int, default=[1, 5, 20, 50], metavar="N")
    parser.add_argument("--frames", type=int, default=150, metavar="N", help="in each clip (150)")
    parser.add_argument("--detector", default="builtin", help="what finds the faces (builtin)")
    args = parser.parse_args()
    leave_without(args.assets)
    print(f"{machine()}\n", flush=True)
    faces = cut_out(args.assets / "scenes3", max(args.faces))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        face = ["--face", args.assets / "face_detector", "--model"]
        ours = ["detect_mask_video.py", "--no-display", "--detector", args.detector, *face]
        ours.append(model_with_export(args.model, folder))
        ways = {
            "classic": ["benchmarks/classic.py", "video", *face, classic_model(folder)],
            "every frame": [*ours, "--classify-every-frame"],
            "ours": ours,
        }
        rows = []
        for count in args.faces:
            clip = write_clip(folder / f"{count}.mp4", faces[:count], args.frames)
            runs: dict[str, list[Run]] = {way: [] for way in ways}
            for _ in range(args.repeats):
                for way, command in ways.items():
                    record = ["--json", folder / "faces.jsonl"] if way != "classic" else []
                    runs[way].append(run(*command, "--source", clip, *record))
            counts = (runs["classic"][0].output, (folder / "faces.jsonl").read_text())
            rows.append([str(count), *times(runs), *found(*counts, args.frames)])
    columns = ["faces", *(f"{way}, ms" for way in ways), "found by classic", "by ours"]
    print(table(columns, rows))


def cut_out(scenes: Path, count: int) -> list[np.ndarray]:
    """Faces of annotated photographs with what is around them, each (CELL, CELL, 3) uint8, BGR."""
    crops = []
    for annotation in pascal_voc.annotations(annotated_folder(scenes)):
        corners = np.array([box.corners for box in annotation.boxes]).reshape(-1, 4)
        boxes = face_boxes(corners, np.ones(len(corners)), *LARGEST_SIZE)
        large = [box for box in boxes if min(box.width, box.height) >= SMALLEST_FACE]
        if annotation.image and large:
            crop = crop_face(read_image(annotation.image), large[0], AROUND)
            crops.append(resize(crop, (CELL, CELL)))
        if len(crops) == count:
            return crops
    sys.exit(f"skipped: fewer than {count} photographs with large faces in {scenes}")


def write_clip(path: Path, faces: list[np.ndarray], frames: int) -> Path:
    """A video of all these faces, in rows."""
    picture = np.full((HEIGHT + DRIFT, WIDTH + DRIFT, 3), 128, np.uint8)
    for number, face in enumerate(faces):
        row, column = divmod(number, COLUMNS)
        y, x = DRIFT // 2 + row * (CELL + 8), DRIFT // 2 + column * CELL
        picture[y : y + CELL, x : x + CELL] = face
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    for number in range(frames):
        turn = 2 * np.pi * number / (4 * FPS)
        x, y = (round(DRIFT * (1 + wave) / 2) for wave in (np.sin(turn), np.cos(turn)))
        writer.write(picture[y : y + HEIGHT, x : x + WIDTH])
    writer.release()
    return path


def times(runs: dict[str, list[Run]]) -> list[str]:
    """The median of each way, milliseconds a frame."""
    return [f"{statistics.median(1000 / fps(done) for done in way):.1f}" for way in runs.values()]


def found(classic: str, ours: str, frames: int) -> list[str]:
    """Faces a frame, from the output of the classic way and the records of ours."""
    match = re.search(r"(\d+) faces", classic)
    assert match, classic
    return [f"{count / frames:.1f}" for count in (int(match[1]), ours.count('"box"'))]


if __name__ == "__main__":
    main()
