"""Writing annotated video: files that play, also after a full disk or a killed process."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Self

import cv2
import numpy as np

from facemask.errors import FacemaskError
from facemask.files import beside, replacing

if TYPE_CHECKING:
    from av import VideoFrame
    from av.error import FFmpegError

ENCODER_THREADS = 1  # the networks use all cores at the same time

# FFmpeg's numbers for the conversion from RGB to YUV that OpenCV does. They are stored in the
# file, because players assume another conversion (BT.709) for large pictures.
BT601 = 6
LIMITED_RANGE = 1

MIN_BIT_RATE = 100_000  # bits a second; with very few, VP8 leaves frames out

# Frame rates are stored as fractions. MPEG-4 in AVI takes no larger numerator; the denominator
# 1001 is that of the television rates, such as 30000/1001.
MAX_NUMERATOR = 65535
MAX_DENOMINATOR = 1001


@dataclass(frozen=True)
class Codec:
    """An encoder and a container, by FFmpeg's names."""

    encoder: str
    container: str
    options: dict[str, str]  # of the encoder
    container_options: dict[str, str] = field(default_factory=dict)
    tag: str | None = None  # the codec tag that players know, where it is not the encoder's own
    bits_per_pixel: float | None = None  # a limit, for encoders that need one


# Without B-frames encoding takes a third less time for 5 % more bytes, and the time of the first
# frame is 0 also in fragments.
_H264 = {"preset": "veryfast", "crf": "23", "bf": "0"}
# A fragment starts at each key frame, so that whatever reached the disk plays. At the end the
# fragments become one ordinary file, in which players can seek faster.
_MOV = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof+hybrid_fragmented",
    "flush_packets": "1",
}
_MATROSKA = {"cluster_time_limit": "1000", "flush_packets": "1"}  # ms

# By the suffix of the file.
CODECS = {
    ".mp4": Codec("libx264", "mp4", _H264, _MOV),
    ".m4v": Codec("libx264", "mp4", _H264, _MOV),
    ".mov": Codec("libx264", "mov", _H264, _MOV),
    ".mkv": Codec("libx264", "matroska", _H264, _MATROSKA),
    ".avi": Codec("mpeg4", "avi", {"qmin": "4", "qmax": "4"}, {"flush_packets": "1"}, tag="XVID"),
    ".webm": Codec(
        "libvpx",
        "webm",
        {"deadline": "realtime", "cpu-used": "12", "lag-in-frames": "0", "crf": "10"},
        _MATROSKA,
        bits_per_pixel=0.25,
    ),
}


class VideoWriter:
    """Writes frames to a file that is finished, and playable, however the run ends.

    A context manager. Until it closes, the video grows in a hidden file in the same folder. When
    the disk is full, what was written until then is kept under the final name. When the process
    is killed, it stays in the hidden file, and plays except for the last second or two.
    """

    def __init__(self, path: Path, fps: float):
        """path: its suffix is one of CODECS; fps: frames a second of the video, above 0."""
        self._path = path
        self._rate = frame_rate(fps)
        self._encoding: Encoding | None = None
        self._size = (0, 0)  # width, height, pixels
        self._closed = False

    def write(self, frame: np.ndarray, time_s: float) -> None:
        """Add a frame (H, W, 3) uint8, BGR; one of another size is stretched to the first's.

        time_s: seconds from the first frame. A live source does not keep the rate that it states,
        so frames are repeated or left out where needed: the video lasts as long as what it shows.
        An odd width or height grows by a pixel, because colours are stored for 2 x 2 pixels.
        Raises FacemaskError when the file can't be written; it is closed then.
        """
        from av.error import FFmpegError

        if self._closed:
            raise ValueError(f"{self._path}: write() after close()")
        if self._encoding is None:
            self._encoding = self._begin(frame)
        if (frame.shape[1], frame.shape[0]) != self._size:
            frame = cv2.resize(frame, self._size)
        frames_due = round(time_s * self._rate) + 1
        try:
            self._encoding.add(frame, frames_due - self._encoding.written)
        except FFmpegError as error:
            # On a full disk the end of the file fails as well; one error is enough.
            with suppress(FFmpegError, FacemaskError):
                self._finish(self._encoding.abandon)
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Finish the file and give it its final name.

        Raises FacemaskError when its end can't be written; what there is of the video is kept
        under the final name all the same, if it plays.
        """
        self._closed = True
        if self._encoding is None:
            return
        from av.error import FFmpegError

        try:
            self._finish(self._encoding.end)
        except FFmpegError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.close()
        except FacemaskError:
            if kind is None:  # otherwise the exception that ended the block is the one to raise
                raise

    def _begin(self, frame: np.ndarray) -> "Encoding":
        """Begin a video of such frames. Raises FacemaskError, and leaves no file, if it can't."""
        from av.error import FFmpegError

        height, width = frame.shape[:2]
        self._size = (width, height)
        suffix = self._path.suffix.lower()
        try:
            encoding = Encoding(beside(self._path), CODECS[suffix], self._rate, self._size)
        except (FFmpegError, ValueError) as error:
            raise FacemaskError(
                f"{self._path}: can't write video of {width}x{height} pixels in"
                f" {CODECS[suffix].encoder}, the codec for {suffix}"
            ) from error
        try:
            encoding.begin()
        except FFmpegError as error:
            with suppress(OSError):
                beside(self._path).unlink()
            raise self._unwritable(error) from error
        return encoding

    def _finish(self, end: Callable[[], None]) -> None:
        """End the file by a call of `end`, and keep it if it plays, whatever `end` raises."""
        self._encoding, self._closed = None, True
        temporary = beside(self._path)
        try:
            end()
        finally:
            playable = plays(temporary)
            if playable:
                with replacing(self._path):
                    pass  # the file that replacing() renames is the one that was written
            else:
                temporary.unlink(missing_ok=True)
        if not playable:
            raise FacemaskError(f"{self._path}: the video could not be written to its end")

    def _unwritable(self, error: "FFmpegError") -> FacemaskError:
        return FacemaskError(
            f"{self._path}: can't be written: {error.strerror or type(error).__name__}"
        )


