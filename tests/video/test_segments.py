"""Faces of frames that the detector does not look at."""

import gc
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from itertools import islice

import numpy as np
import pytest

from facemask.errors import FacemaskError
from facemask.geometry import FaceBox
from facemask.threads import in_order
from facemask.video.decoder import TimedFrame
from facemask.video.segments import MAX_BYTES, Found, Segment, find_faces, segments

FPS = 25


def frames(count: int, fps: float = FPS, size: tuple[int, int] = (8, 8)) -> Iterator[TimedFrame]:
    """Black frames; the first pixel of each is its number."""
    for number in range(count):
        image = np.zeros((*size, 3), np.uint8)
        image[0, 0] = number
        yield number / fps, image


def face(x: int, confidence: float = 0.9) -> FaceBox:
    return FaceBox(x, 20, x + 40, 60, confidence)


def found(
    faces: Sequence[Sequence[FaceBox] | Exception], source: Iterator[TimedFrame] | None = None
) -> tuple[list[Found], list[int]]:
    """The faces of frames that have these, and the frames that the detector looks at."""
    looked: list[int] = []

    def detect(image: np.ndarray) -> Found:
        looked.append(int(image[0, 0, 0]))
        return faces[looked[-1]]

    parts = segments(source or frames(len(faces)))
    return [each for part in parts for each in find_faces(part, detect)], looked


def lengths(parts: Iterator[Segment]) -> list[int]:
    return [len(part.frames) for part in parts]


def test_no_frames_give_no_segment() -> None:
    assert lengths(segments(frames(0))) == []


def test_the_first_frame_is_a_segment_and_each_four_after_it() -> None:
    assert lengths(segments(frames(1))) == [1]
    assert lengths(segments(frames(11))) == [1, 4, 4, 2]


def test_a_segment_has_no_frames_that_are_far_apart() -> None:
    assert lengths(segments(frames(9, fps=12))) == [1, 2, 2, 2, 2]
    assert lengths(segments(frames(4, fps=4))) == [1, 1, 1, 1]


def test_a_segment_of_large_frames_is_short() -> None:
    side = round((MAX_BYTES / 3 / 3) ** 0.5)  # three frames are too much
    assert lengths(segments(frames(6, size=(side, side)))) == [1, 2, 2, 1]


def test_a_cut_ends_a_segment() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8)
    scenes = [(number / FPS, noise[int(number >= 3)]) for number in range(8)]
    parts = list(segments(scenes))
    assert lengths(iter(parts)) == [1, 2, 1, 4]
    assert [part.before is None for part in parts] == [True, False, True, False]


def test_every_frame_is_a_segment_on_request() -> None:
    assert lengths(segments(frames(3), 1)) == [1, 1, 1]


def test_a_face_moves_on_a_straight_line_between_frames_that_show_it() -> None:
    faces, looked = found([[face(100 + 4 * number, 0.9 - number / 40)] for number in range(9)])
    assert looked == [0, 4, 8]
    assert [each[0].x1 for each in faces if not isinstance(each, Exception)] == list(
        range(100, 136, 4)
    )
    assert not isinstance(faces[3], Exception)
    assert faces[3][0].corners == (112, 20, 152, 60)
    assert faces[3][0].confidence == pytest.approx(0.825)


def test_frames_without_faces_have_none_between_them() -> None:
    assert found([[]] * 5) == ([[]] * 5, [0, 4])


@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_a_face_that_comes_is_found_in_its_first_frame(first: int) -> None:
    boxes = [[face(100), face(200)] if number >= first else [face(100)] for number in range(5)]
    faces, looked = found(boxes)
    assert faces == boxes
    assert set(looked) == {0, 4, 2, 1 if first < 3 else 3}


def test_a_doubtful_face_is_there_for_half_of_the_time() -> None:
    sure, doubtful = face(100), face(200, confidence=0.55)
    faces, looked = found([[sure], *[[]] * 3, [sure, doubtful], *[[]] * 3, [sure]])
    assert looked == [0, 4, 8]
    assert [len(each) for each in faces if not isinstance(each, Exception)] == [
        *[1, 1, 2, 2],
        *[2, 2, 1, 1, 1],
    ]


def test_the_highest_scoring_face_comes_first() -> None:
    faces, _ = found(
        [[face(100, 0.9), face(300, 0.55)], *[[]] * 3, [face(300, 0.9), face(100, 0.55)]]
    )
    assert [each[0].x1 for each in faces[1:4:2] if not isinstance(each, Exception)] == [100, 300]


def test_a_face_that_jumps_is_looked_for() -> None:
    boxes = [[face(100)], [face(100)], [face(300)], [face(300)], [face(300)]]
    assert found(boxes) == (boxes, [0, 4, 2, 1])


def test_a_face_that_is_only_between_the_frames_is_missed() -> None:
    faces, _ = found([[], [face(100)], [face(100)], [], []])
    assert faces == [[]] * 5


def test_boxes_of_two_faces_are_not_mixed_whatever_their_order() -> None:
    both = {face(100), face(300)}
    faces, _ = found([[face(100), face(300)], *[[]] * 3, [face(300), face(100)]])
    assert [set(each) for each in faces if not isinstance(each, Exception)] == [both] * 5


def test_where_a_frame_fails_those_beside_it_are_looked_at() -> None:
    problem = ValueError("defect")
    boxes = [[face(100)], [face(100)], [face(100)], [face(100)], problem]
    assert found(boxes) == (boxes, [0, 4, 2, 3])


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_that_ends_the_run_does_so_on_any_number_of_threads(workers: int) -> None:
    def detect(image: np.ndarray) -> Found:
        if image[0, 0, 0] == 4:
            raise FacemaskError("no weights")
        return []

    done = in_order(lambda part: find_faces(part, detect), segments(frames(20)), workers, 3)
    assert next(done) == [[]]
    with pytest.raises(FacemaskError, match="no weights"):
        next(done)


def test_frames_before_an_error_of_the_source_come_before_it() -> None:
    def broken() -> Iterator[TimedFrame]:
        yield from islice(frames(9), 7)
        raise FacemaskError("unplugged")

    parts = segments(broken())
    assert [len(next(parts).frames) for _ in range(3)] == [1, 4, 2]
    with pytest.raises(FacemaskError, match="unplugged"):
        next(parts)


def test_the_result_is_the_same_on_threads() -> None:
    boxes = [[face(100 + number)] + [face(300)] * (number % 7 > 3) for number in range(60)]

    def detect(image: np.ndarray) -> Found:
        return boxes[int(image[0, 0, 0])]

    results = [
        list(in_order(lambda part: find_faces(part, detect), segments(frames(60)), workers, 4))
        for workers in (1, 3)
    ]
    assert results[0] == results[1]


def test_frames_are_released_at_once() -> None:
    """And not when Python's collector runs, which would take the memory of dozens of them."""
    gc.disable()
    try:
        *_, part = segments(frames(5))
        assert part.before
        part.before[1].set_result([face(100)])
        image = weakref.ref(part.frames[0][1])
        find_faces(part, lambda image: [])
        del part
        assert image() is None
    finally:
        gc.enable()


def test_the_frame_before_is_waited_for() -> None:
    part = list(segments(frames(5)))[1]
    assert part.before
    earlier: Future[Found] = part.before[1]
    earlier.set_result([face(100)])
    assert find_faces(part, lambda image: [face(104)])[1] == [face(102)]
