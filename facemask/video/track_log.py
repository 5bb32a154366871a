"""A log of the faces of a video: who is in view, who was, and how fast frames come."""

import csv
import io
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Self

from facemask.detect.types import MaskDetection
from facemask.output.labels import class_word
from facemask.output.records import LineFile
from facemask.video.tracker import Track, Tracker

# Shorter tracks are not counted: most are false detections.
MIN_COUNTED_S = 0.5
FPS_WINDOW = 30  # frames that the shown frame rate is measured over

TRACK_COLUMNS = ("track", "first_s", "last_s", "label", "share", "frames", "changes")


class TrackLog:
    """Tracks the faces of a video, counts them and, with a path, writes a row of CSV for each.

    A row is written when its track has ended; its columns are TRACK_COLUMNS. A context manager:
    its end ends all tracks. Raises FacemaskError when the table can't be written.
    """

    def __init__(self, csv_path: Path | None = None):
        self._tracker = Tracker()
        self._table = LineFile(csv_path) if csv_path else None
        self._tracks_by_label: Counter[str] = Counter()
        self._frame_labels: Counter[str] = Counter()
        self._frame_times: deque[float] = deque(maxlen=FPS_WINDOW)
        self._write_row(TRACK_COLUMNS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._table or nullcontext():
            self._log(self._tracker.finish())

    def update(self, detections: Sequence[MaskDetection], time_s: float) -> list[MaskDetection]:
        """A frame's detections with their tracks and the labels to show; see Tracker.update."""
        tracked = self._tracker.update(detections, time_s)
        self._frame_labels = Counter(detection.label for detection in tracked)
        self._frame_times.append(time.monotonic())
        self._log(self._tracker.take_ended())
        return tracked

    def status(self) -> str:
        """Frames a second and the faces of this frame: `24.9 FPS   Mask 3   No Mask 1`."""
        words = [f"{class_word(label)} {n}" for label, n in sorted(self._frame_labels.items())]
        if len(self._frame_times) > 1:
            elapsed = max(1e-6, self._frame_times[-1] - self._frame_times[0])
            words.insert(0, f"{(len(self._frame_times) - 1) / elapsed:.1f} FPS")
        return "   ".join(words)

    def summary(self) -> str:
        """The faces by the label of most of their frames: `5 faces tracked: 3 Mask, 2 No Mask`."""
        counts = [f"{n} {class_word(label)}" for label, n in sorted(self._tracks_by_label.items())]
        total = self._tracks_by_label.total()
        faces = f"{total} face" + ("" if total == 1 else "s")
        return f"{faces} tracked" + (f": {', '.join(counts)}" if counts else "")

    def _log(self, ended: Sequence[Track]) -> None:
        for track in ended:
            label, count = track.majority_label()
            if track.last_s - track.first_s >= MIN_COUNTED_S:
                self._tracks_by_label[label] += 1
            frames = sum(track.frames_by_label.values())
            times = round(track.first_s, 3), round(track.last_s, 3)
            share = round(count / frames, 4)
            self._write_row((track.number, *times, label, share, frames, track.changes))

    def _write_row(self, values: Sequence[object]) -> None:
        if self._table:
            row = io.StringIO()
            csv.writer(row, lineterminator="").writerow(values)
            self._table.write_line(row.getvalue())
