"""Frames are encoded when somebody looks, once for all, and the newest is what they get."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import numpy as np
import pytest

from facemask.detect.types import MaskDetection
from facemask.geometry import FaceBox
from facemask.images import read_image
from facemask.web import pictures
from facemask.web.pictures import MAX_SIDE, Pictures, encode

T = TypeVar("T")


def grey(value: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The grey level of each frame that is encoded; the rate has no limit."""
    levels: list[int] = []

    def noting(frame: np.ndarray, detections: Sequence[MaskDetection]) -> bytes:
        levels.append(int(frame[0, 0, 0]))
        return encode(frame, detections)

    monkeypatch.setattr(pictures, "encode", noting)
    monkeypatch.setattr(pictures, "MAX_RATE", 1e9)
    monkeypatch.setattr(pictures, "WAIT_S", 0.05)
    return levels


def run(use: Callable[[Pictures], Awaitable[T]]) -> T:
    async def inside() -> T:
        return await use(Pictures())

    return asyncio.run(inside())


def test_nothing_is_encoded_while_nobody_looks(encodings: list[int]) -> None:
    async def use(shown: Pictures) -> None:
        for number in range(1, 10):
            shown.show(number, grey(number))
        assert encodings == []
        newest = await shown.after("")
        assert newest
        assert newest.number == 9
        assert encodings == [9]

    run(use)


def test_viewers_share_a_picture(encodings: list[int]) -> None:
    async def use(shown: Pictures) -> None:
        shown.show(1, grey(100))
        answers = await asyncio.gather(*(shown.after(seen) for seen in ("", "", "77", "x")))
        assert answers == [answers[0]] * 4
        assert answers[0]
        assert abs(int(read_image(answers[0].jpeg)[24, 32, 0]) - 100) <= 1
        assert encodings == [100]

    run(use)


def test_a_viewer_waits_for_the_next_frame(encodings: list[int]) -> None:
    async def use(shown: Pictures) -> None:
        shown.show(1, grey(1))
        assert await shown.after("1") is None
        waiting = asyncio.ensure_future(shown.after("1"))
        await asyncio.sleep(0.02)
        shown.show(2, grey(2))
        newest = await waiting
        assert newest
        assert newest.number == 2
        assert encodings == [2]

    run(use)


def test_there_is_no_picture_before_the_first_frame(encodings: list[int]) -> None:
    assert run(lambda shown: shown.after("")) is None


def test_nobody_waits_once_it_is_closed(
    encodings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "WAIT_S", 1e9)

    async def use(shown: Pictures) -> None:
        shown.show(1, grey(1))
        waiting = asyncio.ensure_future(shown.after("1"))
        await asyncio.sleep(0.02)
        shown.close()
        assert await waiting is None

    run(use)


def test_pictures_come_at_a_limited_rate(
    encodings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A viewer without a picture gets the last one; one who has it waits for its time."""
    monkeypatch.setattr(pictures, "MAX_RATE", 5.0)

    async def use(shown: Pictures) -> None:
        shown.show(1, grey(1))
        await shown.after("")
        shown.show(2, grey(2))
        late = await shown.after("")
        assert late
        assert late.number == 1
        shown.show(3, grey(3))
        newest = await shown.after("1")
        assert newest
        assert newest.number == 3
        assert encodings == [1, 3]

    run(use)


def test_nobody_looks_for_a_picture_before_its_time(
    encodings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look wakes the thread; thirty a second for each viewer cost more than the pictures."""
    monkeypatch.setattr(pictures, "MAX_RATE", 5.0)
    waits: list[float] = []
    sleep = asyncio.sleep

    async def noting(seconds: float) -> None:
        waits.append(seconds)
        await sleep(seconds)

    async def use(shown: Pictures) -> None:
        shown.show(1, grey(1))
        await shown.after("")
        monkeypatch.setattr(asyncio, "sleep", noting)
        waiting = asyncio.ensure_future(shown.after("1"))
        await sleep(0.02)
        shown.show(2, grey(2))
        newest = await waiting
        assert newest
        assert newest.number == 2
        assert len(waits) == 1

    run(use)


def test_faces_are_drawn_on_a_copy(encodings: list[int]) -> None:
    frame, face = grey(90), MaskDetection(FaceBox(10, 10, 30, 30, 0.9), "with_mask", 0.9)

    async def use(shown: Pictures) -> None:
        shown.show(1, frame, [face])
        newest = await shown.after("")
        assert newest
        assert np.ptp(read_image(newest.jpeg)) > 100
        assert np.ptp(frame) == 0

    run(use)


@pytest.mark.parametrize(
    ("size", "sent"),
    [
        ((48, 64), (48, 64)),
        ((720, 1280), (720, 1280)),
        ((2160, 3840), (720, 1280)),
        ((1920, 1080), (1280, 720)),
        ((2, 70_000), (1, 1280)),
    ],
)
def test_large_frames_are_shrunk(size: tuple[int, int], sent: tuple[int, int]) -> None:
    assert read_image(encode(grey(9, *size))).shape[:2] == sent
    assert max(sent) <= MAX_SIDE
