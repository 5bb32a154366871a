"""Decoding a video file: its frames, upright, at the times that it states, past damaged places."""

import math
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from facemask.errors import FacemaskError
from facemask.images import MAX_PIXELS
from facemask.media import open_media
from facemask.video.sound import Sound

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

TimedFrame = tuple[float, np.ndarray]  # seconds from the first frame; (H, W, 3) uint8, BGR
Log = Callable[[str], None]

# For sources that state no frame rate, or an impossible one (0, or the time base of a stream).
DEFAULT_FPS = 25.0
MAX_FPS = 1000.0
# A longer time between two frames of a file is a fault of its timestamps, as FFmpeg assumes too
# (its option dts_delta_threshold): the next frame comes one frame interval after the last then.
MAX_STEP_S = 10.0
# A file is truncated if it ends before this ratio of the length that its header states. Some
# headers hold an estimate.
LEAST_LENGTH = 0.95
# Matroska states the length of a stream in a tag, as hours:minutes:seconds.
TAGGED_LENGTH = re.compile(r"(\d+):(\d+):(\d+\.?\d*)")


def possible_fps(stated: float) -> float:
    """The frame rate that a source states, or DEFAULT_FPS where that is none."""
    return stated if math.isfinite(stated) and 0 < stated <= MAX_FPS else DEFAULT_FPS


class VideoFile:
    """The best video stream of a file, by FFmpeg's choice where there are several."""

    def __init__(self, name: str, path: Path, log: Log):
        """name: what messages call the file. log: takes a line for each damage that is found.

        Raises FacemaskError for a file that can't be read as a video.
        """
        self._name, self._path, self._log = name, path, log
        self._sound: Sound | None = None
        self._sound_file = ExitStack()  # kept open, for the form of the sound
        with self._opened() as (_, stream):
            # The average may be the number of ticks a second of the file's clock, as in AVI.
            rates = [float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
            self.fps = possible_fps(min(rates, default=0.0))

    def keep_sound(self) -> Sound | None:
        """Collect the sound that belongs to the pictures while they are read from now on.

        Returns where it is collected, until close(); None for a file without sound.
        """
        container, stream = self._sound_file.enter_context(self._opened())
        audio = container.streams.best("audio", related=stream)
        if audio:
            self._sound = Sound(cast("AudioStream", audio))
        return self._sound

    def close(self) -> None:
        self._sound_file.close()

    def frames(self, every: int = 1, start_s: float = 0.0) -> Iterator[TimedFrame]:
        """Each `every`-th frame; the first one is at start_s seconds.

        After the last one, damage that was found is logged.
        """
        from av.error import FFmpegError

        interval_s = 1 / self.fps
        count = packets = damaged = 0  # count: of frames
        time_s, stamp_s = start_s, 0.0  # of the frame: as it is given, and as the file states it
        step_s = 0.0
        with self._opened() as (container, stream):
            streams = (
                [stream, container.streams[self._sound.stream.index]] if self._sound else [stream]
            )
            for packet in container.demux(streams):
                if self._sound and packet.stream.index != stream.index:
                    self._sound.add(packet)
                    continue
                packets += packet.size > 0  # the last one is empty: it ends the decoding
                try:
                    for frame in stream.decode(packet):
                        step_s = interval_s if frame.time is None else frame.time - stamp_s
                        stamp_s += step_s
                        if count:
                            possible = 0 < step_s <= max(MAX_STEP_S, 2 * interval_s)
                            time_s += step_s if possible else interval_s
                        if self._sound:
                            self._sound.place(time_s, stamp_s)
                        if count % every == 0:
                            # On several threads the conversion takes three times the processor
                            # time, which the networks need.
                            image = frame.to_ndarray(format="bgr24", threads=1)
                            image = np.rot90(image, frame.rotation // 90)
                            yield time_s, np.ascontiguousarray(image)
                        count += 1
                except FFmpegError:
                    damaged += 1
            if self._sound:
                self._sound.place(time_s, stamp_s)
            if damaged:
                self._log(
                    f"{self._name}: left out what can't be decoded, {damaged} of {packets} packets"
                )
            if count:
                end_s = stamp_s + max(interval_s, step_s)
                self._check_length(container, stream, packets, end_s)

    def _check_length(
        self, container: "InputContainer", stream: "VideoStream", packets: int, end_s: float
    ) -> None:
        """Log that the file is truncated, if its header states more frames and a later end.

        packets: one for each frame, also for those that are not to be shown. end_s: by the file's
        own clock, which may begin later than 0.
        """
        by_frames_s = float(stream.frames / (stream.average_rate or self.fps))
        # Of all streams, microseconds. Sound may last longer than the pictures.
        length_s = (container.duration or 0) / 1e6
        if tag := TAGGED_LENGTH.match(stream.metadata.get("DURATION", "")):
            hours, minutes, seconds = map(float, tag.groups())
            length_s = 3600 * hours + 60 * minutes + seconds
        stated_s = max(by_frames_s, length_s)
        fewer = packets < LEAST_LENGTH * (stream.frames or math.inf)
        if fewer and end_s < LEAST_LENGTH * stated_s:
            length = f"{end_s:.1f} of the {stated_s:.1f} seconds"
            self._log(f"{self._name}: ended after {length} it should have")

    @contextmanager
    def _opened(self) -> "Iterator[tuple[InputContainer, VideoStream]]":
        """The open file and its video stream. FFmpegErrors of the block become FacemaskErrors."""
        import av
        from av.error import FFmpegError

        try:
            with open_media(self._path) as container:
                stream = container.streams.best("video")
                if not isinstance(stream, av.VideoStream):
                    kinds = " and ".join(sorted({each.type for each in container.streams}))
                    raise FacemaskError(f"{self._name}: expected a video, found only {kinds}")
                if stream.codec_context is None:
                    raise FacemaskError(f"{self._name}: its codec is unknown to FFmpeg")
                if stream.width * stream.height > MAX_PIXELS:
                    raise FacemaskError(
                        f"{self._name}: expected at most {MAX_PIXELS / 1e6:g} megapixels, found"
                        f" {stream.width}x{stream.height} pixels"
                    )
                stream.thread_type = "AUTO"  # several frames at once, as players do
                yield container, stream
        except FFmpegError as error:
            raise FacemaskError(
                f"{self._name}: can't be read; expected a complete video file"
                f" ({error.strerror or type(error).__name__})"
            ) from error
