"""The newest frame as a JPEG, drawn on and encoded when somebody looks, and once for all who do."""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from facemask.detect.types import MaskDetection
from facemask.images import shrink
from facemask.output.drawing import draw_detections

# Enough to watch people by, and less than a tenth of the work on 30 frames a second: a picture of
# 1280x720 pixels takes 2 to 3 ms of a core to draw and encode, and up to 1 ms to send to each
# viewer, while finding the faces in a frame takes 20. See benchmarks/bench_page.py.
MAX_RATE = 8.0  # pictures a second
MAX_SIDE = 1280  # pixels; larger frames are shrunk
QUALITY = 80  # of JPEG, in per cent; the pixels around letters show below 75
WAIT_S = 2.0  # for a frame that the viewer does not have
POLL_S = 0.02  # between two looks for it


class Picture(NamedTuple):
    """A frame for viewers."""

    number: int  # of the frame, from 1
    jpeg: bytes


class Pictures:
    """Hands frames from the loop over them, on one thread, to viewers on another.

    The loop takes no lock and waits for nothing: it leaves the newest frame, and viewers poll.
    """

    def __init__(self) -> None:
        self._newest: tuple[int, np.ndarray, Sequence[MaskDetection]] | None = None
        self._encoded: Picture | None = None
        self._due_s = 0.0  # when the next picture may be encoded, by time.monotonic()
        self._encoding = asyncio.Lock()
        self._closed = False

    def show(
        self, number: int, frame: np.ndarray, detections: Sequence[MaskDetection] = ()
    ) -> None:
        """Make a frame the newest one; number: of the frame, from 1.

        frame: (H, W, 3) uint8, BGR; it must not change from now on. detections: what to draw.
        """
        self._newest = number, frame, detections  # one assignment, which a thread sees whole

    def close(self) -> None:
        """Let nobody wait any more."""
        self._closed = True

    async def after(self, seen: str) -> Picture | None:
        """The newest picture; None when for WAIT_S seconds there is none but the one that was seen.

        seen: the number of the viewer's picture, as text; any other text is that of no picture.
        """
        end = time.monotonic() + WAIT_S
        if self._encoded and str(self._encoded.number) == seen:
            # No look before the next one is due: the looks would take as long as the picture.
            await asyncio.sleep(self._due_s - time.monotonic())
        while self._newest is None or str(self._newest[0]) == seen:
            if self._closed or time.monotonic() > end:
                return None
            await asyncio.sleep(POLL_S)
        async with self._encoding:
            number, *_ = newest = self._newest
            last = self._encoded
            if not last or (
                number != last.number
                and (time.monotonic() >= self._due_s or str(last.number) == seen)
            ):
                self._due_s = time.monotonic() + 1 / MAX_RATE
                self._encoded = Picture(number, await asyncio.to_thread(encode, *newest[1:]))
            return self._encoded


def encode(frame: np.ndarray, detections: Sequence[MaskDetection] = ()) -> bytes:
    """A frame (H, W, 3) uint8, BGR, with its faces, as JPEG of at most MAX_SIDE pixels a side."""
    if detections:
        frame = draw_detections(frame, detections)
    height, width = frame.shape[:2]
    scale = MAX_SIDE / max(height, width)
    if scale < 1:
        frame = shrink(frame, (max(1, round(height * scale)), max(1, round(width * scale))))
    return cv2.imencode(".jpg", frame, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1].tobytes()
