"""A tracker: follows faces from frame to frame, so that each has a number and a steady label."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from facemask.detect.types import MaskDetection
from facemask.geometry import FaceBox, as_array, ious
from facemask.video.schedule import Answers, Schedule

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
    answers: Answers = field(default_factory=Answers)
    votes: deque[tuple[float, str, float]] = field(default_factory=deque)  # time, label, weight
    frames_by_label: dict[str, int] = field(default_factory=dict)  # by the label that was shown
    label: str = ""
    changes: int = 0  # of the label that was shown

    def add(self, answer: MaskDetection, time_s: float, vote_s: float) -> MaskDetection:
        """Add a frame whose face was classified; returns what repeat returns."""
        since_s = self.answers.add(answer, time_s)
        changed = answer.label, answer.probability
        self.votes = deque(
            (vote[0], *changed) if vote[0] > since_s else vote for vote in self.votes
        )
        return self.repeat(answer.face, time_s, vote_s)

    def repeat(self, face: FaceBox, time_s: float, vote_s: float) -> MaskDetection:
        """Add a frame for which the last answer votes.

        Returns the face with the track's number and the voted label.
        """
        last = self.answers.last
        self.box, self.last_s = face, time_s
        self.votes.append((time_s, last.label, last.probability))
        while self.votes[0][0] < time_s - vote_s:
            self.votes.popleft()
        labels = dict.fromkeys(vote for _, vote, _ in self.votes)
        weights = {name: [w for _, vote, w in self.votes if vote == name] for name in labels}
        # Of equal sums, the label that is shown already.
        label = max(weights, key=lambda name: (sum(weights[name]), name == self.label))
        self.changes += bool(self.label) and label != self.label
        self.label = label
        self.frames_by_label[label] = self.frames_by_label.get(label, 0) + 1
        probability = sum(weights[label]) / len(weights[label])
        return MaskDetection(face, label, probability, self.number)

    def majority_label(self) -> tuple[str, int]:
        """The label of most of its frames, and their number."""
        return max(self.frames_by_label.items(), key=lambda item: item[1])


class Tracker:
    """Tracks the faces of a video; its frames come in order."""

    def __init__(self, memory_s: float = MEMORY_S, vote_s: float = VOTE_S):
        self._memory_s, self._vote_s = memory_s, vote_s
        self._schedule = Schedule()
        self._count = 0
        self.current: list[Track] = []  # tracks that may go on
        self._ended: list[Track] = []

    def update(self, detections: Sequence[MaskDetection], time_s: float) -> list[MaskDetection]:
        """A frame's detections with the numbers and labels of their tracks, in the same order.

        time_s: seconds from the first frame. The label is voted by the track's last frames, each
        weighted with its probability; the probability is the mean of the frames that agree.
        """
        tracks = self._match([detection.face for detection in detections], time_s)
        return self._add(tracks, detections, time_s)

    def label(
        self,
        faces: Sequence[FaceBox],
        time_s: float,
        classify: Callable[[Sequence[FaceBox]], Sequence[MaskDetection]],
    ) -> list[MaskDetection]:
        """As update, for faces that are not classified yet: only those that are due will be.

        classify: gives faces of this frame with their classes, in the same order. What it raises is
        raised; no face of this frame is then added, and tracks that are too old end all the same.
        """
        tracks = self._match(faces, time_s)
        due = self._schedule.due(faces, [track.answers for track in tracks], time_s)
        answers = dict(zip(due, classify([faces[index] for index in due]), strict=True))
        return self._add(tracks, [answers.get(i, face) for i, face in enumerate(faces)], time_s)

    def _match(self, faces: Sequence[FaceBox], time_s: float) -> list[Track]:
        """The track that each face of a frame continues, or a new one."""
        self._end_tracks(before_s=time_s - self._memory_s)
        matched = match(faces, [track.box for track in self.current])
        numbers = count(self._count + 1)
        return [
            self.current[matched[index]]
            if index in matched
            else Track(next(numbers), face, time_s, time_s)
            for index, face in enumerate(faces)
        ]

    def _add(
        self, tracks: Sequence[Track], items: Sequence[MaskDetection | FaceBox], time_s: float
    ) -> list[MaskDetection]:
        """Add a frame to the tracks of its faces: each face alone, or with its classes."""
        new = [track for track in tracks if track.number > self._count]
        self._count += len(new)
        self.current += new
        return [
            track.repeat(item, time_s, self._vote_s)
            if isinstance(item, FaceBox)
            else track.add(item, time_s, self._vote_s)
            for track, item in zip(tracks, items, strict=True)
        ]

    def take_ended(self) -> list[Track]:
        """The tracks that ended since the last call; they are forgotten then."""
        ended, self._ended = self._ended, []
        return ended

    def finish(self) -> list[Track]:
        """End all tracks, at a cut or at the end of the video.

        Returns those that take_ended() has not returned yet. The numbers go on.
        """
        self._end_tracks(before_s=math.inf)
        return self.take_ended()

    def _end_tracks(self, before_s: float) -> None:
        """End the tracks whose face was last found before that time."""
        self._ended += [track for track in self.current if track.last_s < before_s]
        self.current = [track for track in self.current if track.last_s >= before_s]


def match(faces: Sequence[FaceBox], others: Sequence[FaceBox]) -> dict[int, int]:
    """Pairs of boxes that show the same face a moment apart: index of a face, index of the other.

    They are matched greedily: the most similar pair first.
    """
    similarities = _similarities(as_array(faces), as_array(others))
    pairs = sorted(
        (-similarities[index, other], index, other)
        for index, other in np.argwhere(similarities > 0).tolist()
    )
    matched: dict[int, int] = {}
    for _, index, other in pairs:
        if index not in matched and other not in matched.values():
            matched[index] = other
    return matched


def _similarities(faces: np.ndarray, tracks: np.ndarray) -> np.ndarray:
    """How likely boxes (N, 4) and (M, 4) show the same face a moment apart: (N, M) float64.

    0 is for different faces, 2 for equal boxes. Boxes that overlap enough score 1 + IoU; others
    score below 1, by the distance of their centres.
    """
    faces, tracks = faces[:, None], tracks[None]
    overlaps = ious(faces, tracks)
    widths = faces[..., 2] - faces[..., 0], tracks[..., 2] - tracks[..., 0]
    wider = np.maximum(*widths)
    offsets = (faces[..., :2] + faces[..., 2:] - tracks[..., :2] - tracks[..., 2:]) / 2
    distances = np.hypot(offsets[..., 0], offsets[..., 1]) / np.maximum(1, wider)
    near = (distances < MAX_CENTRE_DISTANCE) & (2 * np.minimum(*widths) >= wider)
    return np.where(overlaps >= MIN_IOU, 1 + overlaps, np.where(near, 1 - distances, 0.0))
