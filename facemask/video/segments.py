"""Faces in the frames of a video without a look at each frame: those in between are interpolated.

The frames of a file come in segments. The face detector looks at the last frame of each. Where that
shows the same faces as the last frame of the segment before, they move on straight lines from one
to the other. Otherwise the detector looks at the frame in the middle too, and each half is treated
in the same way, so that a face that comes or goes is there from its first frame to its last. Only
what comes and goes within a segment may be missed.
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
# and at 60 % of those of a street, where small faces are found in one frame and not in the next.
# There it finds 99.6 % of the faces that it finds in all frames, and 0.1 % others.
MAX_FRAMES = 4  # of a segment
MAX_S = 0.2  # from the last frame of a segment to the next one's: a tenth of a step
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
    found: dict[int, Found] = {0: before.result(), len(segment.frames): segment.last.result()}

    def fill(left: int, right: int) -> None:
        if right - left < 2:
            return
        pairs = same_faces(found[left], found[right])
        if pairs is None:
            middle = (left + right) // 2
            found[middle] = detect(segment.frames[middle - 1][1])
            fill(left, middle)
            fill(middle, right)
            return
        for index in range(left + 1, right):
            ratio = (times[index] - times[left]) / (times[right] - times[left])
            found[index] = [first.towards(second, ratio) for first, second in pairs]

    fill(0, len(segment.frames))
    return [found[index] for index in range(1, len(times))]


def same_faces(before: Found, after: Found) -> list[tuple[FaceBox, FaceBox]] | None:
    """The pairs of boxes of each face in two frames, or None where they show different faces."""
    if isinstance(before, Exception) or isinstance(after, Exception) or len(before) != len(after):
        return None
    matched = match(after, before)
    if len(matched) < len(after):
        return None
    return [(before[matched[index]], face) for index, face in enumerate(after)]
