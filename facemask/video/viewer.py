"""The window of a video run and its keys: q ends the run, p pauses it, s saves the frame."""

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np

from facemask.errors import FacemaskError
from facemask.images import write_image
from facemask.output import display
from facemask.output.drawing import draw_status

WINDOW = "Frame"
# Frames that come late are shown at once, and the next ones faster than their rate, but never to
# make up for more than this: a machine that is too slow shows all frames, more slowly.
MAX_LATE_S = 0.5

Log = Callable[[str], None]


def open_viewer(log: Log, warn: Log, fast: bool = False) -> "Viewer | None":
    """A viewer, or None, with a warning, where no window can be opened; see Viewer."""
    if display.can_show_windows():
        return Viewer(log, warn, fast)
    warn("no display to open a window on; Ctrl-C ends the run")
    return None


class Viewer:
    """Shows frames in the window named WINDOW, which opens with the first of them."""

    def __init__(self, log: Log, warn: Log, fast: bool = False):
        """log: takes a line for each saved frame; warn: takes a line for one that failed.

        fast: show each frame as soon as it comes, and not at its time.
        """
        self._log, self._warn, self._fast = log, warn, fast
        self._shown: np.ndarray | None = None  # the frame in the window, which is open then
        self._start_s: float | None = None  # the clock's time of the first frame

    def show(self, frame: np.ndarray, time_s: float, status: str = "") -> bool:
        """Show a frame (H, W, 3) uint8, BGR, and do what a pressed key asks for.

        time_s: seconds from the first frame. status: a line to write into a copy of the frame.
        Saved frames are without it.
        Returns whether to go on: False after q, or when the window was closed.
        """
        if not self._fast and not self._wait_until(time_s):
            return False
        image = frame
        if status:
            image = frame.copy()
            draw_status(image, status)
        self._shown = frame
        return self._obey(display.show_frame(WINDOW, image))

    def _wait_until(self, time_s: float) -> bool:
        """Wait until a frame is due, with the one before in the window; whether to go on."""
        earliest_s = time.monotonic() - time_s  # of the start, if the frame were due now
        if self._start_s is None:
            self._start_s = earliest_s
        self._start_s = max(self._start_s, earliest_s - MAX_LATE_S)
        while (wait_s := self._start_s + time_s - time.monotonic()) > 0:
            if not self._obey(display.wait_for_key(WINDOW, wait_s)):
                return False
        return True

    def _obey(self, key: str) -> bool:
        """Do what a key asks for; returns whether to go on."""
        if key == "s":
            self._save()
        elif key == "p":
            paused_s = time.monotonic()
            while (key := display.pause(WINDOW)) == "s":  # any other key goes on
                self._save()
            if self._start_s is not None:
                self._start_s += time.monotonic() - paused_s
        return key != "q"

    def interrupt_if_asked(self) -> None:
        """Raise KeyboardInterrupt after q; to be called while there is no new frame to show."""
        if self._shown is not None and display.asks_to_quit(WINDOW):
            raise KeyboardInterrupt

    def _save(self) -> None:
        """Write the frame in the window into the working folder; a failure is only a warning."""
        assert self._shown is not None
        path = Path(f"frame_{datetime.now():%Y-%m-%dT%H-%M-%S.%f}.png")
        try:
            write_image(path, self._shown)
            self._log(f"wrote {path}")
        except FacemaskError as error:
            self._warn(str(error))
