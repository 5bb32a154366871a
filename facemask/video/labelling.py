"""Frames with the labels of their faces, computed ahead where the source can wait."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import numpy as np

from facemask.detect.types import MaskDetection
from facemask.errors import FacemaskError
from facemask.threads import in_order, one_thread_per_image, read_ahead
from facemask.timings import Timings
from facemask.video.sources import Source, TimedFrame

READ_AHEAD = 2  # frames: enough that no thread waits for the decoder


@dataclass(frozen=True)
class LabelledFrame:
    """A frame with its faces, or with what went wrong while they were found and labelled."""

    time_s: float  # seconds from the first frame
    image: np.ndarray  # (H, W, 3) uint8, BGR
    detections: Sequence[MaskDetection] = ()
    problem: Exception | None = None


@contextmanager
def labelled_frames(
    source: Source, label: Callable[[np.ndarray], list[MaskDetection]], timings: Timings
) -> Iterator[Iterator[LabelledFrame]]:
    """A context manager that gives an iterator over the frames of a source and their faces.

    Frames of a file are read and labelled by threads while earlier frames are written and shown.
    A frame of a live source is labelled only when it is asked for: of a camera the newest frame
    matters, and frames computed ahead would be old when shown.

    label: finds and labels the faces of a frame (H, W, 3) uint8, BGR; called by several threads.
    Where it raises anything else than a FacemaskError, that is the frame's problem alone.
    timings: what the stage "read" is added to.
    The iterator raises what the source raises, and FacemaskErrors of `label`. No thread is left
    when the block ends.
    """

    def label_frame(timed: TimedFrame) -> LabelledFrame:
        time_s, image = timed
        try:
            return LabelledFrame(time_s, image, label(image))
        except FacemaskError:
            raise
        except Exception as problem:
            return LabelledFrame(time_s, image, problem=problem)

    with ExitStack() as stack:
        workers = stack.enter_context(one_thread_per_image(wanted=not source.live))
        frames = timings.taking("read", source.frames())
        if workers > 1:
            frames = stack.enter_context(closing(read_ahead(frames, READ_AHEAD)))
        yield stack.enter_context(closing(in_order(label_frame, frames, workers, workers + 2)))
