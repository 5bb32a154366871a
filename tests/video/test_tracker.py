"""The tracker: which faces are the same, and their labels."""

from collections.abc import Sequence

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


class Masks:
    """A classifier of one face, whose mask is taken off at a time; it notes when it is called."""

    def __init__(self, off_s: float):
        self.off_s, self.time_s = off_s, 0.0
        self.times: list[float] = []

    def __call__(self, faces: Sequence[FaceBox]) -> list[MaskDetection]:
        self.times += [self.time_s] * len(faces)
        label = "with_mask" if self.time_s < self.off_s else "without_mask"
        return [MaskDetection(box, label, 0.9) for box in faces]


@pytest.mark.parametrize("off_s", [1.0, 1.1, 1.2, 1.3])
def test_a_face_that_is_seldom_classified_changes_its_label_as_one_that_is_in_each_frame(
    off_s: float,
) -> None:
    """Not later by the time between two answers, which is 0.5 s."""
    often, seldom, masks = Tracker(), Tracker(), Masks(off_s)
    different = 0
    for step in range(75):
        masks.time_s = step / 25
        box = FaceBox(100 + step, 100, 140 + step, 140, 0.9)
        (expected,) = often.update([face(100 + step, masks([box])[0].label)], masks.time_s)
        masks.times.pop()
        (shown,) = seldom.label([box], masks.time_s, masks)
        assert (shown.face, shown.track) == (expected.face, expected.track)
        different += shown.label != expected.label
    assert different <= 5
    assert len(masks.times) < 25
    assert seldom.current[0].changes == 1
    assert sum(seldom.current[0].frames_by_label.values()) == 75


def test_a_face_that_is_seldom_classified_has_the_mean_probability_of_its_answers() -> None:
    tracker = Tracker()
    probabilities = iter([0.9, 0.8, 0.85])
    box = FaceBox(100, 100, 140, 140, 0.9)
    means = [
        tracker.label(
            [box],
            step / 25,
            lambda due: [MaskDetection(box, "with_mask", next(probabilities)) for _ in due],
        )[0].probability
        for step in range(8)
    ]
    assert means[2] == pytest.approx(0.85)
    assert means[7] == pytest.approx((0.9 + 0.8 + 6 * 0.85) / 8)


def test_a_frame_whose_faces_cannot_be_classified_leaves_no_trace() -> None:
    def broken(faces: Sequence[FaceBox]) -> list[MaskDetection]:
        raise ZeroDivisionError

    tracker, box = Tracker(), FaceBox(100, 100, 140, 140, 0.9)
    with pytest.raises(ZeroDivisionError):
        tracker.label([box], 0.0, broken)
    assert tracker.current == tracker.finish() == []
    (shown,) = tracker.label([box], 0.04, Masks(1.0))
    assert (shown.track, shown.label) == (1, "with_mask")


def test_no_faces_are_not_classified() -> None:
    masks = Masks(1.0)
    assert Tracker().label([], 0.0, masks) == []
    assert masks.times == []
