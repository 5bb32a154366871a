"""Following faces from frame to frame, so that each has a number and a label that holds still."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from facemask.detect.types import MaskDetection
from facemask.geometry import FaceBox

# A face is that of a track when they overlap by this much (IoU) or, for small faces that move
# fast, when their centres are nearer than this part of the larger one's width.
LEAST_IOU = 0.3
NEAR = 0.6
# A face that is not found for longer has left; until then the same face gets the same number.
MEMORY_S = 1.0
# The label is what most of the track's frames of the last so many seconds say.
VOTE_S = 1.0


@dataclass
class Track:
    """A face that was followed; times are seconds from the first frame."""

    number: int
    box: FaceBox  # where it was last
    first_s: float
    last_s: float
    votes: deque[tuple[float, str, float]] = field(default_factory=deque)  # time, label, weight
    frames: dict[str, int] = field(default_factory=dict)  # in how many it had each label
    label: str = ""
    changes: int = 0  # of the label that was shown

    def see(self, detection: MaskDetection, time_s: float, vote_s: float) -> MaskDetection:
        """Take in a frame's detection; the same with the track's number and its vote's label."""
        self.box, self.last_s = detection.face, time_s
        self.votes.append((time_s, detection.label, detection.probability))
        while self.votes[0][0] < time_s - vote_s:
            self.votes.popleft()
        sums: dict[str, list[float]] = {}
        for _, label, weight in self.votes:
            sums.setdefault(label, []).append(weight)
        # Of equal sums the label that is shown already.
        label = max(sums, key=lambda one: (sum(sums[one]), one == self.label))
        self.changes += bool(self.label) and label != self.label
        self.label = label
        self.frames[label] = self.frames.get(label, 0) + 1
        probability = sum(sums[label]) / len(sums[label])
        return replace(detection, label=label, probability=probability, track=self.number)

    def majority_label(self) -> tuple[str, int]:
        """The label that it had in most frames, and in how many."""
        return max(self.frames.items(), key=lambda one: one[1])


class Tracker:
    """Follows the faces of a video; its frames come in order."""

    def __init__(self, memory_s: float = MEMORY_S, vote_s: float = VOTE_S):
        self._memory_s, self._vote_s = memory_s, vote_s
        self._count = 0
        self.current: list[Track] = []  # tracks that may go on
        self._ended: list[Track] = []

    def update(self, detections: Sequence[MaskDetection], time_s: float) -> list[MaskDetection]:
        """The detections of a frame with their tracks' numbers and labels, in the same order.

        time_s: seconds from the first frame. The label is the vote of the track's last frames,
        each with the weight of its probability; the probability the mean of those that agree.
        """
        self._forget(time_s)
        pairs = sorted(
            (
                (-closeness, place, number)
                for place, detection in enumerate(detections)
                for number, track in enumerate(self.current)
                if (closeness := _closeness(detection.face, track.box)) > 0
            ),
        )
        found: dict[int, Track] = {}
        taken: set[int] = set()
        for _, place, number in pairs:  # the closest first
            if place not in found and number not in taken:
                found[place] = self.current[number]
                taken.add(number)
        shown = []
        for place, detection in enumerate(detections):
            track = found.get(place)
            if track is None:
                self._count += 1
                track = Track(self._count, detection.face, time_s, time_s)
                self.current.append(track)
            shown.append(track.see(detection, time_s, self._vote_s))
        return shown

    def ended(self) -> list[Track]:
        """The tracks that ended since the last call: nothing of them is kept here."""
        ended, self._ended = self._ended, []
        return ended

    def finish(self) -> list[Track]:
        """End all tracks; those that ended since the last call of ended()."""
        self._ended += self.current
        self.current = []
        return self.ended()

    def _forget(self, time_s: float) -> None:
        left = [track for track in self.current if track.last_s < time_s - self._memory_s]
        if left:
            self._ended += left
            self.current = [track for track in self.current if track not in left]


def _closeness(one: FaceBox, other: FaceBox) -> float:
    """How well two boxes may be the same face a moment later: their IoU, less, or 0 for not."""
    iou = one.iou(other)
    if iou >= LEAST_IOU:
        return 1 + iou
    width = max(one.width, other.width)
    if min(one.width, other.width) < width / 2:
        return 0.0
    dx = (one.x1 + one.x2 - other.x1 - other.x2) / 2
    dy = (one.y1 + one.y2 - other.y1 - other.y2) / 2
    distance = (dx * dx + dy * dy) ** 0.5 / max(1, width)
    return 1 - distance if distance < NEAR else 0.0
