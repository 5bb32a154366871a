"""Alerts: a program runs, and a picture is kept, when a face without a mask stays in view.

Nothing that goes wrong in an alert stops the video: it is logged, and the run goes on.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

import numpy as np

from facemask.detect.types import MaskDetection
from facemask.errors import FacemaskError
from facemask.images import crop_face
from facemask.video.alert_command import SNAPSHOT, AlertCommand
from facemask.video.snapshots import check_folder, save_snapshot

ALERT_LABELS = frozenset({"without_mask", "mask_weared_incorrect"})
SNAPSHOT_MARGIN = 0.3  # how far the face's box is grown for its picture; see FaceBox.expand
# The tracker ends a track much sooner than this, and never gives its number again.
FORGET_S = 60.0


@dataclass
class _TrackState:
    """What is remembered of a track; times are seconds from the first frame."""

    last_seen_s: float = 0.0
    unmasked_since_s: float = math.inf  # all of its labels since then were in ALERT_LABELS
    last_alert_s: float = -math.inf


class Alerts:
    """Gives an alert when a face has been seen without a mask for long enough.

    An alert is due for a track, in a frame that shows it, when its label has been one of
    ALERT_LABELS for at least `after_s` seconds. Frames in which the face is not found do not
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
        after_s: float,
        cooldown_s: float,
        snapshots: Path | None,
        log: Callable[[str], None],
    ):
        """command: a program and its arguments, as split_command gives them; empty for none.

        snapshots: the folder for the pictures, made where it is missing; None for no pictures.
        log: takes a line for whatever goes wrong.
        Raises FacemaskError where the folder can't be written to.
        """
        if snapshots is not None:
            check_folder(snapshots)
        self._after_s, self._cooldown_s = after_s, cooldown_s
        self._snapshots, self._log = snapshots, log
        self._command = AlertCommand(command, log)
        self._tracks: dict[int, _TrackState] = {}
        self._last_alert_s = -math.inf

    def update(
        self, detections: Sequence[MaskDetection], frame: np.ndarray, time_s: float
    ) -> list[int]:
        """Process a frame; returns the numbers of the tracks that an alert was given for.

        detections: those of the frame, as the tracker returns them; any without a track are
        ignored. frame: (H, W, 3) uint8, BGR, before anything is drawn on it. time_s: seconds from
        the first frame; frames come in order.
        """
        self._command.poll()
        alerted = []
        for state, track, detection in self._due(detections, time_s):
            if time_s - self._last_alert_s < self._cooldown_s:
                break
            state.last_alert_s = self._last_alert_s = time_s
            self._give_alert(track, detection, frame, time_s)
            alerted.append(track)
        for number, state in list(self._tracks.items()):
            if state.last_seen_s < time_s - FORGET_S:
                del self._tracks[number]
        return alerted

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the programs that still run; see AlertCommand.close."""
        self._command.close()

    def _due(
        self, detections: Sequence[MaskDetection], time_s: float
    ) -> list[tuple[_TrackState, int, MaskDetection]]:
        """The tracks that an alert is due for without regard to the cool-down, in their turn."""
        due = []
        for detection in detections:
            if detection.track is None:
                continue
            state = self._tracks.setdefault(detection.track, _TrackState())
            state.last_seen_s = time_s
            unmasked = detection.label in ALERT_LABELS
            state.unmasked_since_s = min(state.unmasked_since_s, time_s) if unmasked else math.inf
            if time_s - state.unmasked_since_s >= self._after_s:
                due.append((state, detection.track, detection))
        return sorted(due, key=lambda item: (item[0].last_alert_s, item[0].unmasked_since_s))

    def _give_alert(
        self, track: int, detection: MaskDetection, frame: np.ndarray, time_s: float
    ) -> None:
        now = _now()
        variables = {
            "FACEMASK_LABEL": detection.label,
            "FACEMASK_TRACK": str(track),
            "FACEMASK_TIME": now.isoformat(timespec="seconds"),
            "FACEMASK_TIME_S": f"{time_s:.3f}",
        }
        if self._snapshots is not None:
            try:
                crop = crop_face(frame, detection.face, SNAPSHOT_MARGIN)
                stem = f"{now:%Y-%m-%dT%H-%M-%S}_track-{track}"
                variables[SNAPSHOT] = str(save_snapshot(self._snapshots.absolute(), stem, crop))
            except (FacemaskError, ValueError) as error:  # ValueError: a face outside the frame
                self._log(f"alert: no snapshot was saved: {error}")
        self._command.start(variables)


def _now() -> datetime:
    """The local time, with its offset from UTC."""
    return datetime.now().astimezone()
