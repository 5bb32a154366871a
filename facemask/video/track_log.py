"""A log of the faces of a video: who is in view, who was, and how fast frames come.

"How many people were there" is the number of tracks of at least MIN_COUNTED_S. Shorter ones are
mostly false detections, or a face that was found again too far from where it was lost. They are
neither in the summary nor in the table, so that both say the same; their numbers are in the records
of frames alone. Somebody who leaves and comes back counts twice, since no face is recognised.
"""

import csv
import io
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Self

import numpy as np

from facemask.detect.types import MaskDetection
from facemask.geometry import FaceBox
from facemask.output.labels import class_word
from facemask.output.records import LineFile
from facemask.video.cuts import CutDetector
from facemask.video.tracker import Track, Tracker

MIN_COUNTED_S = 0.5  # the help of --csv says so, too
FPS_WINDOW = 30  # frames that the shown frame rate is measured over

TRACK_COLUMNS = ("track", "first_s", "last_s", "label", "share", "frames", "changes")

# Gives faces of an image with their classes; see pipeline.classify_faces.
Classify = Callable[[np.ndarray, Sequence[FaceBox]], Sequence[MaskDetection]]


class TrackLog:
    """Tracks the faces of a video, counts them and, with a path, writes a row of CSV for each.

    Tracks of less than MIN_COUNTED_S are left out. A row is written when its track has ended; its
    columns are TRACK_COLUMNS. A context manager: its end ends all tracks. Raises FacemaskError when
    the table can't be written.
    """

    def __init__(self, csv_path: Path | None = None, photographs: bool = False):
        """photographs: each frame is a picture by itself. Its faces are counted, each with a row
        and a number of its own, and nothing is tracked.
        """
        self._photographs = photographs
        self._tracker = Tracker()
        self._cuts = CutDetector()
        self._table = LineFile(csv_path) if csv_path else None
        self._frames = 0
        self._tracks_by_label: Counter[str] = Counter()
        self._frame_labels: Counter[str] = Counter()
        self._frame_times: deque[float] = deque(maxlen=FPS_WINDOW)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._table or nullcontext():
            if kind is None and not self._frames:
                self._write_row(TRACK_COLUMNS)
            self._log(self._tracker.finish())

    def update(
        self, detections: Sequence[MaskDetection], frame: np.ndarray, time_s: float
    ) -> Sequence[MaskDetection]:
        """A frame's detections with their tracks and the labels to show; see Tracker.update.

        frame: (H, W, 3) uint8, BGR, before anything is drawn on it. At a cut all tracks end. The
        detections of photographs are returned as they are.
        """
        self._end_scene(frame)
        tracked = self._tracker.update(detections, time_s)
        self._count(tracked)
        return detections if self._photographs else tracked

    def label(
        self, faces: Sequence[FaceBox], frame: np.ndarray, time_s: float, classify: Classify
    ) -> Sequence[MaskDetection]:
        """As update, for faces that are not classified yet; see Tracker.label."""
        self._end_scene(frame)
        tracked = self._tracker.label(faces, time_s, lambda due: classify(frame, due))
        self._count(tracked)
        return tracked

    def _end_scene(self, frame: np.ndarray) -> None:
        if self._photographs or self._cuts.is_cut(frame):
            self._log(self._tracker.finish())

    def _count(self, tracked: Sequence[MaskDetection]) -> None:
        if not self._frames:
            self._write_row(TRACK_COLUMNS)
        self._frames += 1
        self._frame_labels = Counter(detection.label for detection in tracked)
        self._frame_times.append(time.monotonic())
        self._log(self._tracker.take_ended())

    def status(self) -> str:
        """Frames a second and the faces of this frame: `24.9 FPS   Mask 3   No Mask 1`."""
        words = [f"{class_word(label)} {n}" for label, n in sorted(self._frame_labels.items())]
        if len(self._frame_times) > 1:
            elapsed = max(1e-6, self._frame_times[-1] - self._frame_times[0])
            words.insert(0, f"{(len(self._frame_times) - 1) / elapsed:.1f} FPS")
        return "   ".join(words)

    def counted(self) -> Counter[str]:
        """The faces that are counted and have left, by the label that most of their frames show."""
        return self._tracks_by_label.copy()

    def counted_in_view(self) -> Counter[str]:
        """The faces that will be counted, as things are, and have not left, by the same label."""
        return Counter(
            track.majority_label()[0] for track in self._tracker.current if self._counts(track)
        )

    def summary(self) -> str:
        """The faces, by the label that most of their frames show.

        `5 faces tracked for at least 0.5 s: 3 Mask, 2 No Mask`, or `5 faces in 3 images: ...`.
        """
        counts = [f"{n} {class_word(label)}" for label, n in sorted(self._tracks_by_label.items())]
        faces = _count(self._tracks_by_label.total(), "face")
        if self._photographs:
            faces += f" in {_count(self._frames, 'image')}"
        else:
            faces += f" tracked for at least {MIN_COUNTED_S:g} s"
        return faces + (f": {', '.join(counts)}" if counts else "")

    def _log(self, ended: Sequence[Track]) -> None:
        for track in ended:
            if not self._counts(track):
                continue
            times = round(track.first_s, 3), round(track.last_s, 3)
            label, count = track.majority_label()
            self._tracks_by_label[label] += 1
            frames = sum(track.frames_by_label.values())
            share = round(count / frames, 4)
            self._write_row((track.number, *times, label, share, frames, track.changes))

    def _counts(self, track: Track) -> bool:
        """Whether a track is long enough to be counted, by its times as the table has them."""
        seconds = round(round(track.last_s, 3) - round(track.first_s, 3), 3)
        return self._photographs or seconds >= MIN_COUNTED_S

    def _write_row(self, values: Sequence[object]) -> None:
        if self._table:
            row = io.StringIO()
            csv.writer(row, lineterminator="").writerow(values)
            self._table.write_line(row.getvalue())


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
