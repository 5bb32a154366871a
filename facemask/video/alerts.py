"""Alerts: a program runs, and a picture is kept, when a face of certain classes stays in view.

Nothing that goes wrong in an alert stops the video: it is logged, and the run goes on.
"""

import math
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import mkstemp
from typing import Self

import cv2
import numpy as np

from facemask.class_names import WITH_MASK, meaning, same_class
from facemask.detect.types import MaskDetection
from facemask.errors import FacemaskError, UsageError
from facemask.files import check_writable, reason
from facemask.images import crop_face
from facemask.output.labels import class_word

SNAPSHOT = "FACEMASK_SNAPSHOT"  # the variable with a picture's path, where there is one
SNAPSHOT_MARGIN = 0.3  # how far the face's box is grown for its picture; see FaceBox.expand
# The tracker ends a track much sooner than this, and never gives its number again.
FORGET_S = 60.0

TIME_LIMIT_S = 30.0  # a program that runs for longer is ended
MAX_RECENT = 10  # alerts that are remembered
CLOSING_WAIT_S = 2.0  # how long close() waits for programs that still run
MAX_RUNNING = 4  # programs at the same time

Log = Callable[[str], None]


def alert_labels(class_names: Sequence[str], wanted: Sequence[str] = ()) -> list[str]:
    """Which of a model's classes alerts are for.

    wanted: their names, or others that mean the same; empty for every class that is not a properly
    worn mask. Where no class is known to be one, those are left out whose meaning is not known.
    Raises UsageError for a wanted label that the model does not have, and where none is left.
    """
    known = f"the model's labels are {', '.join(class_names)}"
    labels = [same_class(label, class_names) for label in wanted]
    if None in labels:
        unknown = wanted[labels.index(None)]
        raise UsageError(
            f"--alert-labels: expected labels that the model has, found {unknown}; {known}"
        )
    if not wanted:
        meanings = [meaning(name) for name in class_names]
        others = {WITH_MASK} if WITH_MASK in meanings else {None}
        pairs = zip(class_names, meanings, strict=True)
        labels = [name for name, meant in pairs if meant not in others]
    if not labels:
        raise UsageError(
            "--alert-command and --snapshots: expected --alert-labels with them, as none of the"
            f" model's labels is known to mean a face without a proper mask; {known}"
        )
    return [label for label in dict.fromkeys(labels) if label]


@dataclass(frozen=True)
class Alert:
    """An alert that was given."""

    time: str  # local, with its offset from UTC: 2026-03-01T12:30:00+01:00
    label: str
    track: int


@dataclass
class _TrackState:
    """What is remembered of a track; times are seconds from the first frame."""

    detection: MaskDetection  # in the last frame that shows the face
    last_seen_s: float = 0.0
    unmasked_since_s: float = math.inf  # all of its labels since then were ones to alert for
    last_alert_s: float = -math.inf


