"""When faces are classified: on boxes and answers made by hand, at 16 frames a second."""

from collections.abc import Sequence
from itertools import pairwise

import pytest

from facemask.detect.types import MaskDetection
from facemask.geometry import FaceBox
from facemask.video.schedule import Answers, Schedule
from facemask.video.tracker import Tracker

FRAME_S = 1 / 16  # without rounding errors
FACE = FaceBox(100, 100, 140, 140, 0.9)


def answers(*given: tuple[str, float], face: FaceBox = FACE) -> Answers:
    """Answers that were given in the first frames."""
    known = Answers()
    for number, (label, probability) in enumerate(given):
        known.add(MaskDetection(face, label, probability), number * FRAME_S)
    return known


SURE = [("with_mask", 0.9)] * 3


@pytest.mark.parametrize(
    "given",
    [
        [],
        SURE[1:],
        [*SURE, ("with_mask", 0.79)],
        [*SURE, ("without_mask", 0.9)],
        [*SURE, ("without_mask", 0.9), *SURE[1:]],
    ],
    ids=["none", "too few", "close", "changed", "changed for a moment"],
)
def test_a_face_is_due_until_its_answers_agree(given: list[tuple[str, float]]) -> None:
    assert not answers(*given).are_sure_of(FACE)


@pytest.mark.parametrize("given", [SURE, [("without_mask", 0.9), ("with_mask", 0.6), *SURE]])
def test_answers_that_agree_are_sure(given: list[tuple[str, float]]) -> None:
    assert answers(*given).are_sure_of(FACE)


@pytest.mark.parametrize(
    ("face", "sure"),
    [
        (FACE.move(3, 3), True),
        (FACE.move(15, 0), False),
        (FaceBox(96, 96, 144, 144, 0.9), True),
        (FaceBox(93, 93, 147, 147, 0.9), False),
        (FaceBox(105, 105, 135, 135, 0.9), False),
        (FaceBox(100, 100, 140, 140, 0.81), True),
        (FaceBox(100, 100, 140, 140, 0.75), False),
    ],
    ids=["moved", "jumped", "grown", "grown by a third", "smaller", "fainter", "covered"],
)
def test_a_face_that_has_changed_is_due_at_once(face: FaceBox, sure: bool) -> None:
    assert answers(*SURE).are_sure_of(face) == sure


def test_a_new_label_holds_from_the_middle_of_the_time_since_the_last_answer() -> None:
    known = answers(*SURE)
    assert known.add(MaskDetection(FACE, "with_mask", 0.9), 0.5) == 0.5
    assert known.add(MaskDetection(FACE, "without_mask", 0.9), 0.9) == pytest.approx(0.7)
    assert known.add(MaskDetection(FACE, "without_mask", 0.9), 0.94) == 0.94


def follow(faces: Sequence[FaceBox], seconds: float, label: str = "with_mask") -> list[list[int]]:
    """The indices of the faces that are classified in each frame, where all stand still."""
    tracker, frames = Tracker(), []
    for number in range(round(seconds / FRAME_S)):

        def classify(due: Sequence[FaceBox]) -> list[MaskDetection]:
            frames.append([faces.index(face) for face in due])
            return [MaskDetection(face, label, 0.95) for face in due]

        shown = tracker.label(faces, number * FRAME_S, classify)
        assert [face.label for face in shown] == [label] * len(faces)
    return frames


def test_a_face_that_stays_is_classified_three_times_and_then_every_0_5_seconds() -> None:
    """In the first frame after them, which is the eighth."""
    due = follow([FACE], 2)
    assert [number for number, faces in enumerate(due) if faces] == [0, 1, 2, 10, 18, 26]


def test_a_crowd_is_spread_over_the_frames() -> None:
    crowd = [FACE.move(200 * number, 0) for number in range(20)]
    due = follow(crowd, 4)
    assert due[:3] == [list(range(20))] * 3
    assert max(map(len, due[3:])) <= 3
    for index in range(20):
        times = [number * FRAME_S for number, faces in enumerate(due) if index in faces]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert max(gaps) < 1.0
        assert max(gaps[-4:]) < 0.6


def test_frames_without_faces_and_the_first_frame_are_nothing_special() -> None:
    schedule = Schedule()
    assert schedule.due([], [], 0.0) == []
    assert schedule.due([FACE], [Answers()], 7.0) == [0]
    assert schedule.due([], [], 7.0) == []


def test_at_two_frames_a_second_each_face_is_due_in_each() -> None:
    schedule = Schedule()
    crowd, known = [FACE] * 5, [answers(*SURE) for _ in range(5)]
    assert schedule.due(crowd, known, 0.2) == []
    assert schedule.due(crowd, known, 0.7) == [0, 1, 2, 3, 4]
