"""Frames with the labels of their faces, computed ahead where the source can wait."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, starmap
from typing import TypeVar, TypeVarTuple

import numpy as np

from facemask.detect.pipeline import check_uncertain, classify_faces
from facemask.detect.pool import Networks
from facemask.detect.types import MaskDetection
from facemask.errors import FacemaskError
from facemask.geometry import FaceBox
from facemask.threads import in_order, one_thread_per_image, read_ahead
from facemask.timings import Timings
from facemask.video.segments import MAX_FRAMES, Segment, find_faces, segments
from facemask.video.sources import Source, TimedFrame
from facemask.video.track_log import TrackLog

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

READ_AHEAD = 2  # frames: enough that no thread waits for the decoder

# The second half of the work on a frame, done in the order of the frames: from its time, in seconds
# from the first frame, to its faces.
Finish = Callable[[float], Sequence[MaskDetection]]


class FaceLabeller:
    """Finds the faces of frames, on several threads, and labels them in the order of the frames."""

    def __init__(
        self,
        networks: Networks,
        track_log: TrackLog | None,
        confidence: float,
        uncertain: float,
        timings: Timings,
    ):
        """track_log: None where nothing is tracked. For the others, and for what is raised, see
        pipeline.detect_masks.
        """
        self._networks, self._track_log, self._timings = networks, track_log, timings
        self._confidence, self._uncertain = confidence, uncertain
        with networks.classifier() as classifier:
            check_uncertain(classifier, uncertain)

    def find(self, image: np.ndarray) -> Sequence[FaceBox]:
        """The faces of an image (H, W, 3) uint8, BGR."""
        with self._networks.detector() as detector, self._timings.stage("detect"):
            return detector.detect(image, self._confidence)

    def in_every_frame(self, image: np.ndarray, faces: Sequence[FaceBox]) -> Finish:
        """Classify all faces of an image (H, W, 3) uint8, BGR."""
        detections = self._classify(image, faces)

        def finish(time_s: float) -> Sequence[MaskDetection]:
            if self._track_log is None:
                return detections
            with self._timings.stage("track"):
                return self._track_log.update(detections, image, time_s)

        return finish

    def by_track(self, image: np.ndarray, faces: Sequence[FaceBox]) -> Finish:
        """Classify the faces of an image (H, W, 3) uint8, BGR, that have something to tell.

        See video.schedule. There must be a track log, not of photographs.
        """
        track_log = self._track_log
        assert track_log

        def finish(time_s: float) -> Sequence[MaskDetection]:
            with self._timings.stage("track"):
                return track_log.label(faces, image, time_s, self._classify)

        return finish

    def _classify(self, image: np.ndarray, faces: Sequence[FaceBox]) -> list[MaskDetection]:
        with self._networks.classifier() as classifier:
            return classify_faces(image, faces, classifier, self._uncertain, self._timings)


@dataclass(frozen=True)
class LabelledFrame:
    """A frame with its faces, or with what went wrong while they were found and labelled."""

    time_s: float  # seconds from the first frame
    image: np.ndarray  # (H, W, 3) uint8, BGR
    detections: Sequence[MaskDetection] = ()
    problem: Exception | None = None
    blurred: np.ndarray | None = None  # a copy of the image without faces; see hiding.hide_faces

    @property
    def shown(self) -> np.ndarray:
        """The image that people see: the blurred copy, where there is one."""
        return self.image if self.blurred is None else self.blurred


@contextmanager
def labelled_frames(
    source: Source,
    labeller: FaceLabeller,
    label: Callable[[np.ndarray, Sequence[FaceBox]], Finish],
    timings: Timings,
    detect_every_frame: bool = False,
) -> Iterator[Iterator[LabelledFrame]]:
    """A context manager that gives an iterator over the frames of a source and their faces.

    Frames of a file are read, and their faces found, by threads while earlier frames are written
    and shown. This is done with a frame of a live source only when it is asked for: of a camera the
    newest frame matters, and frames computed ahead would be old when shown.

    label: in_every_frame or by_track of the labeller. Where the labeller raises anything else than
    a FacemaskError, that is the problem of the frame alone. timings: what the stage "read" is added
    to. detect_every_frame: otherwise the faces in some frames of a video file are interpolated, see
    video.segments.
    The iterator raises what the source raises, and FacemaskErrors of the labeller. No thread is
    left when the block ends.
    """

    def find_and_label(segment: Segment) -> list[tuple[TimedFrame, Finish | Exception]]:
        of_frames = find_faces(segment, partial(_outcome, labeller.find))
        return [
            (frame, faces if isinstance(faces, Exception) else _outcome(label, frame[1], faces))
            for frame, faces in zip(segment.frames, of_frames, strict=True)
        ]

    def finished(timed: TimedFrame, finish: Finish | Exception) -> LabelledFrame:
        time_s, image = timed
        faces = finish if isinstance(finish, Exception) else _outcome(finish, time_s)
        if isinstance(faces, Exception):
            return LabelledFrame(time_s, image, problem=faces)
        return LabelledFrame(time_s, image, faces)

    every_frame = detect_every_frame or source.live or source.photographs
    with ExitStack() as stack:
        workers = stack.enter_context(one_thread_per_image(wanted=not source.live))
        frames = timings.taking("read", source.frames())
        if workers > 1:
            frames = stack.enter_context(closing(read_ahead(frames, READ_AHEAD)))
        parts = segments(frames, 1 if every_frame else MAX_FRAMES)
        done = in_order(find_and_label, parts, workers, workers + 1 + every_frame)
        done = stack.enter_context(closing(done))
        yield starmap(finished, chain.from_iterable(done))


def _outcome(step: Callable[[*Ts], R], *arguments: *Ts) -> R | Exception:
    """What a step returns, or the exception that it raises; raises FacemaskErrors."""
    try:
        return step(*arguments)
    except FacemaskError:
        raise
    except Exception as problem:
        return problem
