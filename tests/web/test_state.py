"""What the page says: counts, the last hour, alerts, and how the camera is."""

import json
from pathlib import Path

import numpy as np
import pytest

from facemask.detect.types import MaskDetection
from facemask.geometry import FaceBox
from facemask.video.alerts import Alerts
from facemask.video.frame_errors import FrameErrors
from facemask.video.sources import Source
from facemask.video.track_log import TrackLog
from facemask.web import state
from facemask.web.state import RunState

CLASSES = ("with_mask", "without_mask", "mask_weared_incorrect")
FRAME = np.zeros((100, 300, 3), np.uint8)


def face(x: int, label: str) -> MaskDetection:
    return MaskDetection(FaceBox(x, 10, x + 40, 50, 0.9), label, 0.9)


class Run:
    """A run whose clock is set by hand; its video lasts as long."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tracked: bool = True):
        self.clock_s = 1000.0
        monkeypatch.setattr(state.time, "monotonic", lambda: self.clock_s)
        self.source = Source("camera 0")
        self.errors = FrameErrors(lambda line: None)
        self.alerts = Alerts([], ["without_mask"], 1.0, 5.0, None, print)
        self.track_log = TrackLog() if tracked else None
        self.state = RunState()
        self.state.follow(CLASSES, self.source, self.track_log, self.alerts, self.errors)

    def frames(self, seconds: float, *faces: MaskDetection, step_s: float = 0.25) -> None:
        """Frames that all have these faces."""
        for _ in range(round(seconds / step_s)):
            self.clock_s += step_s
            found = faces
            if self.track_log:
                found = self.track_log.update(faces, FRAME, self.clock_s)
            self.alerts.update(found, FRAME, self.clock_s)
            self.state.update(found)

    def counts(self, name: str) -> dict[str, int]:
        return {row["label"]: row["count"] for row in self.state.describe()[name]}

    @property
    def status(self) -> str:
        return self.state.describe()["status"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(monkeypatch)


def test_before_the_networks_are_loaded_the_run_is_starting() -> None:
    described = RunState().describe()
    assert (described["status"], described["frame"]) == ("starting", 0)
    assert described["in_view"] == described["alerts"] == []
    assert described["last_hour"] is described["frame_age_s"] is None


def test_no_faces_are_a_count_of_none_for_each_class(run: Run) -> None:
    run.frames(1)
    assert run.counts("in_view") == dict.fromkeys(CLASSES, 0)
    assert run.counts("last_hour") == dict.fromkeys(CLASSES, 0)
    assert {row["share"] for row in run.state.describe()["last_hour"]} == {0.0}


def test_faces_in_view_have_their_words_and_colours(run: Run) -> None:
    run.frames(1, face(10, "with_mask"), face(110, "with_mask"), face(210, "uncertain"))
    rows = run.state.describe()["in_view"]
    assert rows[0] == {
        "label": "with_mask", "word": "Mask", "colour": "#00ff00", "count": 2, "share": 0.6667,
    }  # fmt: skip
    assert [(row["word"], row["count"]) for row in rows[1:]] == [
        ("No Mask", 0),
        ("Incorrect Mask", 0),
        ("Unsure", 1),
    ]


def test_the_last_hour_counts_each_face_once(run: Run) -> None:
    run.frames(0.25, face(210, "without_mask"))  # less than half a second
    run.frames(10, face(10, "with_mask"))
    assert run.counts("last_hour") == dict.fromkeys(CLASSES, 0) | {"with_mask": 1}  # in view
    run.frames(3)
    run.frames(5, face(10, "without_mask"))
    expected = {"with_mask": 1, "without_mask": 1, "mask_weared_incorrect": 0}
    assert run.counts("last_hour") == expected
    run.frames(3)
    assert run.counts("last_hour") == expected
    assert run.state.describe()["last_hour"][0]["share"] == 0.5


def test_what_left_more_than_an_hour_ago_is_not_counted(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here an hour is a minute, counted in steps of a second."""
    monkeypatch.setattr(state, "HOUR_S", 60.0)
    monkeypatch.setattr(state, "STEP_S", 1.0)
    only_masked = dict.fromkeys(CLASSES, 0) | {"with_mask": 1}
    run.frames(5, face(10, "without_mask"))
    run.frames(30)
    run.frames(25, face(10, "with_mask"))
    assert run.counts("last_hour") == only_masked | {"without_mask": 1}
    run.frames(10, face(10, "with_mask"))
    assert run.counts("last_hour") == only_masked
    # Somebody who stays for more than an hour was there within the last one.
    run.frames(70, face(10, "with_mask"))
    assert run.counts("last_hour") == only_masked
    run.frames(55)
    assert run.counts("last_hour") == only_masked
    run.frames(10)
    assert run.counts("last_hour") == dict.fromkeys(CLASSES, 0)


def test_without_tracking_there_is_no_last_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, tracked=False)
    run.frames(2, face(10, "with_mask"))
    assert run.state.describe()["last_hour"] is None
    assert run.counts("in_view")["with_mask"] == 1


def test_the_last_alerts_come_newest_first(run: Run) -> None:
    run.frames(3, face(10, "without_mask"))
    run.frames(8, face(10, "without_mask"), face(210, "without_mask"))
    alerts = run.state.describe()["alerts"]
    assert [(alert["track"], alert["word"]) for alert in alerts] == [
        (2, "No Mask"),
        (1, "No Mask"),
    ]
    run.frames(100, face(10, "without_mask"))
    assert len(run.state.describe()["alerts"]) == 10


def test_the_frame_rate_is_that_of_the_last_seconds(run: Run) -> None:
    run.frames(10, step_s=0.1)
    assert run.state.describe()["fps"] == 10.0
    run.frames(4, step_s=0.05)
    assert run.state.describe()["fps"] == 20.0


def test_a_camera_that_stands_still_shows_nothing_as_now(run: Run) -> None:
    run.frames(3, face(10, "with_mask"))
    assert run.status == "running"
    run.clock_s += 5
    described = run.state.describe()
    assert (described["status"], described["fps"]) == ("no frames", 0.0)
    assert described["frame_age_s"] == 5.0
    assert run.counts("in_view") == dict.fromkeys(CLASSES, 0)
    assert run.counts("last_hour")["with_mask"] == 1
    run.frames(1, face(10, "with_mask"))
    assert run.status == "running"
    run.source.reconnecting = True
    assert run.status == "reconnecting"
    assert run.counts("in_view") == dict.fromkeys(CLASSES, 0)
    run.source.reconnecting = False
    assert run.counts("in_view")["with_mask"] == 1


def test_frames_that_failed_are_told(run: Run) -> None:
    with run.errors.caught(0, ValueError("no memory")):
        pass
    run.frames(0.25)
    described = run.state.describe()
    assert described["failed_frames"] == 1
    assert "no memory" in described["problem"]
    Path(described["problem"].partition("; ")[2].split(" has what")[0]).unlink(missing_ok=True)


def test_the_state_is_plain_json(run: Run) -> None:
    run.frames(3, face(10, "without_mask"))
    assert json.loads(json.dumps(run.state.describe())) == run.state.describe()
