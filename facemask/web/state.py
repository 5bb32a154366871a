"""What the page says of a run in words and numbers."""

import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from facemask.detect.types import MaskDetection
from facemask.output.labels import class_style
from facemask.video.alerts import Alert, Alerts
from facemask.video.frame_errors import FrameErrors
from facemask.video.sources import Source
from facemask.video.track_log import TrackLog

HOUR_S = 3600.0
STEP_S = 60.0  # "the last hour" is up to this much longer
FPS_WINDOW_S = 2.0  # that the frame rate is measured over
STILL_S = 2.0  # without a frame, after which the picture counts as standing still


@dataclass(frozen=True)
class Snapshot:
    """A run at one frame. Made whole, so that another thread can read it at any time."""

    time_s: float = 0.0  # by time.monotonic()
    number: int = 0  # of the frame, from 1; 0 before the first
    fps: float = 0.0  # frames a second
    in_view: Counter[str] = field(default_factory=Counter)  # faces by label
    last_hour: Counter[str] | None = None  # tracked faces by label; None where nothing is tracked
    failed_frames: int = 0
    problem: str = ""  # with this frame
    alerts: tuple[Alert, ...] = ()  # the newest last


class RunState:
    """Follows a run, frame by frame on its thread, and describes it on any thread."""

    def __init__(self) -> None:
        self._class_names: tuple[str, ...] = ()
        self._now = Snapshot()
        self._source: Source | None = None
        self._track_log: TrackLog | None = None
        self._alerts: Alerts | None = None
        self._errors: FrameErrors | None = None
        self._times: deque[float] = deque()  # of the frames within FPS_WINDOW_S
        # The faces that were counted before a time, for each STEP_S of the last hour.
        self._before: deque[tuple[float, Counter[str]]] = deque()

    def follow(
        self,
        class_names: Sequence[str],
        source: Source,
        track_log: TrackLog | None,
        alerts: Alerts,
        errors: FrameErrors,
    ) -> None:
        """Take the state of these from now on; until then the run is starting.

        class_names: those of the model, in its order; each has a count, also of none. track_log:
        None where nothing is tracked.
        """
        self._class_names = tuple(class_names)
        self._source, self._track_log = source, track_log
        self._alerts, self._errors = alerts, errors

    def update(self, detections: Sequence[MaskDetection]) -> int:
        """Process a frame; returns its number, from 1."""
        now_s = time.monotonic()
        self._times.append(now_s)
        while self._times[0] < now_s - FPS_WINDOW_S:
            self._times.popleft()
        elapsed_s = self._times[-1] - self._times[0]
        self._now = Snapshot(
            now_s,
            self._now.number + 1,
            (len(self._times) - 1) / elapsed_s if elapsed_s else 0.0,
            Counter(detection.label for detection in detections),
            self._last_hour(now_s),
            self._errors.count if self._errors else 0,
            self._errors.message if self._errors else "",
            tuple(self._alerts.recent) if self._alerts else (),
        )
        return self._now.number

    def _last_hour(self, now_s: float) -> Counter[str] | None:
        """The counted faces that were in view within the last hour, by label."""
        if self._track_log is None:
            return None
        left = self._track_log.counted()
        if not self._before or now_s - self._before[-1][0] >= STEP_S:
            self._before.append((now_s, left))
        while len(self._before) > 1 and self._before[1][0] <= now_s - HOUR_S:
            self._before.popleft()
        return left - self._before[0][1] + self._track_log.counted_in_view()

    def describe(self) -> dict[str, Any]:
        """The state as it is sent in JSON; docs/video.md has its names."""
        now, source = self._now, self._source
        age_s = time.monotonic() - now.time_s if now.number else None
        status = self._status(age_s)
        if status != "running":
            now = replace(now, fps=0.0, in_view=Counter())
        return {
            "source": source.name if source else "",
            "status": status,
            "frame_age_s": None if age_s is None else round(age_s, 2),
            "fps": round(now.fps, 1),
            "frame": now.number,
            "dropped_frames": source.dropped_frames if source else 0,
            "failed_frames": now.failed_frames,
            "problem": now.problem,
            "in_view": self._rows(now.in_view),
            "last_hour": None if now.last_hour is None else self._rows(now.last_hour),
            "alerts": [
                {**asdict(alert), "word": class_style(alert.label)[0]}
                for alert in reversed(now.alerts)
            ],
        }

    def _status(self, age_s: float | None) -> str:
        """One of "starting", "running", "reconnecting" and "no frames"."""
        if self._source and self._source.reconnecting:
            return "reconnecting"
        if age_s is None:
            return "starting"
        return "running" if age_s <= STILL_S else "no frames"

    def _rows(self, counts: Counter[str]) -> list[dict[str, Any]]:
        """The count and the share of each class, with its word and colour on pictures."""
        rows = []
        for label in dict.fromkeys((*self._class_names, *sorted(counts))):
            word, (blue, green, red) = class_style(label)
            share = round(counts[label] / counts.total(), 4) if counts else 0.0
            rows.append(
                {
                    "label": label,
                    "word": word,
                    "colour": f"#{red:02x}{green:02x}{blue:02x}",
                    "count": counts[label],
                    "share": share,
                }
            )
        return rows
