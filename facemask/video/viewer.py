"""The window of a video run and its keys: q ends the run, p pauses it, s saves the frame."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np

from facemask.errors import FacemaskError
from facemask.images import write_image
from facemask.output import display
from facemask.output.drawing import draw_status

WINDOW = "Frame"

Log = Callable[[str], None]


def open_viewer(log: Log, warn: Log) -> "Viewer | None":
    """A viewer, or None, with a warning, where no window can be opened."""
    if display.can_show_windows():
        return Viewer(log, warn)
    warn("no display to open a window on; Ctrl-C ends the run")
    return None


class Viewer:
    """Shows frames in the window named WINDOW, which opens with the first of them."""

    def __init__(self, log: Log, warn: Log):
        """log: takes a line for each saved frame; warn: takes a line for one that failed."""
        self._log, self._warn = log, warn
        self._is_open = False

    def show(self, frame: np.ndarray, status: str = "") -> bool:
        """Show a frame (H, W, 3) uint8, BGR, and do what a pressed key asks for.

        status: a line to write into a copy of the frame. Saved frames are without it.
        Returns whether to go on: False after q, or when the window was closed.
        """
        image = frame
        if status:
            image = frame.copy()
            draw_status(image, status)
        self._is_open = True
        key = display.show_frame(WINDOW, image)
        if key == "s":
            self._save(frame)
        elif key == "p":
            while (key := display.pause(WINDOW)) == "s":  # any other key goes on
                self._save(frame)
        return key != "q"

    def interrupt_if_asked(self) -> None:
        """Raise KeyboardInterrupt after q; to be called while there is no new frame to show."""
        if self._is_open and display.asks_to_quit(WINDOW):
            raise KeyboardInterrupt

    def _save(self, frame: np.ndarray) -> None:
        """Write a frame into the working folder; a failure is only a warning."""
        path = Path(f"frame_{datetime.now():%Y-%m-%dT%H-%M-%S.%f}.png")
        try:
            write_image(path, frame)
            self._log(f"wrote {path}")
        except FacemaskError as error:
            self._warn(str(error))
