"""What becomes of a video's faces: who is there now, who was, and how fast frames come."""

import csv
import io
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from facemask.detect.types import MaskDetection
from facemask.output.labels import class_word
from facemask.output.records import LineFile
from facemask.video.tracker import Track, Tracker

# A face that was followed for less is not counted: it was nobody, or nobody will miss it.
COUNTED_S = 0.5
RATE_OVER_FRAMES = 30


class Followed:
    """Follows the faces of a video, counts them and, where asked for, writes a row for each.

    A context manager: its end ends all tracks. Raises FacemaskError when the table can't be
    written.
    """

    def __init__(self, table: Path | None = None):
        self._tracker = Tracker()
        self._table = TrackTable(table) if table else None
        self._counts: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        self._times: deque[float] = deque(maxlen=RATE_OVER_FRAMES)

    def update(self, detections: Sequence[MaskDetection], time_s: float) -> list[MaskDetection]:
        """A frame's detections with their tracks and the labels to show; see Tracker.update."""
        shown = self._tracker.update(detections, time_s)
        self._now = Counter(one.label for one in shown)
        self._times.append(time.monotonic())
        self._end(self._tracker.ended())
        return shown

    def status(self) -> str:
        """Frames a second and the faces of this frame: `24.9 FPS   Mask 3   No Mask 1`."""
        parts = [f"{class_word(label)} {count}" for label, count in sorted(self._now.items())]
        if len(self._times) > 1:
            rate = (len(self._times) - 1) / max(1e-6, self._times[-1] - self._times[0])
            parts.insert(0, f"{rate:.1f} FPS")
        return "   ".join(parts)

    def summary(self) -> str:
        """Who was there, by what most frames said: `5 faces followed: 3 Mask, 2 No Mask`."""
        parts = [f"{count} {class_word(label)}" for label, count in sorted(self._counts.items())]
        total = self._counts.total()
        faces = f"{total} face" + ("" if total == 1 else "s")
        return f"{faces} followed" + (f": {', '.join(parts)}" if parts else "")

    def _end(self, tracks: Sequence[Track]) -> None:
        for track in tracks:
            if track.last_s - track.first_s >= COUNTED_S:
                self._counts[track.majority_label()[0]] += 1
            if self._table:
                self._table.write(track)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            if self._table:
                stack.enter_context(self._table)
            self._end(self._tracker.finish())


TRACK_COLUMNS = ("track", "first_s", "last_s", "label", "share", "frames", "changes")


class TrackTable(LineFile):
    """A CSV row for each face that was followed, written when it has left."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.write_line(",".join(TRACK_COLUMNS))

    def write(self, track: Track) -> None:
        row = io.StringIO()
        csv.writer(row, lineterminator="").writerow(track_record(track).values())
        self.write_line(row.getvalue())


def track_record(track: Track) -> dict[str, Any]:
    """A track as plain data: the label that most of its frames had, and their share of all."""
    label, frames = track.majority_label()
    return {  # in the order of TRACK_COLUMNS
        "track": track.number,
        "first_s": round(track.first_s, 3),
        "last_s": round(track.last_s, 3),
        "label": label,
        "share": round(frames / sum(track.frames.values()), 4),
        "frames": sum(track.frames.values()),
        "changes": track.changes,
    }
