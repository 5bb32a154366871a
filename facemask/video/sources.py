"""Where frames come from: video files, folders of images, cameras and network streams."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Self

import cv2
import numpy as np

from facemask.addresses import without_secrets
from facemask.errors import FacemaskError
from facemask.files import find
from facemask.images import is_document, list_files, read_image
from facemask.video.decoder import DEFAULT_FPS, Log, TimedFrame, VideoFile, possible_fps
from facemask.video.sound import Sound

# A live source that gives no frame for this long hangs: cameras do so without any error.
STALL_S = 10.0
# Seconds between attempts to reopen a live source; each wait is twice as long as the one before.
FIRST_WAIT_S, MAX_WAIT_S = 0.5, 30.0
ON_WAIT_S = 0.05  # between calls of Source.on_wait
# How long close() waits for a reading thread. One that hangs can't be ended, and is left behind.
JOIN_S = 2.0

CAMERA_REMEDY = (
    "check that it is connected, that no other program uses it and that you may read it, or name"
    " another camera, a file or a URL with --source"
)


def _ignore(line: str) -> None:
    """A log that keeps nothing."""


class Source:
    """Something that gives frames. A context manager; closing it releases the camera."""

    live = False  # whether frames that nobody takes in time are lost
    photographs = False  # whether each frame is a picture by itself, and not a moment of a video
    fps = DEFAULT_FPS  # frames a second, as far as that is known
    skipped_files = 0  # of a folder: they can't be read
    dropped_frames = 0  # of a live source: newer frames came before they were taken
    reconnecting = False  # whether a live source has stopped giving frames, and is opened again

    def __init__(self, name: str, log: Log = _ignore):
        """log: takes a line for each problem that does not end the frames."""
        self.name, self._log = name, log
        # Called every ON_WAIT_S seconds while a live source gives no frame. What it raises ends
        # the waiting.
        self.on_wait: Callable[[], None] = lambda: None

    def frames(self) -> Iterator[TimedFrame]:
        """The frames in order, with their times: by the frame rate, or by the clock if live.

        Raises FacemaskError when there is no frame at all.
        """
        raise NotImplementedError

    def keep_sound(self) -> Sound | None:
        """Collect the sound of a file from now on, for whoever takes it; None where there is none.

        It is closed with the source.
        """
        return None

    def close(self) -> None:
        """Release the camera."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_source(
    source: str, log: Log, every: int = 1, loop: bool = False, reconnect_s: float = 0.0
) -> Source:
    """Open a camera ("0", "1"), a URL that OpenCV reads (rtsp://, http://), a file or a folder.

    log: takes a line for each problem that does not end the run. every: only each N-th frame of a
    file or folder is given. loop: a file or folder starts again at its end. reconnect_s: how long
    to try to reopen a live source that stopped giving frames; with 0 it has ended then.
    Raises FacemaskError that names the source and what to try.
    """
    if source.isdecimal():
        index = min(int(source.lstrip("0")[:10] or "0"), 2**31 - 1)  # a C int
        return LiveSource(
            f"camera {source}", lambda: cv2.VideoCapture(index), CAMERA_REMEDY, reconnect_s, log
        )
    if "://" in source:
        name = without_secrets(source)
        remedy = "check the address and the network"
        return LiveSource(name, lambda: _open_url(source), remedy, reconnect_s, log)
    path = find(source)
    if path.is_dir():
        return FolderSource(source, path, every, loop, log)
    if not path.is_file():
        problem = "found no regular file" if path.exists() else "no such file"
        raise FacemaskError(
            f"{source}: {problem}; expected a video file, a folder of images, a camera's number or"
            " a URL"
        )
    return FileSource(source, path, every, loop, log)


def _open_url(url: str) -> cv2.VideoCapture:
    """A capture whose calls return, without a frame, when the server does not answer."""
    limit_ms = round(STALL_S * 1000)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit_ms]
    # As bytes, because OpenCV ends the process on text that is not UTF-8.
    return cv2.VideoCapture(os.fsencode(url), cv2.CAP_FFMPEG, limits)  # type: ignore[call-overload]


def _read(capture: cv2.VideoCapture) -> np.ndarray | None:
    with suppress(cv2.error):  # of a stream that sends what can't be decoded
        read, frame = capture.read()
        return frame if read and frame is not None and frame.size else None
    return None


class FileSource(Source):
    """A video file, frame by frame."""

    def __init__(
        self, name: str, path: Path, every: int = 1, loop: bool = False, log: Log = _ignore
    ):
        """Raises FacemaskError for a file that can't be read as a video."""
        super().__init__(name, log)
        self._every, self._loop = every, loop
        self._file = VideoFile(name, path, log)
        self.fps = self._file.fps

    def frames(self) -> Iterator[TimedFrame]:
        start_s = 0.0
        while True:
            end_s = start_s
            for time_s, frame in self._file.frames(self._every, start_s):
                end_s = time_s + self._every / self.fps
                yield time_s, frame
            if end_s == start_s:
                raise FacemaskError(f"{self.name}: opened, but gave no frame")
            if not self._loop:
                return
            start_s = end_s

    def keep_sound(self) -> Sound | None:
        return self._file.keep_sound()

    def close(self) -> None:
        self._file.close()


