"""The window of a video: each frame at its time, late ones at once, and keys while it waits."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facemask.images import read_image
from facemask.output import display
from facemask.video.viewer import MAX_LATE_S, Viewer


class Clock:
    """A clock that only waiting and work move, and a window that notes when frames appear."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.shown: list[float] = []  # when each frame was shown, seconds after 100
        self.keys: Iterator[str] = iter([])  # one for each wait
        self.pause_s = 0.0

    def wait(self, _: str, seconds: float) -> str:
        key = next(self.keys, "")
        self.now_s += 0.01 if key else seconds
        return key

    def show(self, *_: object) -> str:
        self.shown.append(round(self.now_s - 100, 3))
        return ""

    def pause(self, _: str) -> str:
        self.now_s += self.pause_s
        return "p"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now_s)
    monkeypatch.setattr(display, "wait_for_key", clock.wait)
    monkeypatch.setattr(display, "show_frame", clock.show)
    monkeypatch.setattr(display, "pause", clock.pause)
    monkeypatch.chdir(tmp_path)
    return clock


def frame(brightness: int = 0) -> np.ndarray:
    return np.full((8, 8, 3), brightness, np.uint8)


def play(clock: Clock, work_s: list[float], fast: bool = False) -> Viewer:
    """Show frames of ten a second; each takes some time before it can be shown."""
    viewer = Viewer(print, print, fast)
    for number, seconds in enumerate(work_s):
        clock.now_s += seconds
        assert viewer.show(frame(number), number / 10)
    return viewer


def test_frames_appear_at_their_own_rate(clock: Clock) -> None:
    play(clock, [0.02] * 5)
    assert clock.shown == [0.02, 0.12, 0.22, 0.32, 0.42]


def test_frames_appear_as_they_come_if_they_are_to(clock: Clock) -> None:
    play(clock, [0.02] * 3, fast=True)
    assert clock.shown == [0.02, 0.04, 0.06]


def test_a_late_frame_is_shown_at_once_and_the_next_ones_are_in_time_again(clock: Clock) -> None:
    play(clock, [0.0, 0.25, 0.01, 0.01, 0.01])
    assert clock.shown == [0, 0.25, 0.26, 0.3, 0.4]


def test_a_slow_machine_shows_all_frames_and_makes_up_for_little_later(clock: Clock) -> None:
    play(clock, [0.0, *[1.0] * 10, *[0.0] * 8])
    assert clock.shown[:11] == list(range(11))
    assert clock.shown[11:16] == [10.0] * 5  # half a second at once
    assert clock.shown[16:] == pytest.approx([10.1, 10.2, 10.3])
    assert MAX_LATE_S == 0.5


def test_a_pause_is_not_caught_up_with(clock: Clock) -> None:
    clock.pause_s, clock.keys = 60.0, iter(["p"])
    play(clock, [0.0] * 3)
    assert clock.shown == pytest.approx([0, 60.1, 60.2])


def test_q_ends_while_a_frame_is_waited_for(clock: Clock) -> None:
    viewer = play(clock, [0.0])
    clock.keys = iter(["q"])
    assert not viewer.show(frame(), 5.0)
    assert clock.shown == [0]


def test_what_is_saved_is_what_the_window_shows(clock: Clock) -> None:
    clock.keys = iter(["s"])
    play(clock, [0.0] * 2)
    (saved,) = Path().glob("frame_*.png")
    assert read_image(saved).mean() == 0
