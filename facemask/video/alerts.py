"""Alerts: a program is run, and a picture kept, when a person without a mask stays in view.

Nothing here may stop a video: whatever goes wrong once it runs is told in a line, and goes by.
"""

import argparse
import math
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

import numpy as np

from facemask.detect.types import MaskDetection
from facemask.errors import FacemaskError
from facemask.files import beside, reason
from facemask.images import crop_face, write_image

ALERT_LABELS = frozenset({"without_mask", "mask_weared_incorrect"})  # what alerts are given for
TIME_LIMIT_S = 30.0  # a program that runs for longer is ended
GRACE_S = 2.0  # how long the programs that still run are waited for once the video is over
MOST_AT_ONCE = 4  # programs that run beside one another
SNAPSHOT_MARGIN = 0.3  # how far a face's box is grown for its picture, as FaceBox.expand
# A tracker gives up a face much sooner, and its number is never given again.
FORGET_S = 60.0


class CommandError(FacemaskError, argparse.ArgumentTypeError):
    """A command that can't be run; one line, which argparse shows as it is."""


def split_command(text: str) -> list[str]:
    """The program and its arguments in a command as one types it; quotes and \\ as in a shell.

    There is no shell behind it, so that |, >, $NAME and * are letters like any other.
    Raises CommandError, a FacemaskError that is an argument type's error too, for a command that
    is empty or has an open quote, and for a program that isn't there or may not be run.
    """
    try:
        command = shlex.split(text)
    except ValueError as error:
        raise CommandError(f"can't read the command {text!r}: {error}") from error
    if not command:
        raise CommandError(f"expected a program and its arguments, found {text!r}")
    if shutil.which(command[0]) is None:
        raise CommandError(f"expected a program that can be run, found {command[0]!r}")
    return command


@dataclass
class _Person:
    """What is remembered of a track; times are seconds from the first frame."""

    number: int
    seen_s: float  # last
    bare_s: float = math.inf  # since when all of its labels have been bare ones
    alerted_s: float = -math.inf  # last


class Alerts:
    """Gives an alert when a person without a mask has been in view for long enough.

    An alert is due for a track, in a frame that shows it, when its label has been one of
    ALERT_LABELS for `after_s` seconds at least. Frames that miss the face count as more of the
    same; any other label, "uncertain" too, starts the time anew.

    The cool-down is that of the whole camera: within `cooldown_s` seconds of an alert there is no
    other one, whoever it would be for, so that a crowd starts no hundred programs. Of those who
    wait for it, whoever had no alert yet comes first, then whoever had theirs the longest ago.
    Both times are those of the video, which may be read faster than it was filmed.

    An alert keeps a picture of the face and runs the command in the background; either may be
    missing. A program that fails, can't be started, or is ended because it takes longer than
    TIME_LIMIT_S, is told with a line and nothing else; so is an alert that starts none because
    MOST_AT_ONCE still run. What a program leaves running when it ends by itself goes on.

    A context manager. Keeps no thread; what it remembers doesn't grow with the video.
    """

    def __init__(
        self,
        command: Sequence[str],
        after_s: float,
        cooldown_s: float,
        snapshots: Path | None,
        say: Callable[[str], None],
    ):
        """command: a program and its arguments, as of split_command; empty to run none.

        snapshots: the folder that pictures are kept in, made where it is missing; None to keep
        none. say: takes the lines about what went wrong.
        Raises FacemaskError where nothing can be written to the folder.
        """
        if snapshots is not None:
            _check_folder(snapshots)
        self._after_s, self._cooldown_s = after_s, cooldown_s
        self._snapshots = snapshots
        self._say = say
        self._programs = _Programs(command, say)
        self._people: dict[int, _Person] = {}
        self._last_s = -math.inf  # the last alert's time

    def update(
        self, detections: Sequence[MaskDetection], frame: np.ndarray, time_s: float
    ) -> list[int]:
        """Take in a frame; the numbers of the tracks that an alert was given for.

        detections: what tracks.Tracker made of the frame's; those without a track are passed
        over. frame: (H, W, 3) uint8, BGR, with nothing drawn on it yet, or that is in the picture
        too. time_s: seconds from the first frame; frames come in order.
        """
        self._programs.poll()
        alerted = []
        for person, detection in self._due(detections, time_s):
            if time_s - self._last_s < self._cooldown_s:
                break
            person.alerted_s = self._last_s = time_s
            self._alert(person.number, detection, frame, time_s)
            alerted.append(person.number)
        self._people = {
            number: person
            for number, person in self._people.items()
            if person.seen_s >= time_s - FORGET_S
        }
        return alerted

    def close(self) -> None:
        """Wait for the programs that still run, for GRACE_S seconds at most; then end them."""
        self._programs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _due(
        self, detections: Sequence[MaskDetection], time_s: float
    ) -> list[tuple[_Person, MaskDetection]]:
        """Who an alert is due for, but for the cool-down; who comes first stands first."""
        due = []
        for detection in detections:
            if detection.track is None:
                continue
            person = self._people.setdefault(detection.track, _Person(detection.track, time_s))
            person.seen_s = time_s
            bare = detection.label in ALERT_LABELS
            person.bare_s = min(person.bare_s, time_s) if bare else math.inf
            if time_s - person.bare_s >= self._after_s:
                due.append((person, detection))
        return sorted(due, key=lambda one: (one[0].alerted_s, one[0].bare_s))

    def _alert(
        self, number: int, detection: MaskDetection, frame: np.ndarray, time_s: float
    ) -> None:
        now = _now()
        facts = {
            "FACEMASK_LABEL": detection.label,
            "FACEMASK_TRACK": str(number),
            "FACEMASK_TIME": now.isoformat(timespec="seconds"),
            "FACEMASK_TIME_S": f"{time_s:.3f}",
        }
        picture = self._snapshot(number, detection, frame, now)
        if picture:
            facts["FACEMASK_SNAPSHOT"] = str(picture)
        self._programs.start(facts)

    def _snapshot(
        self, number: int, detection: MaskDetection, frame: np.ndarray, now: datetime
    ) -> Path | None:
        """Keep a picture of the face; its absolute path, or None where there is none."""
        if self._snapshots is None:
            return None
        stem = f"{now:%Y-%m-%dT%H-%M-%S}_track-{number}"
        try:
            crop = crop_face(frame, detection.face, SNAPSHOT_MARGIN)
            path = _take_name(self._snapshots.absolute(), stem)
            _fill_privately(path, crop)
        except OSError as error:
            self._say(f"alert: {self._snapshots}: no picture was kept: {reason(error)}")
        except (FacemaskError, ValueError) as error:  # ValueError: of a face outside the frame
            self._say(f"alert: no picture was kept: {error}")
        else:
            return path
        return None