class Alerts:
    """Gives an alert when a face has been seen without a properly worn mask for long enough.

    An alert is due for a track, in a frame that shows it, when its label has been one of `labels`
    for at least `after_s` seconds. Frames in which the face is not found do not
    interrupt that time; any other label, also "uncertain", restarts it.

    The cool-down is that of the whole camera: for `cooldown_s` seconds after an alert there is no
    other one, for whatever face, so that a crowd does not start a hundred programs. Of the faces
    that wait for its end, those without an alert come first, then the one whose alert is the
    oldest. Both times are those of the video, which may be read faster than it was recorded.

    An alert saves a picture of the face and runs the command in the background; either or both
    may be missing. A context manager. Its memory does not grow with the video.
    """

    def __init__(
        self,
        command: Sequence[str],
        labels: Collection[str],
        after_s: float,
        cooldown_s: float,
        snapshots: Path | None,
        log: Log,
        announce: Log = lambda line: None,
    ):
        """command: a program and its arguments; empty for none. labels: see alert_labels.

        snapshots: the folder for the pictures, made where it is missing; None for no pictures.
        log: takes a line for whatever goes wrong; announce: takes a line for each alert.
        Raises FacemaskError where the folder can't be written to.
        """
        if snapshots is not None:
            if snapshots.exists() and not snapshots.is_dir():
                raise FacemaskError(f"{snapshots}: expected a folder for snapshots, found a file")
            check_writable(snapshots / "snapshot.jpg")
        self._labels, self._after_s, self._cooldown_s = labels, after_s, cooldown_s
        self._snapshots, self._log, self._announce = snapshots, log, announce
        self._command = AlertCommand(command, log)
        self._tracks: dict[int, _TrackState] = {}
        self._last_alert_s = -math.inf
        self.recent: deque[Alert] = deque(maxlen=MAX_RECENT)  # the newest last

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the programs that still run; see AlertCommand.close."""
        self._command.close()

    def update(
        self, detections: Sequence[MaskDetection], frame: np.ndarray, time_s: float
    ) -> int | None:
        """Process a frame; returns the number of the track that an alert was given for, if any.

        detections: those of the frame, as the tracker returns them; any without a track are
        ignored. frame: (H, W, 3) uint8, BGR, before anything is drawn on it. time_s: seconds from
        the first frame; frames come in order.
        """
        self._command.poll()
        due = []
        for detection in detections:
            if detection.track is None:
                continue
            state = self._tracks.setdefault(detection.track, _TrackState(detection))
            state.detection, state.last_seen_s = detection, time_s
            unmasked = detection.label in self._labels
            state.unmasked_since_s = min(state.unmasked_since_s, time_s) if unmasked else math.inf
            if time_s - state.unmasked_since_s >= self._after_s:
                due.append(state)
        for number, state in list(self._tracks.items()):
            if state.last_seen_s < time_s - FORGET_S:
                del self._tracks[number]
        if not due or time_s - self._last_alert_s < self._cooldown_s:
            return None
        state = min(due, key=lambda state: (state.last_alert_s, state.unmasked_since_s))
        state.last_alert_s = self._last_alert_s = time_s
        self._give_alert(state.detection, frame, time_s)
        return state.detection.track

    def _give_alert(self, detection: MaskDetection, frame: np.ndarray, time_s: float) -> None:
        now = _now()
        alert = Alert(now.isoformat(timespec="seconds"), detection.label, detection.track or 0)
        self.recent.append(alert)
        variables = {
            "FACEMASK_LABEL": alert.label,
            "FACEMASK_TRACK": str(alert.track),
            "FACEMASK_TIME": alert.time,
            "FACEMASK_TIME_S": f"{time_s:.3f}",
        }
        if self._snapshots is not None:
            crop = crop_face(frame, detection.face, SNAPSHOT_MARGIN)
            prefix = f"{now:%Y-%m-%dT%H-%M-%S}_track-{detection.track}_"
            try:
                variables[SNAPSHOT] = save_snapshot(self._snapshots.absolute(), prefix, crop)
            except OSError as error:
                self._log(f"alert: no snapshot was saved: {self._snapshots}: {reason(error)}")
        word = class_word(detection.label)
        saved = f"; wrote {variables[SNAPSHOT]}" if SNAPSHOT in variables else ""
        self._announce(f"alert: {word}, track {detection.track}, at {time_s:.1f} s{saved}")
        self._command.start(variables)


def save_snapshot(folder: Path, prefix: str, image: np.ndarray) -> str:
    """Write an image (H, W, 3) uint8, BGR, to a new file in the folder; returns its path.

    The name is the prefix, some random letters, and .jpg. Only the owner can read the file (mode
    0600, as of all files that tempfile makes), because a face is personal data.
    Raises OSError where it can't be written; no part of it is left then.
    """
    descriptor, path = mkstemp(prefix=prefix, suffix=".jpg", dir=folder)
    try:
        with open(descriptor, "wb") as file:
            file.write(cv2.imencode(".jpg", image)[1].tobytes())
    except OSError:
        os.unlink(path)
        raise
    return path


class AlertCommand:
    """Runs a command in the background, without a shell, MAX_RUNNING times at once at most.

    A program that fails, can't be started, or runs for longer than TIME_LIMIT_S is logged, and
    nothing raises. Needs no thread: poll() is to be called regularly. Processes that a program
    leaves behind when it ends by itself go on.
    """

    def __init__(self, command: Sequence[str], log: Log):
        self._command, self._log = command, log
        # Each program that runs, and until when it may, by time.monotonic().
        self._running: dict[subprocess.Popen[bytes], float] = {}

    def start(self, variables: Mapping[str, str]) -> None:
        """Start the program, if there is one, with these variables added to its environment."""
        if not self._command:
            return
        if len(self._running) >= MAX_RUNNING:
            self._report(f"was not started: {MAX_RUNNING} are still running")
            return
        # An alert of another run may have started this one, and its picture is not ours.
        inherited = {name: value for name, value in os.environ.items() if name != SNAPSHOT}
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # its output would mix with ours
                stderr=subprocess.DEVNULL,
                env={**inherited, **variables},
                # A group of its own: Ctrl-C does not reach it, and its children end with it.
                start_new_session=True,
            )
        except OSError as error:
            self._report(f"can't be started: {reason(error)}")
        else:
            self._running[process] = time.monotonic() + TIME_LIMIT_S

    def poll(self) -> None:
        """Log the programs that failed, and end those that run for too long."""
        for process, deadline in list(self._running.items()):
            if (code := process.poll()) is not None:
                del self._running[process]
                if code:
                    cause = f"status {code}" if code > 0 else f"ended by signal {-code}"
                    self._report(f"failed: {cause}")
            elif time.monotonic() >= deadline:
                self._kill(process, f"it ran for {TIME_LIMIT_S:g} seconds")

    def close(self) -> None:
        """Wait for what still runs, for CLOSING_WAIT_S seconds at most; then end it."""
        end = time.monotonic() + CLOSING_WAIT_S
        try:
            self.poll()
            while self._running and time.monotonic() < end:
                time.sleep(0.01)
                self.poll()
        finally:  # also after a second Ctrl-C
            for process in list(self._running):
                self._kill(process, "the video is over")

    def _kill(self, process: subprocess.Popen[bytes], cause: str) -> None:
        """End a process and its children; not waited for yet, so that its number is not reused."""
        del self._running[process]
        with suppress(OSError):  # it ended meanwhile, or runs as another user
            if os.name == "posix":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        with suppress(subprocess.TimeoutExpired):  # it hangs in the kernel
            process.wait(1)
        self._report(f"was ended: {cause}")

    def _report(self, message: str) -> None:
        self._log(f"alert: {self._command[0]} {message}")


def _now() -> datetime:
    """The local time, with its offset from UTC."""
    return datetime.now().astimezone()
