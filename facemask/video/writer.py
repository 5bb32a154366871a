"""Writing annotated video: files that play, also after a full disk or a killed process."""

import math
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Self

import cv2
import numpy as np

from facemask.errors import FacemaskError
from facemask.files import beside, replacing
from facemask.media import open_media
from facemask.video.decoder import Log
from facemask.video.sound import Sound
from facemask.video.sources import Source

if TYPE_CHECKING:
    from av import VideoFrame
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.error import FFmpegError
    from av.video.frame import PictureType

ENCODER_THREADS = 1  # the networks use all cores at the same time

# FFmpeg's numbers for the conversion from RGB to YUV that OpenCV does. They are stored in the
# file, because players assume another conversion (BT.709) for large pictures.
BT601 = 6
LIMITED_RANGE = 1

# VP8 needs a limit for its bits. With very few it leaves frames out.
VP8_BITS_PER_PIXEL = 0.25
MIN_BIT_RATE = 100_000  # bits a second

# A frame is shown from its own time on, since cameras and phones do not keep the rate that they
# state. Times are in steps, so many for a frame at that rate, and none longer than a millisecond.
STEPS_PER_FRAME, LONGEST_STEP_S = 64, Fraction(1, 1000)
# AVI has no times: frames are repeated until their time comes, and left out where the video would
# be ahead by more than this. A phone's frames come now faster, now slower, and none should be
# missing.
MAX_AVI_LEAD_S = 0.5
# At least one key frame in so many seconds: what a killed process leaves ends at one. They are
# asked for by time, and the encoder's own count of frames is to bring no more.
KEY_FRAME_S, MOST_BETWEEN_KEY_FRAMES = 1.0, 600

# Frame rates are stored as fractions. MPEG-4 in AVI takes no larger numerator; the denominator
# 1001 is that of the television rates, such as 30000/1001.
MAX_NUMERATOR = 65535
MAX_DENOMINATOR = 1001

# The encoder and the container of a file by its suffix, all by FFmpeg's names.
CODECS = {
    ".mp4": ("libx264", "mp4"),
    ".m4v": ("libx264", "mp4"),
    ".mov": ("libx264", "mov"),
    ".mkv": ("libx264", "matroska"),
    ".avi": ("mpeg4", "avi"),
    ".webm": ("libvpx", "webm"),
}
ENCODER_OPTIONS = {
    # Without B-frames encoding takes a third less time for 5 % more bytes, and the time of the
    # first frame is 0 also in fragments.
    "libx264": {"preset": "veryfast", "crf": "23", "bf": "0"},
    "mpeg4": {"qmin": "4", "qmax": "4"},
    "libvpx": {"deadline": "realtime", "cpu-used": "12", "lag-in-frames": "0", "crf": "10"},
}
# A fragment starts at each key frame, so that whatever reached the disk plays. At the end the
# fragments become one ordinary file, in which players can seek faster.
_MOV = {"movflags": "frag_keyframe+empty_moov+default_base_moof+hybrid_fragmented"}
_MATROSKA = {"cluster_time_limit": "1000"}  # ms
CONTAINER_OPTIONS = {"mp4": _MOV, "mov": _MOV, "matroska": _MATROSKA, "webm": _MATROSKA, "avi": {}}
# Pictures wait for the sound of their time in memory, where a killed process loses them; but never
# for longer than a second, which is in microseconds here.
ALL_CONTAINERS = {"flush_packets": "1", "max_interleave_delta": "1000000"}
# Transport streams have AAC in another form, which Matroska alone converts by itself.
MAX_AVI_GAP_S = 0.1  # after each silence all sound would be early by its length
NEED_AAC_HEADER = ("mp4", "mov", "avi")


def open_writer(path: Path, source: Source, log: Log) -> "VideoWriter":
    """A writer for the frames of a source, and its sound; see VideoWriter."""
    return VideoWriter(path, source.fps, source.keep_sound(), log)


