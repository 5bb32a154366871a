"""Hiding faces in a video, also in the frames in which they are not found."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from facemask.geometry import FaceBox
from facemask.output.blurring import blur_faces
from facemask.video.labelling import LabelledFrame
from facemask.video.tracker import Tracker

# A face is often found a little late. In a street scene another detector found 237 faces. Of these
# 34 were to be seen where only the faces of the same frame were blurred, 15 with those that were
# there before, and 12 with those that come next. Looking further ahead hid no more.
LOOK_AHEAD_S = 0.2
MAX_HELD = 12  # frames, whatever their rate: 75 MB of 1920x1080 pixels
# A face that is not found may have moved: its box grows on each side by this ratio a second.
GROWTH = 0.5


@dataclass
class _HeldFrame:
    """A frame that waits for what the next ones show."""

    labelled: LabelledFrame
    tracks: set[int]  # those whose face is found in this frame
    regions: list[FaceBox]  # what is hidden

    def hidden(self) -> LabelledFrame:
        """The frame with a copy of its image in which the faces are blurred.

        Where finding the faces failed, all of the image is.
        """
        image = self.labelled.image.copy()
        whole = FaceBox(0, 0, image.shape[1], image.shape[0], confidence=1.0)
        blur_faces(image, [whole] if self.labelled.problem else self.regions)
        return replace(self.labelled, blurred=image)


def hide_faces(
    frames: Iterable[LabelledFrame], photographs: bool = False
) -> Iterator[LabelledFrame]:
    """The frames, each with a copy of its image in which all faces are blurred.

    A face is blurred from LOOK_AHEAD_S before it is first found to tracker.MEMORY_S after it was
    last found. Each frame comes as much later. Where the frames end by an error, those held back
    come before it.
    photographs: the frames are pictures by themselves, each with its own faces.
    """
    tracker, held = Tracker(), deque[_HeldFrame]()
    ended_by: Exception | None = None
    try:
        for labelled in frames:
            if photographs:
                yield _HeldFrame(labelled, set(), [d.face for d in labelled.detections]).hidden()
                continue
            now = labelled.time_s
            detections = tracker.update(labelled.detections, now)
            for detection in detections:
                for frame in held:
                    if detection.track not in frame.tracks:
                        frame.regions.append(_grown(detection.face, now - frame.labelled.time_s))
            regions = [_grown(track.box, now - track.last_s) for track in tracker.current]
            held.append(_HeldFrame(labelled, {d.track for d in detections if d.track}, regions))
            while len(held) > MAX_HELD or held[0].labelled.time_s <= now - LOOK_AHEAD_S:
                yield held.popleft().hidden()
            tracker.take_ended()
    except Exception as error:
        ended_by = error
    for frame in held:
        yield frame.hidden()
    if ended_by:
        raise ended_by


def _grown(face: FaceBox, seconds: float) -> FaceBox:
    return face.expand(GROWTH * abs(seconds))
