"""How often labels change in a video: each frame labelled by itself, and by the votes of tracks.

    python benchmarks/label_changes.py

Each clip is detected once, without tracks; the same detections are then followed twice, with votes
of no length and with those that the script uses. A change counts where a face that was followed is
shown with another label than in the frame before.
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

from measure import PROJECT, arguments, leave_without, machine, run, table

sys.path.insert(0, str(PROJECT))

from facemask.detect.types import MaskDetection
from facemask.geometry import FaceBox
from facemask.video.tracker import Track, Tracker


def main() -> None:
    parser = arguments("Changes of labels a minute, with and without tracks.")
    parser.add_argument("--detector", default="ssd", help="what finds the faces (ssd)")
    parser.add_argument("--clip", nargs="+", type=Path, metavar="FILE", help="videos to take")
    args = parser.parse_args()
    leave_without(args.assets)
    print(f"{machine()}\n", flush=True)
    videos = args.assets / "video"
    rows = []
    for clip in args.clip or [videos / "four_people.mp4", videos / "street.mp4"]:
        frames = detected(clip, args.detector, args.model, args.assets / "face_detector")
        minutes = frames[-1]["time_s"] / 60
        single, voted = followed(frames, Tracker(vote_s=0)), followed(frames, Tracker())
        rows.append(
            [
                clip.name,
                *(f"{sum(one.changes for one in way) / minutes:.1f}" for way in (single, voted)),
                str(len(voted)),
                f"{statistics.median(one.last_s - one.first_s for one in voted):.1f} s",
            ]
        )
    head = ["clip", "changes a minute, by frame", "by votes", "tracks", "median length"]
    print(table(head, rows))


def detected(clip: Path, detector: str, model: Path, face: Path) -> list[dict]:
    """The records of a clip's frames."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "found.jsonl")
        run(
            "detect_mask_video.py", "--source", clip, "--json", found, "--no-track", "--no-display",
            "--detector", detector, "--face", face, "--model", model,
        )  # fmt: skip
        return [json.loads(line) for line in found.read_text().splitlines()]


def followed(frames: list[dict], tracker: Tracker) -> list[Track]:
    for frame in frames:
        faces = [
            MaskDetection(
                FaceBox(*face["box"], confidence=face["confidence"]),
                face["label"],
                face["probability"],
            )
            for face in frame["faces"]
        ]
        tracker.update(faces, frame["time_s"])
    return tracker.finish()


if __name__ == "__main__":
    main()
