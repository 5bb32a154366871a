"""How often labels change in a video: labelled frame by frame, and by the votes of tracks.

    python benchmarks/label_changes.py

Each clip is detected once, without tracks; the same detections are then tracked twice, without
votes and with those that the script uses. A change is a frame that shows a tracked face with
another label than before.
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
    parser.add_argument("--clip", nargs="+", type=Path, metavar="FILE", help="videos to use")
    args = parser.parse_args()
    leave_without(args.assets)
    print(f"{machine()}\n", flush=True)
    videos = args.assets / "video"
    rows = []
    for clip in args.clip or [videos / "four_people.mp4", videos / "street.mp4"]:
        frames = detected(clip, args.detector, args.model, args.assets / "face_detector")
        minutes = frames[-1]["time_s"] / 60
        single, voted = track(frames, Tracker(vote_s=0)), track(frames, Tracker())
        rows.append(
            [
                clip.name,
                *(f"{sum(t.changes for t in tracks) / minutes:.1f}" for tracks in (single, voted)),
                str(len(voted)),
                f"{statistics.median(t.last_s - t.first_s for t in voted):.1f} s",
            ]
        )
    columns = ["clip", "changes a minute, by frame", "by votes", "tracks", "median length"]
    print(table(columns, rows))


def detected(clip: Path, detector: str, model: Path, face: Path) -> list[dict]:
    """The records of a clip's frames."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "faces.jsonl")
        run(
            "detect_mask_video.py", "--source", clip, "--json", record, "--no-track",
            "--no-display", "--detector", detector, "--face", face, "--model", model,
        )  # fmt: skip
        return [json.loads(line) for line in record.read_text().splitlines()]


def track(frames: list[dict], tracker: Tracker) -> list[Track]:
    """All tracks of these frames."""
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
