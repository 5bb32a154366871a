"""Where frames come from: video files, folders of images, cameras and network streams."""

import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from facemask.errors import FacemaskError
from facemask.files import find
from facemask.images import is_document, list_files, read_image

TimedFrame = tuple[float, np.ndarray]  # seconds from the first frame; (H, W, 3) uint8, BGR
Say = Callable[[str], None]

# For sources that state no frame rate, or an impossible one (0, or a stream's time base).
DEFAULT_FPS = 25.0
HIGHEST_FPS = 1000.0

# A live source that gives no frame for so long hangs: cameras do so without any error.
STALL_S = 10.0
# Seconds between tries to open it again; each wait is twice the one before.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
IDLE_S = 0.05  # between calls of idle
# What a hanging camera's thread is waited for at the end. It can't be ended, and is left behind.
JOIN_S = 2.0

REMEDY = (
    "check that it is connected, that no other program uses it and that you may read it, or name"
    " another camera, a file or a URL with --source"
)


class Source:
    """Something that gives frames. A context manager; closing it ends what reads them."""

    live = False  # whether frames pass by, and are lost when nobody takes them
    fps = DEFAULT_FPS  # frames a second, as far as that is known
    frame_count = 0  # as the header has it; 0 where it is not known
    passed_over = 0  # frames of a live source that nobody took

    def __init__(self, name: str):
        self.name = name

    def idle(self) -> None:
        """Called again and again while a live source gives no frame; to be replaced.

        What it raises ends the waiting.
        """

    def frames(self) -> Iterator[TimedFrame]:
        """The frames in order, with their times: by the frame rate, or the clock if it is live.

        Raises FacemaskError when there is not even one.
        """
        raise NotImplementedError

    def truncated(self, count: int) -> bool:
        """Whether the source ended after `count` frames, well before its header said."""
        return False

    def close(self) -> None:
        """Let go of the file or the camera."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_source(
    source: str, say: Say, every: int = 1, loop: bool = False, reconnect_s: float = 0.0
) -> Source:
    """Open a camera ("0", "1"), a URL that OpenCV reads (rtsp://, http://), a file or a folder.

    say: is told of what goes wrong and does not end the run. every: only each so many-th frame of
    a file or folder is given. loop: those begin again at their end. reconnect_s: how long a live
    source that stopped giving frames is tried again; with 0 it has then ended.
    Raises FacemaskError that names the source and what to try.
    """
    if source.isdecimal():
        index = min(int(source), 2**31 - 1)  # a C int
        return LiveSource(
            f"camera {source}", lambda: cv2.VideoCapture(index), REMEDY, reconnect_s, say
        )
    if "://" in source:
        # A password in the address is not for logs.
        name = re.sub("//[^/@]*@", "//", source)
        remedy = "check the address and the network"
        return LiveSource(name, lambda: _open_url(source), remedy, reconnect_s, say)
    path = find(source)
    if path.is_dir():
        return FolderSource(source, path, say, every, loop)
    if not path.is_file():
        raise FacemaskError(
            f"{source}: no such file; expected a video file, a folder of images, a camera's number"
            " or a URL"
        )
    return FileSource(source, path, every, loop)


def _open_url(url: str) -> cv2.VideoCapture:
    """A capture whose calls end by themselves where the other side says nothing."""
    limit = round(STALL_S * 1000)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
    return cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits)


def _stated_fps(capture: cv2.VideoCapture) -> float:
    stated = capture.get(cv2.CAP_PROP_FPS)
    return stated if math.isfinite(stated) and 0 < stated <= HIGHEST_FPS else DEFAULT_FPS


def _read(capture: cv2.VideoCapture) -> np.ndarray | None:
    read, frame = capture.read()
    return frame if read and frame is not None and frame.size else None


class FileSource(Source):
    """A video file, frame by frame."""

    def __init__(self, name: str, path: Path, every: int = 1, loop: bool = False):
        """Raises FacemaskError for what OpenCV can't read as a video."""
        super().__init__(name)
        self._path, self._every, self._loop = path, every, loop
        self._capture = self._open()
        self.fps = _stated_fps(self._capture)
        self.frame_count = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self._ended = False

    def _open(self) -> cv2.VideoCapture:
        # Absolute, or FFmpeg would take what stands before a colon in a name for a protocol.
        capture = cv2.VideoCapture(str(self._path.absolute()))
        if not capture.isOpened():
            capture.release()
            raise FacemaskError(
                f"{self.name}: can't be opened; expected a video file that OpenCV can read"
            )
        return capture

    def frames(self) -> Iterator[TimedFrame]:
        count = 0
        while True:
            first = count
            while (frame := _read(self._capture)) is not None:
                yield count / self.fps, frame
                count += 1
                for _ in range(self._every - 1):  # not decoded further than need be
                    count += self._capture.grab()
            if count == first:
                what = "opened, but gave no frame" if count == 0 else "gave no frame any more"
                raise FacemaskError(f"{self.name}: {what}")
            if not self._loop:
                break
            self._capture.release()
            self._capture = self._open()
        self._ended = True

    def truncated(self, count: int) -> bool:
        # Some headers hold an estimate, hence a tolerance of one in twenty.
        return self._ended and count * self._every < 0.95 * self.frame_count

    def close(self) -> None:
        self._capture.release()


class FolderSource(Source):
    """The images of a folder, by name, as if they were DEFAULT_FPS a second."""

    def __init__(self, name: str, path: Path, say: Say, every: int = 1, loop: bool = False):
        """Raises FacemaskError for a folder without images."""
        super().__init__(name)
        self._say, self._loop = say, loop
        images = [file for file in list_files(path) if not is_document(file)]
        if not images:
            raise FacemaskError(f"{name}: expected images in this folder, found none")
        self._images = images[::every]
        self._every = every

    def frames(self) -> Iterator[TimedFrame]:
        number = given = 0
        while True:
            before = given
            for path in self._images:
                try:
                    frame = read_image(path)
                except FacemaskError as problem:
                    self._say(f"{problem}; passed over")
                else:
                    given += 1
                    yield number * self._every / self.fps, frame
                number += 1
            if given == before:
                raise FacemaskError(f"{self.name}: none of its files can be read as an image")
            if not self._loop:
                return


class LiveSource(Source):
    """A camera or a stream, read on a thread of its own, of which the newest frame is given.

    So what is shown is never older than one frame, however long the networks take. A source that
    drops or hangs is opened again.
    """

    live = True

    def __init__(
        self,
        name: str,
        open_capture: Callable[[], cv2.VideoCapture],
        remedy: str,
        reconnect_s: float = 0.0,
        say: Say = lambda line: None,
    ):
        """Raises FacemaskError, with the remedy, where it can't be opened."""
        super().__init__(name)
        self._open_capture, self._remedy = open_capture, remedy
        self._reconnect_s, self._say = reconnect_s, say
        self._changed = threading.Condition()
        self._slot: tuple[float, np.ndarray] | None = None  # the clock's time, and the frame
        self._reader: threading.Thread | None = None  # the one that counts; others are forgotten
        if not self._start():
            raise FacemaskError(f"{name}: can't be opened; {remedy}")

    def frames(self) -> Iterator[TimedFrame]:
        start: float | None = None
        while True:
            taken = self._next_frame()
            if taken is None:
                if start is None:
                    raise FacemaskError(f"{self.name}: opened, but gave no frame")
                if not self._reconnect_s:
                    return
                taken = self._reconnect()
            at, frame = taken
            start = at if start is None else start
            yield at - start, frame

    def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader:
            reader.join(JOIN_S)

    def _start(self) -> bool:
        """Open the source and read it on a thread; whether it could be opened."""
        capture = self._open_capture()
        if not capture.isOpened():
            capture.release()
            return False
        self.fps = _stated_fps(capture)
        # A hanging read must not keep the process from ending, hence a daemon.
        self._reader = threading.Thread(target=self._read_all, args=(capture,), daemon=True)
        self._reader.start()
        return True

    def _read_all(self, capture: cv2.VideoCapture) -> None:
        me = threading.current_thread()
        while self._reader is me and (frame := _read(capture)) is not None:
            with self._changed:
                if self._reader is not me:  # given up meanwhile: it hung
                    break
                self.passed_over += self._slot is not None
                self._slot = time.monotonic(), frame
                self._changed.notify_all()
        capture.release()
        with self._changed:
            if self._reader is me:
                self._reader = None
            self._changed.notify_all()

    def _next_frame(self) -> tuple[float, np.ndarray] | None:
        """The newest frame, once; None when the source has dropped, or hangs."""
        end = time.monotonic() + STALL_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._slot or not self._reader, IDLE_S)
                if self._slot or not self._reader or time.monotonic() >= end:
                    taken, self._slot = self._slot, None
                    if taken is None:
                        self._reader = None
                    return taken
            self.idle()

    def _reconnect(self) -> tuple[float, np.ndarray]:
        """The first frame after the source was opened again.

        Raises FacemaskError when it gave none within the time that reconnecting may take.
        """
        began, wait = time.monotonic(), FIRST_WAIT_S
        while (left := began + self._reconnect_s - time.monotonic()) > 0:
            wait = min(wait, LONGEST_WAIT_S, left)
            self._say(f"{self.name}: gives no frames; trying again in {wait:.1f} s")
            end = time.monotonic() + wait
            while (rest := end - time.monotonic()) > 0:
                self.idle()
                time.sleep(min(IDLE_S, rest))
            if self._start():
                taken = self._next_frame()
                if taken is not None:
                    self._say(f"{self.name}: gives frames again")
                    return taken
            wait *= 2
        raise FacemaskError(
            f"{self.name}: gave no frame for {self._reconnect_s:g} s; {self._remedy}"
        )