class FolderSource(Source):
    """The images of a folder, by name, as a video of DEFAULT_FPS frames a second."""

    photographs = True

    def __init__(
        self, name: str, path: Path, every: int = 1, loop: bool = False, log: Log = _ignore
    ):
        """Raises FacemaskError for a folder without images."""
        super().__init__(name, log)
        self._every, self._loop = every, loop
        self._images = [file for file in list_files(path) if not is_document(file)][::every]
        if not self._images:
            raise FacemaskError(f"{name}: expected images in this folder, found none")

    def frames(self) -> Iterator[TimedFrame]:
        number = readable = 0
        while number == 0 or (self._loop and readable):
            readable = 0
            for path in self._images:
                try:
                    frame = read_image(path)
                except FacemaskError as error:
                    self._log(f"{error}; skipped")
                    self.skipped_files += 1
                else:
                    readable += 1
                    yield number * self._every / self.fps, frame
                number += 1
        if not readable:
            raise FacemaskError(f"{self.name}: none of its files can be read as an image")


class LiveSource(Source):
    """A camera or a stream, of which the newest frame is given; a thread reads it.

    So a frame is never older than one frame interval when it is given, however slow the networks
    are. A source that drops or hangs is opened again.
    """

    live = True

    def __init__(
        self,
        name: str,
        open_capture: Callable[[], cv2.VideoCapture],
        remedy: str,
        reconnect_s: float = 0.0,
        log: Log = _ignore,
    ):
        """Raises FacemaskError, with the remedy, where it can't be opened."""
        super().__init__(name, log)
        self._open_capture, self._remedy = open_capture, remedy
        self._reconnect_s = reconnect_s
        if not self._start():
            raise FacemaskError(f"{name}: can't be opened; {remedy}")

    def frames(self) -> Iterator[TimedFrame]:
        start_s: float | None = None
        while True:
            timed_frame = self._next_frame()
            if timed_frame is None:
                if start_s is None:
                    raise FacemaskError(f"{self.name}: opened, but gave no frame")
                if not self._reconnect_s:
                    return
                self.reconnecting = True
                timed_frame = self._reconnect()
                self.reconnecting = False
            clock_s, frame = timed_frame
            start_s = clock_s if start_s is None else start_s
            yield clock_s - start_s, frame

    def close(self) -> None:
        self._frames = Queue()
        self._reader.join(JOIN_S)

    def _start(self) -> bool:
        """Open the source and start a thread that reads it; whether it could be opened."""
        capture = self._open_capture()
        if not capture.isOpened():
            return False
        self.fps = possible_fps(capture.get(cv2.CAP_PROP_FPS))
        # The newest frame, if nobody has taken it, with the clock's time; None is the end. Each
        # thread has its own queue, and ends when that is no longer the source's: so one that
        # hung and wakes up again does no harm.
        self._frames: Queue[TimedFrame | None] = Queue()
        # A daemon, so that a read that hangs does not keep the process from ending.
        self._reader = Thread(target=self._read_all, args=(capture, self._frames), daemon=True)
        self._reader.start()
        return True

    def _read_all(self, capture: cv2.VideoCapture, frames: "Queue[TimedFrame | None]") -> None:
        while self._frames is frames and (frame := _read(capture)) is not None:
            with suppress(Empty):
                frames.get_nowait()
                self.dropped_frames += 1
            frames.put((time.monotonic(), frame))
        capture.release()
        frames.put(None)

    def _next_frame(self) -> TimedFrame | None:
        """The newest frame, once; None when the source has dropped, or hangs."""
        end = time.monotonic() + STALL_S
        while time.monotonic() < end:
            with suppress(Empty):
                return self._frames.get(timeout=ON_WAIT_S)
            self.on_wait()
        return None

    def _reconnect(self) -> TimedFrame:
        """Open the source again; its first frame and the clock's time.

        Raises FacemaskError when there is none within reconnect_s seconds.
        """
        end, wait = time.monotonic() + self._reconnect_s, FIRST_WAIT_S
        while (left := end - time.monotonic()) > 0:
            self._frames = Queue()  # a thread that hung ends, and releases the camera
            wait = min(wait, MAX_WAIT_S, left)
            self._log(f"{self.name}: gives no frames; trying again in {wait:.1f} s")
            attempt_s = time.monotonic() + wait
            while time.monotonic() < attempt_s:
                self.on_wait()
                time.sleep(min(ON_WAIT_S, wait))
            if self._start() and (timed_frame := self._next_frame()):
                self._log(f"{self.name}: gives frames again")
                return timed_frame
            wait *= 2
        raise FacemaskError(
            f"{self.name}: gave no frame for {self._reconnect_s:g} s; {self._remedy}"
        )
