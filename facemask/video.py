"""Video in and out: cameras, files and streams; the writer of annotated video."""

import math
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from facemask.errors import FacemaskError
from facemask.files import beside, find, replacing

# Codecs that OpenCV's own build of FFmpeg can write, by the suffix of the file.
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".avi": "XVID", ".mkv": "mp4v"}

# For sources that state no frame rate, or an impossible one (0, or a stream's time base).
DEFAULT_FPS = 25.0
HIGHEST_FPS = 1000.0


class VideoSource:
    """A camera, a video file or a stream, read frame by frame."""

    def __init__(self, name: str, capture: cv2.VideoCapture, *, is_file: bool):
        self.name = name
        self.is_file = is_file
        self.ended = False
        self._capture = capture
        stated = capture.get(cv2.CAP_PROP_FPS)
        usable = math.isfinite(stated) and 0 < stated <= HIGHEST_FPS
        self.fps = stated if usable else DEFAULT_FPS  # frames a second
        # As the file's header has it; 0 where it is not known.
        self.frame_count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))) if is_file else 0

    @classmethod
    def open(cls, source: str) -> "VideoSource":
        """Open a camera ("0", "1"), a video file, or a URL that OpenCV reads (rtsp://, http://).

        Raises FacemaskError that names the source and what to try.
        """
        if source.isdecimal():
            name, remedy = f"camera {source}", (
                "check that it is connected, that no other program uses it and that you may read"
                " it, or name another camera, a file or a URL with --source"
            )  # fmt: skip
            capture = cv2.VideoCapture(min(int(source), 2**31 - 1))  # a C int
        elif "://" in source:
            # A password in the address is not for logs.
            name, remedy = re.sub("//[^/@]*@", "//", source), "check the address and the network"
            capture = cv2.VideoCapture(source)
        else:
            path = find(source)
            if not path.is_file():
                found = "found a folder" if path.is_dir() else "no such file"
                raise FacemaskError(
                    f"{source}: {found}; expected a video file, a camera's number or a URL"
                )
            name, remedy = source, "expected a video file that OpenCV can read"
            capture = cv2.VideoCapture(str(path))
        if not capture.isOpened():
            capture.release()
            raise FacemaskError(f"{name}: can't be opened; {remedy}")
        return cls(name, capture, is_file=not source.isdecimal() and "://" not in source)

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """The frames in order, with their times, until the source ends.

        Time is seconds from the first frame: by the frame rate in a file, by the clock otherwise.
        Frames are (H, W, 3) uint8, BGR. Raises FacemaskError when there is not even one.
        """
        count, start = 0, time.monotonic()
        while True:
            read, frame = self._capture.read()
            if not read or frame is None or frame.size == 0:
                break
            if count == 0:
                start = time.monotonic()
            yield (count / self.fps if self.is_file else time.monotonic() - start), frame
            count += 1
        if count == 0:
            raise FacemaskError(f"{self.name}: opened, but gave no frame")
        self.ended = True

    def cut_short(self, count: int) -> bool:
        """Whether the source ended after `count` frames, well before its header said.

        Some headers hold an estimate, hence a tolerance of one in twenty.
        """
        return self.ended and count < 0.95 * self.frame_count

    def close(self) -> None:
        self._capture.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class VideoWriter:
    """Writes frames to a file that is finished, and playable, however the run ends.

    A context manager; until it closes, the video grows in a hidden file beside its place.
    """

    def __init__(self, path: Path, fps: float):
        """path: its suffix is one of CODECS; fps: frames a second of the video."""
        self._path = path
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)  # width, height, pixels
        self._written = 0

    def write(self, frame: np.ndarray, time_s: float) -> None:
        """Add a frame (H, W, 3) uint8, BGR; one of another size is stretched to the first's.

        time_s: when the frame was seen, seconds from the first. A live source's pace is not the
        rate it states, so frames are repeated or left out where need be: the video lasts as long
        as what it shows. Raises FacemaskError when the file can't be written.
        """
        if self._writer is None:
            self._size = (frame.shape[1], frame.shape[0])
            codec = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
            self._writer = cv2.VideoWriter(str(beside(self._path)), codec, self._fps, self._size)
            if not self._writer.isOpened():
                raise FacemaskError(
                    f"{self._path}: OpenCV can't write video of {self._size[0]}x{self._size[1]}"
                    f" pixels there in its codec for {self._path.suffix}"
                )
        if (frame.shape[1], frame.shape[0]) != self._size:
            frame = cv2.resize(frame, self._size)
        copies = round(time_s * self._fps) + 1 - self._written
        for _ in range(copies):
            self._writer.write(frame)
            self._written += 1

    def close(self) -> None:
        """Finish the file and put it into its place.

        Raises FacemaskError when what was written can't be read back: a full disk, say, of which
        OpenCV itself does not speak.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        with replacing(self._path) as part:
            check = cv2.VideoCapture(str(part))
            playable = check.read()[0]
            check.release()
            if not playable:
                raise FacemaskError(f"{self._path}: the video could not be written to its end")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
