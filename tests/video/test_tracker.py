"""The tracker: which faces are the same, and their labels."""

import pytest

from facemask.detect.types import MaskDetection
from facemask.geometry import FaceBox
from facemask.video.tracker import Tracker


def face(x: int, label: str = "with_mask", probability: float = 0.9, y: int = 100, size: int = 40):
    return MaskDetection(FaceBox(x, y, x + size, y + size, 0.9), label, probability)


def numbers(tracked: list[MaskDetection]) -> list[int | None]:
    return [detection.track for detection in tracked]


def test_no_faces_give_an_empty_list() -> None:
    assert Tracker().update([], 0.0) == []


def test_a_face_that_moves_keeps_its_number() -> None:
    tracker = Tracker()
    seen = [numbers(tracker.update([face(100 + 10 * step)], step / 25)) for step in range(30)]
    assert seen == [[1]] * 30


def test_two_faces_keep_their_numbers_in_any_order() -> None:
    tracker = Tracker()
    assert numbers(tracker.update([face(100), face(300)], 0.0)) == [1, 2]
    assert numbers(tracker.update([face(305), face(105)], 0.04)) == [2, 1]


def test_the_nearer_face_continues_the_track() -> None:
    tracker = Tracker()
    tracker.update([face(100)], 0.0)
    assert numbers(tracker.update([face(120), face(104)], 0.04)) == [2, 1]


def test_a_face_that_is_missed_for_a_moment_keeps_its_number() -> None:
    tracker = Tracker(memory_s=1.0)
    tracker.update([face(100)], 0.0)
    for step in range(1, 20):
        tracker.update([], step / 25)
    assert numbers(tracker.update([face(110)], 0.8)) == [1]
    tracker.update([], 1.2)
    assert numbers(tracker.update([face(110)], 2.0)) == [2]


def test_a_small_face_that_moves_by_half_its_width_keeps_its_number() -> None:
    tracker = Tracker()
    tracker.update([face(100, size=12)], 0.0)
    assert numbers(tracker.update([face(107, size=12)], 0.04)) == [1]
    assert numbers(tracker.update([face(107, size=40)], 0.08)) == [2]


def test_a_label_that_flickers_is_steady() -> None:
    tracker = Tracker(vote_s=1.0)
    labels = ["with_mask", "with_mask", "without_mask"] * 20
    shown = [tracker.update([face(100, name)], n / 25)[0].label for n, name in enumerate(labels)]
    assert set(shown) == {"with_mask"}
    assert tracker.current[0].changes == 0


def test_a_mask_that_is_taken_off_changes_the_label_within_the_vote() -> None:
    tracker = Tracker(vote_s=1.0)
    for step in range(50):
        tracker.update([face(100)], step / 25)
    shown = [
        tracker.update([face(100, "without_mask")], step / 25)[0].label for step in range(50, 75)
    ]
    assert shown[0] == "with_mask"
    assert shown.index("without_mask") == pytest.approx(12, abs=2)
    assert shown[-1] == "without_mask"
    assert tracker.current[0].changes == 1


def test_a_frame_weighs_as_much_as_its_probability() -> None:
    tracker = Tracker()
    tracker.update([face(100, "without_mask", 0.99)], 0.0)
    (shown,) = tracker.update([face(100, "with_mask", 0.55)], 0.04)
    assert (shown.label, shown.probability) == ("without_mask", pytest.approx(0.99))
    (shown,) = tracker.update([face(100, "with_mask", 0.65)], 0.08)
    assert (shown.label, shown.probability) == ("with_mask", pytest.approx(0.6))


def test_ended_tracks_are_returned_once_and_forgotten() -> None:
    tracker = Tracker(memory_s=1.0)
    tracker.update([face(100), face(300, "without_mask")], 0.0)
    tracker.update([face(100)], 1.0)
    tracker.update([face(100)], 1.5)
    (left,) = tracker.take_ended()
    assert (left.number, left.label, left.first_s, left.last_s) == (2, "without_mask", 0.0, 0.0)
    assert tracker.take_ended() == []
    (stayed,) = tracker.finish()
    assert (stayed.number, stayed.frames_by_label, stayed.last_s) == (1, {"with_mask": 3}, 1.5)
    assert tracker.current == tracker.finish() == []
