"""Faces in a video are hidden before they are found, while they are lost, and after."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest

from facemask.detect.types import MaskDetection
from facemask.geometry import FaceBox
from facemask.video.hiding import LOOK_AHEAD_S, MAX_HELD, hide_faces
from facemask.video.labelling import LabelledFrame
from facemask.video.tracker import MEMORY_S

FACE = FaceBox(100, 100, 140, 140, 0.9)
# A chessboard: what is blurred has no black and white pixels side by side.
CHESSBOARD = (np.indices((240, 320)).sum(axis=0) % 2 * 255).astype(np.uint8)
PICTURE = np.repeat(CHESSBOARD[..., None], 3, axis=2)
FPS = 10


def frame(number: int, *faces: FaceBox, problem: Exception | None = None) -> LabelledFrame:
    detections = [MaskDetection(face, "without_mask", 0.9) for face in faces]
    return LabelledFrame(number / FPS, PICTURE, detections, problem)


def video(count: int, faces: Mapping[int, FaceBox]) -> list[LabelledFrame]:
    """Frames, some of which have a face."""
    return [frame(n, *([faces[n]] if n in faces else [])) for n in range(count)]


def hides(labelled: LabelledFrame, face: FaceBox) -> bool:
    """Whether nothing of the face is to be seen in what is shown."""
    region = labelled.shown[face.y1 : face.y2, face.x1 : face.x2]
    return bool((np.abs(np.diff(region.astype(int), axis=1)) < 100).all())


def test_frames_keep_their_order_image_and_faces() -> None:
    frames = video(30, {10: FACE})
    hidden = list(hide_faces(frames))
    assert [each.time_s for each in hidden] == [each.time_s for each in frames]
    assert [len(each.detections) for each in hidden] == [n == 10 for n in range(30)]
    assert all(each.image is PICTURE for each in hidden)
    assert PICTURE[0, :2, 0].tolist() == [0, 255]


def test_no_frames() -> None:
    assert list(hide_faces([])) == []


def test_a_face_is_hidden_before_and_after_it_is_found() -> None:
    hidden = [hides(each, FACE) for each in hide_faces(video(40, {10: FACE, 11: FACE}))]
    first, last = round(10 - LOOK_AHEAD_S * FPS), round(11 + MEMORY_S * FPS)
    assert hidden == [first <= n <= last for n in range(40)]


def test_a_face_is_hidden_where_it_is_lost_and_moves_meanwhile() -> None:
    """It moves half its width a frame, and is found in every third frame alone."""
    moving = {n: FACE.move(8 * n, 0) for n in range(20)}
    found = {n: face for n, face in moving.items() if n % 3 == 0}
    hidden = [hides(each, moving[n]) for n, each in enumerate(hide_faces(video(20, found)))]
    assert hidden == [True] * 20


def test_only_faces_are_hidden() -> None:
    elsewhere = FACE.move(150, 60)
    frames = video(10, dict.fromkeys(range(10), FACE))
    assert [hides(each, elsewhere) for each in hide_faces(frames)] == [False] * 10


def test_all_is_hidden_where_finding_faces_failed() -> None:
    """Nobody knows where the faces are."""
    frames = [frame(0), frame(1, problem=ValueError("at 1")), frame(2)]
    assert [hides(each, FACE) for each in hide_faces(frames)] == [False, True, False]


def test_frames_of_other_sizes_hide_what_lies_inside() -> None:
    """A camera that starts again may give another size."""
    frames = video(6, dict.fromkeys(range(6), FACE))
    small = replace(frames[3], image=PICTURE[:120, :130], detections=())
    assert [hides(each, FACE) for each in hide_faces([*frames[:3], small, *frames[4:]])] == [
        True
    ] * 6


def test_photographs_have_nothing_to_do_with_one_another() -> None:
    hidden = [hides(each, FACE) for each in hide_faces(video(5, {2: FACE}), photographs=True)]
    assert hidden == [False, False, True, False, False]


@pytest.mark.parametrize("fps", [1, 10, 1000])
def test_few_frames_are_held_back(fps: int) -> None:
    read = 0

    def frames() -> Iterator[LabelledFrame]:
        nonlocal read
        for number in range(100):
            read += 1
            yield LabelledFrame(number / fps, PICTURE)

    ahead = [read - written for written, _ in enumerate(hide_faces(frames()))]
    assert len(ahead) == 100
    assert min(ahead) >= 1
    assert max(ahead) <= MAX_HELD + 1
    assert (max(ahead) - 2) / fps < LOOK_AHEAD_S + 1e-6


def test_what_was_found_comes_before_the_error_that_ended_the_video() -> None:
    def frames() -> Iterator[LabelledFrame]:
        yield from video(3, {})
        raise ValueError("gone")

    times: list[float] = []
    with pytest.raises(ValueError, match="gone"):
        times.extend(each.time_s for each in hide_faces(frames()))
    assert times == [0.0, 0.1, 0.2]
