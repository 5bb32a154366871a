"""A tracker: follows faces from frame to frame, so that each has a number and a steady label."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from facemask.detect.types import MaskDetection
from facemask.geometry import FaceBox

# A detection continues a track when their boxes overlap by this IoU or, for small faces that move
# fast, when their centres are nearer than this ratio of the wider box's width.
MIN_IOU = 0.3
MAX_CENTRE_DISTANCE = 0.6
# A track ends when its face is not found for longer than this.
MEMORY_S = 1.0
# A track's label is voted by its frames of this last time.
VOTE_S = 1.0


@dataclass
class Track:
    """A face that is tracked; times are seconds from the first frame."""

    number: int  # from 1
    box: FaceBox  # in the last frame that shows the face
    first_s: float
    last_s: float
    votes: deque[tuple[float, str, float]] = field(default_factory=deque)  # time, label, weight
    frames_by_label: dict[str, int] = field(default_factory=dict)  # by the label that was shown
    label: str = ""
    changes: int = 0  # of the label that was shown

    def add(self, detection: MaskDetection, time_s: float, vote_s: float) -> MaskDetection:
        """Add a frame's detection; returns it with the track's number and the voted label."""
        self.box, self.last_s = detection.face, time_s
        self.votes.append((time_s, detection.label, detection.probability))
        while self.votes[0][0] < time_s - vote_s:
            self.votes.popleft()
        weights: dict[str, list[float]] = {}
        for _, vote, weight in self.votes:
            weights.setdefault(vote, []).append(weight)
        # Of equal sums, the label that is shown already.
        label = max(weights, key=lambda name: (sum(weights[name]), name == self.label))
        self.changes += bool(self.label) and label != self.label
        self.label = label
        self.frames_by_label[label] = self.frames_by_label.get(label, 0) + 1
        probability = sum(weights[label]) / len(weights[label])
        return replace(detection, label=label, probability=probability, track=self.number)

    def majority_label(self) -> tuple[str, int]:
        """The label of most of its frames, and their number."""
        return max(self.frames_by_label.items(), key=lambda item: item[1])


class Tracker:
    """Tracks the faces of a video; its frames come in order.

    Boxes are matched greedily: the most similar pair of a detection and a track first.
    """

    def __init__(self, memory_s: float = MEMORY_S, vote_s: float = VOTE_S):
        self._memory_s, self._vote_s = memory_s, vote_s
        self._count = 0
        self.current: list[Track] = []  # tracks that may go on
        self._ended: list[Track] = []

    def update(self, detections: Sequence[MaskDetection], time_s: float) -> list[MaskDetection]:
        """A frame's detections with the numbers and labels of their tracks, in the same order.

        time_s: seconds from the first frame. The label is voted by the track's last frames, each
        weighted with its probability; the probability is the mean of the frames that agree.
        """
        self._end_old_tracks(time_s)
        pairs = sorted(
            (-similarity, index, track_index)
            for index, detection in enumerate(detections)
            for track_index, track in enumerate(self.current)
            if (similarity := _similarity(detection.face, track.box)) > 0
        )
        matched: dict[int, int] = {}  # index of a detection: index of its track
        for _, index, track_index in pairs:
            if index not in matched and track_index not in matched.values():
                matched[index] = track_index
        tracked = []
        for index, detection in enumerate(detections):
            if index in matched:
                track = self.current[matched[index]]
            else:
                self._count += 1
                track = Track(self._count, detection.face, time_s, time_s)
                self.current.append(track)
            tracked.append(track.add(detection, time_s, self._vote_s))
        return tracked

    def take_ended(self) -> list[Track]:
        """The tracks that ended since the last call; they are forgotten then."""
        ended, self._ended = self._ended, []
        return ended

    def finish(self) -> list[Track]:
        """End all tracks; returns those that take_ended() has not returned yet."""
        self._ended += self.current
        self.current = []
        return self.take_ended()

    def _end_old_tracks(self, time_s: float) -> None:
        oldest_s = time_s - self._memory_s
        self._ended += [track for track in self.current if track.last_s < oldest_s]
        self.current = [track for track in self.current if track.last_s >= oldest_s]


def _similarity(box: FaceBox, other: FaceBox) -> float:
    """How likely two boxes show the same face a moment apart: 0 for not, up to 2 for equal boxes.

    Boxes that overlap enough score 1 + IoU; others score below 1, by the distance of their centres.
    """
    iou = box.iou(other)
    if iou >= MIN_IOU:
        return 1 + iou
    width = max(box.width, other.width)
    if min(box.width, other.width) < width / 2:
        return 0.0
    dx = (box.x1 + box.x2 - other.x1 - other.x2) / 2
    dy = (box.y1 + box.y2 - other.y1 - other.y2) / 2
    distance = (dx * dx + dy * dy) ** 0.5 / max(1, width)
    return 1 - distance if distance < MAX_CENTRE_DISTANCE else 0.0
