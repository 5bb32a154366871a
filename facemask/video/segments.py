"""Faces in the frames of a video without a look at each frame: those in between are interpolated.

The frames of a file come in segments. The face detector looks at the last frame of each. A face
that this and the last frame of the segment before show moves on a straight line from one to the
other. Where one of the two alone shows a face, the detector looks at the frame in the middle too,
and each half is treated in the same way, so that the face is there from its first frame to its
last. A face that the detector doubts, which is found in one frame and not in the next, is not worth
that: it is there in the nearer half of the frames. Only what comes and goes within a segment may be
missed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from facemask.geometry import FaceBox
from facemask.video.cuts import CutDetector
from facemask.video.decoder import TimedFrame
from facemask.video.tracker import match

# With these numbers the built-in detector looks at a quarter of the frames of four people who sit,
# and at half of those of a street, where many faces are small and come and go, and hardly a face is
# lost: benchmarks/interpolated_faces.py.
MAX_FRAMES = 4  # of a segment
MAX_S = 0.2  # from the last frame of a segment to the next one's: a tenth of a step
DOUBTFUL = 0.6  # faces of a lower confidence
MAX_BYTES = 64 * 2**20  # of a segment's images: two frames of 3840x2160 pixels

Found = Sequence[FaceBox] | Exception  # the faces of a frame, or why they could not be found


@dataclass(eq=False)
class Segment:
    """Consecutive frames of one scene."""

    frames: list[TimedFrame]
    # The time of the frame before the first one, in seconds, and its faces; None for a segment of
    # one frame, before which there is nothing to interpolate from.
    before: "tuple[float, Future[Found]] | None"
    last: "Future[Found]" = field(default_factory=Future)  # the faces of the last frame


def segments(frames: Iterable[TimedFrame], max_frames: int = MAX_FRAMES) -> Iterator[Segment]:
    """The frames in segments, which end early at a cut. Where the frames end by an error, those
    before it still come.

    max_frames: of each; with 1 the detector looks at every frame.
    """
    cuts, held = CutDetector(), list[TimedFrame]()
    before: tuple[float, Future[Found]] | None = None
    ended_by: Exception | None = None

    def take() -> Segment:
        nonlocal held, before
        segment = Segment(held, before)
        held, before = [], (held[-1][0], segment.last)
        return segment

    try:
        for time_s, image in frames:
            is_cut = max_frames == 1 or cuts.is_cut(image)
            is_late = before is not None and time_s - before[0] > MAX_S
            if held and (is_cut or is_late or (len(held) + 1) * image.nbytes > MAX_BYTES):
                yield take()
            before = None if is_cut else before
            held.append((time_s, image))
            if before is None or len(held) == max_frames:
                yield take()
    except Exception as error:
        ended_by = error
    if held:
        yield take()
    if ended_by:
        raise ended_by


def find_faces(segment: Segment, detect: Callable[[np.ndarray], Found]) -> list[Found]:
    """The faces of each frame of a segment; the segment before must be in work, or done.

    What detect raises is raised, by the segments that follow too.
    """
    try:
        segment.last.set_result(detect(segment.frames[-1][1]))
    except BaseException as error:
        segment.last.set_exception(error)
        raise
    if segment.before is None:
        return [segment.last.result()]
    before_s, before = segment.before
    times = [before_s, *(time_s for time_s, _ in segment.frames)]
    faces: dict[int, Found] = {0: before.result(), len(segment.frames): segment.last.result()}

    # Not by recursion: a function that calls itself would keep the frames until Python collects it.
    gaps = [(0, len(segment.frames))]
    while gaps:
        left, right = gaps.pop()
        if right - left < 2:
            continue
        between = interpolation(faces[left], faces[right])
        if between is None:
            middle = (left + right) // 2
            faces[middle] = detect(segment.frames[middle - 1][1])
            gaps += [(left, middle), (middle, right)]
            continue
        for index in range(left + 1, right):
            ratio = (times[index] - times[left]) / (times[right] - times[left])
            faces[index] = between(round(ratio, 3))
    return [faces[index] for index in range(1, len(times))]


def interpolation(before: Found, after: Found) -> Callable[[float], list[FaceBox]] | None:
    """The faces at a ratio (0 to 1) of the time between two frames, the highest-scoring first.

    None where that is not known, since one of the frames alone shows a face that is not doubtful.
    """
    if isinstance(before, Exception) or isinstance(after, Exception):
        return None
    matched = match(after, before)
    gone = [face for index, face in enumerate(before) if index not in matched.values()]
    new = [face for index, face in enumerate(after) if index not in matched]
    if any(face.confidence >= DOUBTFUL for face in gone + new):
        return None

    def faces(ratio: float) -> list[FaceBox]:
        moved = [before[first].towards(after[index], ratio) for index, first in matched.items()]
        moved += gone if ratio < 0.5 else new
        return sorted(moved, key=lambda face: face.confidence, reverse=True)

    return faces