@dataclass
class _Run:
    """A program that was started."""

    process: subprocess.Popen[bytes]
    started: float  # of time.monotonic
    told: bool = False  # that it was ended


class _Programs:
    """Runs a command in the background, some times at once; nothing here raises."""

    def __init__(self, command: Sequence[str], say: Callable[[str], None]):
        self._command = list(command)
        self._say = say
        self._runs: list[_Run] = []
        self._told_full = False

    def start(self, facts: dict[str, str]) -> None:
        """Start it with these in its environment, unless MOST_AT_ONCE run already."""
        if not self._command:
            return
        if len(self._runs) >= MOST_AT_ONCE:
            if not self._told_full:  # once, until there is room again
                self._tell(f"was not started: {MOST_AT_ONCE} of it still run")
            self._told_full = True
            return
        self._told_full = False
        environment = {**os.environ, **facts}
        if "FACEMASK_SNAPSHOT" not in facts:  # one of ours that runs us would hand on its own
            environment.pop("FACEMASK_SNAPSHOT", None)
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # its words would get between our own
                stderr=subprocess.DEVNULL,
                env=environment,
                # A Ctrl-C that is meant for us goes by it, and its group is ended as a whole.
                start_new_session=True,
            )
        except OSError as error:
            self._tell(f"can't be started: {reason(error)}")
        except ValueError as error:  # of a zero byte, for one
            self._tell(f"can't be started: {error}")
        else:
            self._runs.append(_Run(process, time.monotonic()))

    def poll(self) -> None:
        """Tell of the runs that failed, and end those that take too long; never waits."""
        ended = [run for run in self._runs if run.process.poll() is not None]
        self._runs = [run for run in self._runs if run.process.returncode is None]
        latest = time.monotonic() - TIME_LIMIT_S
        late = [run for run in self._runs if run.started <= latest and not run.told]
        for run in late:
            _kill(run.process)
            run.told = True
        for run in ended:
            if run.process.returncode and not run.told:
                self._tell(f"failed: {_status(run.process.returncode)}")
        for _ in late:
            self._tell(f"was ended: it ran for {TIME_LIMIT_S:g} seconds")

    def close(self) -> None:
        """Wait for what still runs, for GRACE_S seconds at most; then end it."""
        until = time.monotonic() + GRACE_S
        try:
            self.poll()
            while self._runs and time.monotonic() < until:
                time.sleep(0.01)
                self.poll()
        finally:  # also by a second Ctrl-C, of one who doesn't want to wait
            left, self._runs = self._runs, []
            for run in left:
                _kill(run.process)
            for run in left:
                with suppress(subprocess.TimeoutExpired):  # stuck in the kernel, on a dead disk
                    run.process.wait(1)
        for run in left:
            if not run.told and run.process.returncode != 0:
                self._tell("was ended: the video is over")

    def _tell(self, what: str) -> None:
        self._say(f"alert: {self._command[0]} {what}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children; it was not waited for yet, so the number is still its own."""
    with suppress(OSError):  # it has ended meanwhile, or runs as another user
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _status(code: int) -> str:
    """A return code other than 0 in words."""
    if code > 0:
        return f"status {code}"
    with suppress(ValueError):
        return f"ended by {signal.Signals(-code).name}"
    return f"ended by signal {-code}"


def _now() -> datetime:
    """The local time, with its offset."""
    return datetime.now().astimezone()


def _check_folder(folder: Path) -> None:
    """Make sure that files can be made in a folder, which is made where it is missing.

    Raises FacemaskError naming the folder and the reason.
    """
    if folder.exists() and not folder.is_dir():
        raise FacemaskError(f"{folder}: expected a folder for snapshots, found a file")
    probe = beside(folder / "snapshot")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        raise FacemaskError(f"{folder}: can't be written to: {reason(error)}") from error


def _take_name(folder: Path, stem: str) -> Path:
    """A new, empty file in the folder, of mode 0600: stem.jpg or, where it is taken, stem-2.jpg.

    Raises OSError where it can't be made.
    """
    path, number = folder / f"{stem}.jpg", 1
    while True:
        try:
            path.touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            number += 1
            path = folder / f"{stem}-{number}.jpg"
        else:
            return path


def _fill_privately(path: Path, image: np.ndarray) -> None:
    """Write an image (H, W, 3) uint8, BGR, over an empty file, so that only its owner can read it.

    Where that fails the empty file goes. Raises FacemaskError or OSError.
    """
    part = beside(path)
    try:
        # write_image fills this file, which keeps its mode, and then renames it: at no moment is
        # there a picture that others can read.
        part.touch(mode=0o600)
        write_image(path, image)
    except BaseException:
        part.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise
