"""Unforeseen exceptions in single frames: the frame has an error, and the others go on."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from facemask.defects import describe
from facemask.errors import FacemaskError, plain_interrupts

# A cause that stays, such as a broken network, would fill the console and the disk of a camera's
# run. This is two seconds of video: long enough for what passes, such as too little memory.
MAX_IN_A_ROW = 50  # frames


class FrameErrors:
    """Notes which frames of a video failed. Each cause is reported once, with its first frame."""

    def __init__(self, report: Callable[[str], None]):
        """report: takes one line for each cause."""
        self._report = report
        self._lines: dict[tuple[type, str], str] = {}  # by exception and its place
        self._in_a_row = 0
        self.count = 0  # frames that failed
        self.message = ""  # one line about the last frame, empty if nothing went wrong

    @contextmanager
    def caught(self, number: int, problem: Exception | None) -> Iterator[None]:
        """A context manager for the work on a frame; an exception in it ends that work alone.

        number: of the frame, from 0. problem: what went wrong with the frame before.
        Raises the FacemaskErrors of its block, and one when MAX_IN_A_ROW frames have failed.
        """
        try:
            with plain_interrupts():
                yield
        except FacemaskError:
            raise
        except Exception as error:
            problem = problem or error
        if problem is None:
            self.message, self._in_a_row = "", 0
            return
        self.count += 1
        self._in_a_row += 1
        self.message = self._line(number, problem)
        if self._in_a_row == MAX_IN_A_ROW:
            raise FacemaskError(
                f"frame {number}: {MAX_IN_A_ROW} frames in a row failed; the last: {self.message}"
            )

    def summary(self, frames: int) -> str:
        """One line about a run of so many frames: `3 of 40 frames failed`."""
        return f"{self.count} of {frames} frames failed"

    def _line(self, number: int, problem: Exception) -> str:
        calls = traceback.extract_tb(problem.__traceback__)
        cause = type(problem), f"{calls[-1].filename}:{calls[-1].lineno}" if calls else ""
        if cause not in self._lines:
            self._lines[cause] = describe(problem)
            self._report(f"frame {number}: {self._lines[cause]}")
        return self._lines[cause]
