"""When a tracked face is classified: in the frames that have something to tell.

A face keeps its class for seconds, and the classifier takes some milliseconds for each face. So in
most frames a track repeats its last answer.
"""

import math
from collections import deque
from collections.abc import Sequence

from facemask.detect.types import MaskDetection
from facemask.geometry import FaceBox

# benchmarks/label_changes.py compares the labels with those of faces classified in every frame.
# With these numbers, fewer than 1 % of the faces in each row of its table have another label.
# They were chosen on the same clips; begun at other frames, a row of short clips had up to 2.4 %.
INTERVAL_S = 0.5  # between two answers, once they are sure
# Answers are sure when so many in a row give one label, with this probability each.
SURE_ANSWERS = 3
SURE_PROBABILITY = 0.8
# A face has changed when its box overlaps that of the last answer by less than this IoU. So it is
# where the box jumps, or grows by a third: (3/4)^2 is 0.56.
MIN_IOU = 0.6
# Or when the detector's confidence is lower by this: a hand or a mask comes before the face.
CONFIDENCE_DROP = 0.1


class Answers:
    """What the classifier said about a track's face; times are seconds from the first frame."""

    def __init__(self) -> None:
        self._last: deque[MaskDetection] = deque(maxlen=SURE_ANSWERS)
        self.last_s = -math.inf  # the time of the last answer

    @property
    def last(self) -> MaskDetection:
        """The last answer. Raises IndexError where there is none."""
        return self._last[-1]

    def add(self, answer: MaskDetection, time_s: float) -> float:
        """Add a frame's answer; returns the time from which on its label holds.

        When the label has changed, this is the middle of the time since the answer before: on
        average, half of the frames between the two show the face as it is now.
        """
        changed = bool(self._last) and answer.label != self.last.label
        since_s = (self.last_s + time_s) / 2 if changed else time_s
        self._last.append(answer)
        self.last_s = time_s
        return since_s

    def are_sure_of(self, face: FaceBox) -> bool:
        """Whether they agree, and the face, in the present frame, looks as in the last answer."""
        return (
            len(self._last) == SURE_ANSWERS
            and all(answer.label == self.last.label for answer in self._last)
            and all(answer.probability >= SURE_PROBABILITY for answer in self._last)
            and self.last.face.iou(face) >= MIN_IOU
            and face.confidence >= self.last.face.confidence - CONFIDENCE_DROP
        )


class Schedule:
    """Chooses the faces of each frame that are classified; the frames come in order."""

    def __init__(self) -> None:
        self._last_s = 0.0  # the time of the last frame

    def due(self, faces: Sequence[FaceBox], answers: Sequence[Answers], time_s: float) -> list[int]:
        """The indices of a frame's faces to classify, ascending; answers: those of their tracks.

        A face whose answers are not sure is classified at once. Of those that wait for INTERVAL_S,
        the longest waiting come first, and only as many as keep the pace: faces that came into view
        together would otherwise all be classified in the same frames.
        """
        pace = math.ceil(len(faces) * (time_s - self._last_s) / INTERVAL_S)
        self._last_s = time_s
        unsure, waiting = [], []
        for index, (face, known) in enumerate(zip(faces, answers, strict=True)):
            if not known.are_sure_of(face):
                unsure.append(index)
            elif time_s - known.last_s >= INTERVAL_S:
                waiting.append(index)
        waiting.sort(key=lambda index: answers[index].last_s)
        return sorted(unsure + waiting[:pace])