class Encoding:
    """A video file that is being written. Raises FFmpegError, unless stated otherwise."""

    def __init__(self, path: Path, codec: Codec, rate: Fraction, size: tuple[int, int]):
        """Open the encoder; size: width and height of the frames, pixels.

        Raises FFmpegError or ValueError where it does not take such frames.
        """
        import av
        from av.video.stream import VideoStream

        self.written = 0  # frames
        self._rate = rate
        width, height = (side + side % 2 for side in size)
        # Absolute, or FFmpeg would take what stands before a colon in a name for a protocol.
        self._output = av.open(
            str(path.absolute()),
            "w",
            format=codec.container,
            container_options=codec.container_options,
        )
        stream = self._output.add_stream(codec.encoder, rate=rate, options=dict(codec.options))
        assert isinstance(stream, VideoStream)
        self._stream = stream
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = 1 / rate
        context.gop_size = max(1, round(rate))  # a key frame at least each second
        context.thread_count = ENCODER_THREADS
        context.colorspace, context.color_range = BT601, LIMITED_RANGE
        if codec.tag:
            context.codec_tag = codec.tag
        if codec.bits_per_pixel:
            bit_rate = round(codec.bits_per_pixel * width * height * rate)
            context.bit_rate = max(MIN_BIT_RATE, bit_rate)
        context.open()

    def begin(self) -> None:
        """Create the file and write its header."""
        self._output.start_encoding()

    def add(self, frame: np.ndarray, copies: int) -> None:
        """Add a frame (H, W, 3) uint8, BGR, `copies` times; not at all for 0 or less."""
        from av import VideoFrame

        if copies <= 0:
            return
        height, width = frame.shape[:2]
        if width % 2 or height % 2:
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        # OpenCV converts in half the time of FFmpeg.
        yuv = cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).astype(np.uint8, copy=False)
        picture = VideoFrame.from_ndarray(yuv, format="yuv420p")
        picture.time_base = 1 / self._rate
        for _ in range(copies):
            picture.pts = self.written
            self._encode(picture)
            self.written += 1

    def end(self) -> None:
        """Write the frames that the encoder holds back and the end of the file."""
        try:
            self._encode(None)
        finally:
            self._output.close()

    def abandon(self) -> None:
        """Close the file without them."""
        self._output.close()

    def _encode(self, picture: "VideoFrame | None") -> None:
        """Encode a picture, or with None what the encoder holds back; write the packets."""
        # Both calls run inside map(), where Ctrl-C can't come between them: a packet lost there
        # would damage all frames until the next key frame.
        deque(map(self._output.mux, map(self._stream.encode, [picture])), maxlen=0)


def frame_rate(fps: float) -> Fraction:
    """The rate as files store it, frames a second; 29.97002997 is 30000/1001."""
    lowest = Fraction(1, MAX_DENOMINATOR)
    max_denominator = min(MAX_DENOMINATOR, max(1, int(MAX_NUMERATOR / fps)))
    return max(lowest, Fraction(fps).limit_denominator(max_denominator))


def plays(path: Path) -> bool:
    """Whether the file is a video with at least one frame."""
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path.absolute())) as video:
            return next(video.decode(video=0), None) is not None
    except (FFmpegError, IndexError):  # IndexError: a file without video
        return False