class VideoWriter:
    """Writes frames to a file that is finished, and playable, however the run ends.

    A context manager. Until it closes, the video grows in a hidden file in the same folder. When
    the disk is full, what was written until then is kept under the final name. When the process
    is killed, it stays in the hidden file, and plays except for the last second or two.
    """

    def __init__(
        self,
        path: Path,
        fps: float,
        sound: Sound | None = None,
        log: Log = lambda line: None,
    ):
        """path: its suffix is one of CODECS; fps: frames a second of the video, above 0.

        sound: what to copy into the video, as far as there are pictures. log: takes a line where
        the container has no place for this kind of sound; the video is written without it then.
        """
        self._path, self._temporary = path, beside(path)
        self._encoder, self._container = CODECS[path.suffix.lower()]
        self._rate = frame_rate(fps)
        self._output: OutputContainer | None = None  # from the first frame on
        self._sound, self._log = sound, log
        self._sound_stream: AudioStream | None = None
        self._size = (0, 0)  # width, height, pixels
        per_frame = max(STEPS_PER_FRAME, math.ceil(1 / self._rate / LONGEST_STEP_S))
        self._steps_per_frame = 1 if self._container == "avi" else per_frame
        self._step_s = 1 / self._rate / self._steps_per_frame
        self._next = 0  # the first time that is free, in steps
        self._end_s = 0.0  # of the last picture
        self._key_s = -KEY_FRAME_S  # the time of the last key frame that was asked for
        self._closed = False

    def write(self, frame: np.ndarray, time_s: float) -> None:
        """Add a frame (H, W, 3) uint8, BGR; one of another size is stretched to the first's.

        time_s: seconds from the first frame, from which the frame is shown; in AVI, see
        MAX_AVI_LEAD_S.
        An odd width or height grows by a pixel, because colours are stored for 2 x 2 pixels.
        Raises FacemaskError when the file can't be written; it is closed then.
        """
        from av import VideoFrame
        from av.error import FFmpegError

        if self._closed:
            raise ValueError(f"{self._path}: write() after close()")
        try:
            if self._output is None:
                self._size = frame.shape[1], frame.shape[0]
                self._open()
            picture = VideoFrame.from_ndarray(to_yuv(frame, self._size), format="yuv420p")
            picture.time_base = self._step_s
            for step in self._steps(time_s):
                picture.pts, picture.duration = step, self._steps_per_frame
                picture.pict_type = self._kind(float(step * self._step_s))
                self._encode(picture)
                self._next, self._end_s = step + 1, float(step * self._step_s + 1 / self._rate)
                self._copy_sound()
        except FFmpegError as error:
            # On a full disk the end of the file fails as well; one error is enough.
            with suppress(FacemaskError):
                self.close()
            raise self._unwritable(error) from error

    def _steps(self, time_s: float) -> Sequence[int]:
        """The times at which a frame is written, in steps; see write."""
        step = max(self._next, round(time_s / self._step_s))
        if self._container != "avi":
            return [step]
        return range(self._next, step + 1) if step * self._step_s <= time_s + MAX_AVI_LEAD_S else []

    def _kind(self, time_s: float) -> "PictureType":
        """Whether the encoder must make a key frame of the picture at this time, or may choose."""
        from av.video.frame import PictureType

        if time_s < self._key_s + KEY_FRAME_S:
            return PictureType.NONE
        self._key_s = time_s
        return PictureType.I

    def close(self) -> None:
        """Finish the file and give it its final name.

        Raises FacemaskError when its end can't be written; what there is of the video is kept
        under the final name all the same, if it plays.
        """
        from av.error import FFmpegError

        was_closed, self._closed = self._closed, True
        if was_closed or self._output is None:
            return
        try:
            with self._output:
                self._encode(None)
                self._copy_sound()
        except FFmpegError as error:
            raise self._unwritable(error) from error
        finally:
            playable = plays(self._temporary)
            if playable:
                with replacing(self._path):
                    pass  # the file that replacing() renames is the one that was written
            else:
                with suppress(OSError):
                    self._temporary.unlink()
        if not playable:
            raise FacemaskError(f"{self._path}: the video could not be written to its end")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.close()
        except FacemaskError:
            if kind is None:  # otherwise the exception that ended the block is the one to raise
                raise

    def _open(self) -> None:
        """Create the file: for pictures and, where the container has a place for it, sound."""
        from av.error import FFmpegError

        if self._sound:
            self._output = self._open_encoder()
            try:
                if self._container in NEED_AAC_HEADER and self._sound.is_aac_without_header:
                    raise ValueError("needs a bit stream filter")
                self._sound_stream = self._output.add_stream_from_template(self._sound.stream)
                self._output.start_encoding()  # creates the file
                return
            except (FFmpegError, ValueError):
                self._output.close()
        self._output = self._open_encoder()
        self._output.start_encoding()
        self._leave_sound_out("has no place for this kind")

    def _leave_sound_out(self, reason: str) -> None:
        """Go on without sound, and say so once. reason: what is so of files of this suffix."""
        if self._sound:
            self._log(
                f"{self._path}: written without sound: {self._path.suffix} {reason}; .mkv"
                " has one for most kinds"
            )
            self._sound.discard()
            self._sound = None

    def _open_encoder(self) -> "OutputContainer":
        """Open the encoder. Raises FacemaskError where it does not take frames of this size."""
        import av
        from av.error import FFmpegError

        encoder = self._encoder
        width, height = (side + side % 2 for side in self._size)
        # Absolute, or FFmpeg would take what stands before a colon in a name for a protocol.
        output = av.open(
            str(self._temporary.absolute()),
            "w",
            format=self._container,
            container_options={**ALL_CONTAINERS, **CONTAINER_OPTIONS[self._container]},
        )
        try:
            output.add_stream(encoder, self._rate, dict(ENCODER_OPTIONS[encoder]))
            context = output.streams.video[0].codec_context
            context.width, context.height, context.pix_fmt = width, height, "yuv420p"
            context.time_base, context.framerate = self._step_s, self._rate
            context.gop_size = MOST_BETWEEN_KEY_FRAMES
            context.thread_count = ENCODER_THREADS
            context.colorspace, context.color_range = BT601, LIMITED_RANGE
            if encoder == "mpeg4":
                context.codec_tag = "XVID"  # players know this tag, and not the encoder's own
            if encoder == "libvpx":  # the only one that needs a limit
                bit_rate = round(VP8_BITS_PER_PIXEL * width * height * self._rate)
                context.bit_rate = max(MIN_BIT_RATE, bit_rate)
            context.open()
        except (FFmpegError, ValueError) as error:
            raise FacemaskError(
                f"{self._path}: can't write video of {self._size[0]}x{self._size[1]} pixels in"
                f" {encoder}, the codec for {self._path.suffix.lower()}"
            ) from error
        return output

    def _encode(self, picture: "VideoFrame | None") -> None:
        """Encode a picture, or with None what the encoder holds back; write the packets."""
        assert self._output
        stream = self._output.streams.video[0]
        # Both calls run inside map(), where Ctrl-C can't come between them: a packet lost there
        # would damage all frames until the next key frame.
        deque(map(self._output.mux, map(stream.encode, [picture])), maxlen=0)

    def _copy_sound(self) -> None:
        """Copy the sound up to the end of the last picture."""
        if not (self._sound and self._sound_stream and self._output):
            return
        try:
            for packet in self._sound.until(self._end_s):
                if self._container == "avi" and self._sound.gap_s > MAX_AVI_GAP_S:
                    return self._leave_sound_out("has no place for silence in between")
                packet.stream = self._sound_stream
                self._output.mux(packet)
        except ValueError:  # what FFmpeg raises for wrong packets, but not for a full disk
            self._leave_sound_out("has no place for it")

    def _unwritable(self, error: "FFmpegError") -> FacemaskError:
        return FacemaskError(
            f"{self._path}: can't be written: {error.strerror or type(error).__name__}"
        )


def to_yuv(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A frame (H, W, 3) uint8, BGR, stretched to size = (width, height), as planes of yuv420p.

    The last column and row are repeated where a side is odd. OpenCV converts in half the time of
    FFmpeg. Returns (3/2 height, width) uint8.
    """
    if (frame.shape[1], frame.shape[0]) != size:
        frame = cv2.resize(frame, size)
    width, height = size
    if width % 2 or height % 2:
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).astype(np.uint8, copy=False)


def frame_rate(fps: float) -> Fraction:
    """The rate as files store it, frames a second; 29.97002997 is 30000/1001."""
    lowest = Fraction(1, MAX_DENOMINATOR)
    max_denominator = min(MAX_DENOMINATOR, max(1, int(MAX_NUMERATOR / fps)))
    return max(lowest, Fraction(fps).limit_denominator(max_denominator))


def plays(path: Path) -> bool:
    """Whether the file is a video with at least one frame."""
    from av.error import FFmpegError

    try:
        with open_media(path) as video:
            return next(video.decode(video=0), None) is not None
    except (FFmpegError, IndexError):  # IndexError: a file without video
        return False
