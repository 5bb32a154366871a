"""Labels in videos: frame by frame, voted by tracks, and with faces classified only when due.

    python benchmarks/label_changes.py

The faces of each clip are found and classified once, in every frame. The same detections are then
tracked three times: without votes, with votes of every frame, and with the answers that the script
asks for (facemask/video/schedule.py) alone. A change is a frame that shows a tracked face with
another label than before. A different label is one that votes of every frame do not give.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from measure import arguments, leave_without, machine, run, table

from facemask.detect.types import MaskDetection
from facemask.geometry import FaceBox
from facemask.video.tracker import Track, Tracker

Frames = list[tuple[float, list[MaskDetection]]]  # with the time of each, s


def main() -> None:
    parser = arguments("Changes of labels, and labels that differ from those of every frame.")
    parser.add_argument(
        "--detector", nargs="+", default=["builtin", "ssd"], help="what finds faces (builtin ssd)"
    )
    parser.add_argument("--clip", nargs="+", type=Path, metavar="FILE", help="videos to use")
    args = parser.parse_args()
    leave_without(args.assets)
    print(f"{machine()}\n", flush=True)
    videos = args.assets / "video"
    groups = {clip.name: [clip] for clip in args.clip or sorted(videos.glob("*.mp4"))}
    if not args.clip:
        groups["gestures"] = sorted((videos / "gestures").iterdir())
    rows = []
    for detector in args.detector:
        networks = detector, args.model, args.assets / "face_detector"
        for name, clips in groups.items():
            detected = [detections(clip, *networks) for clip in clips]
            rows.append([detector, name, *compared_labels(detected)])
    columns = ["detector", "clip", "changes a minute: by frame", "by votes", "when due"]
    print(table([*columns, "faces", "classified", "different labels"], rows))


def compared_labels(clips: Sequence[Frames]) -> list[str]:
    """The last six columns of the table, for all clips together."""
    single = [tracked(frames, Tracker(vote_s=0)) for frames in clips]
    voted = [tracked(frames, Tracker()) for frames in clips]
    due = [tracked(frames, Tracker(), when_due=True) for frames in clips]
    minutes = sum(frames[-1][0] for frames in clips) / 60
    pairs = [
        (expected, shown)
        for ways in zip(voted, due, strict=True)
        for expected, shown in zip(*(labels for labels, _, _ in ways), strict=True)
    ]
    changes = [
        sum(track.changes for _, tracks, _ in way for track in tracks) / minutes
        for way in (single, voted, due)
    ]
    classified = sum(count for _, _, count in due)
    different = sum(expected != shown for expected, shown in pairs)
    return [
        *(f"{number:.1f}" for number in changes),
        str(len(pairs)),
        f"{classified / len(pairs):.1%}",
        f"{different} ({different / len(pairs):.2%})",
    ]


def detections(clip: Path, detector: str, model: Path, face: Path) -> Frames:
    """The faces of a clip's frames, each classified."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "faces.jsonl")
        run(
            "detect_mask_video.py", "--source", clip, "--json", record, "--no-track",
            "--no-display", "--detector", detector, "--face", face, "--model", model,
        )  # fmt: skip
        frames = [json.loads(line) for line in record.read_text().splitlines()]
    return [
        (
            frame["time_s"],
            [
                MaskDetection(
                    FaceBox(*face["box"], confidence=face["confidence"]),
                    face["label"],
                    face["probability"],
                )
                for face in frame["faces"]
            ],
        )
        for frame in frames
    ]


def tracked(
    frames: Frames, tracker: Tracker, when_due: bool = False
) -> tuple[list[str], list[Track], int]:
    """The shown labels of all faces, their tracks, and how many faces were classified."""
    labels, classified = [], 0
    for time_s, faces in frames:
        known = {face.face: face for face in faces}
        if when_due:

            def classify(due: Sequence[FaceBox], known=known) -> list[MaskDetection]:
                nonlocal classified
                classified += len(due)
                return [known[face] for face in due]

            shown = tracker.label(list(known), time_s, classify)
        else:
            shown = tracker.update(list(known.values()), time_s)
        labels += [face.label for face in shown]
    return labels, tracker.finish(), classified


if __name__ == "__main__":
    main()
