"""Small videos of every awkward kind, made with PyAV; most have six frames."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from facemask.images import write_image

MILLISECOND = Fraction(1, 1000)


def pictures(count: int = 6, width: int = 96, height: int = 64) -> list[np.ndarray]:
    """Frames (height, width, 3) uint8, BGR, that get brighter; the upper left quarter is red."""
    images = [np.full((height, width, 3), 40 + 10 * number, np.uint8) for number in range(count)]
    for image in images:
        image[: height // 2, : width // 2] = (0, 0, 255)
    return images


def noise(count: int = 15) -> list[np.ndarray]:
    """Frames of noise, which take kilobytes each, so that a part of the file can be damaged."""
    generator = np.random.default_rng(1)
    return [generator.integers(0, 256, (120, 160, 3), np.uint8) for _ in range(count)]


def write(
    path: Path,
    images: Sequence[np.ndarray],
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times_ms: Sequence[int] = (),
    options: dict[str, str] | None = None,
    container: str | None = None,
    title: str = "",
) -> None:
    """Write a video of ten frames a second, or with these times.

    pixels: FFmpeg's name of the pixel format. container: by default, what the suffix says.
    """
    with av.open(str(path), "w", format=container) as output:
        output.metadata["title"] = title
        stream = output.add_stream(codec, 10, options or {})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = images[0].shape[1], images[0].shape[0]
        stream.pix_fmt, stream.codec_context.time_base = pixels, MILLISECOND
        for number, image in enumerate(images):
            kind = "bgra" if image.shape[2] == 4 else "bgr24"
            frame = av.VideoFrame.from_ndarray(image, format=kind).reformat(format=pixels)
            frame.pts = times_ms[number] if times_ms else 100 * number
            frame.time_base = MILLISECOND
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def write_rotated(path: Path, degrees: int) -> None:
    """A video to be turned clockwise for viewing, as phones write it: in the track's matrix."""
    write(path, pictures())
    rotate(path, degrees)


def rotate(path: Path, degrees: int) -> None:
    content = bytearray(path.read_bytes())
    a, b = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = [a << 16, b << 16, 0, -b << 16, a << 16, 0, 0, 0, 1 << 30]
    struct.pack_into(">9i", content, content.index(b"tkhd") + 44, *matrix)
    path.write_bytes(content)


def write_transparent(path: Path, codec: str, pixels: str) -> None:
    alpha = np.full((64, 96, 1), 128, np.uint8)
    write(path, [np.dstack([image, alpha]) for image in pictures()], codec, pixels)


def write_two_streams(path: Path) -> None:
    """Two video streams, of which the second has more pixels."""
    sizes = (96, 64), (192, 128)
    with av.open(str(path), "w") as output:
        for width, height in sizes:
            stream = output.add_stream("ffv1", 10)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(6):
            for stream, (width, height) in zip(output.streams.video, sizes, strict=True):
                image = pictures(6, width, height)[number]
                frame = av.VideoFrame.from_ndarray(image, format="bgr24")
                output.mux(stream.encode(frame.reformat(format="yuv420p")))
        for stream in output.streams.video:
            output.mux(stream.encode(None))


def write_with_sound(
    path: Path,
    codec: str = "aac",
    start_s: float = 0.0,
    video_codec: str = "mpeg4",
    times_ms: Sequence[int] = range(0, 3000, 100),
    sound_s: int = 3,
) -> None:
    """A video with a bright frame at each full second, and at the same times a click in the sound.

    start_s: when the sound starts, from the first frame; sound_s: how long it is.
    """
    with av.open(str(path), "w") as output:
        pictures = output.add_stream(video_codec, 10, {"bf": "0"})
        sound = output.add_stream(codec, 48000)
        assert isinstance(pictures, av.VideoStream)
        assert isinstance(sound, av.AudioStream)
        pictures.width, pictures.height, pictures.pix_fmt = 96, 64, "yuv420p"
        pictures.codec_context.time_base, sound.layout = MILLISECOND, "mono"
        for number, time_ms in enumerate(times_ms):
            light = 30 if number % 10 else 255
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), light, np.uint8), "bgr24")
            frame.pts, frame.time_base = time_ms, MILLISECOND
            output.mux(pictures.encode(frame))
        seconds = np.arange(sound_s * 48000) / 48000
        wave = np.sin(2000 * np.pi * seconds) * (seconds % 1 < 0.05)
        converter = av.AudioResampler(sound.format.name, "mono", 48000, sound.frame_size or 1024)
        chunk = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), "fltp", "mono")
        chunk.sample_rate, chunk.pts = 48000, round(start_s * 48000)
        for frame in (*converter.resample(chunk), *converter.resample(None), None):
            output.mux(sound.encode(frame))
        output.mux(pictures.encode(None))


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", 8000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 8192), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts = 8000, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def write_concatenated(path: Path) -> None:
    """Two transport streams of different sizes, one after the other; times begin again."""
    write(path, pictures(), container="mpegts")
    first = path.read_bytes()
    write(path, pictures(6, 64, 96), container="mpegts")
    path.write_bytes(first + path.read_bytes())


def write_truncated(path: Path, codec: str = "libx264", kept: float = 0.5) -> None:
    write(path, noise(), codec, options={"g": "3"})
    content = path.read_bytes()
    path.write_bytes(content[: round(kept * len(content))])


def write_damaged(path: Path, codec: str = "libx264") -> None:
    """A sixth of the file is overwritten with noise, in the middle."""
    write(path, noise(), codec, options={"g": "3"})
    content = bytearray(path.read_bytes())
    start, length = len(content) // 2, len(content) // 6
    content[start : start + length] = np.random.default_rng(1).bytes(length)
    path.write_bytes(content)


def write_patched(path: Path, before: bytes, offset: int, value: bytes) -> None:
    """A video with some bytes replaced, `offset` after the start of the bytes `before`."""
    write(path, pictures(), title="Grusz")
    content = bytearray(path.read_bytes())
    start = content.index(before) + offset
    content[start : start + len(value)] = value
    path.write_bytes(content)


def write_huge(path: Path) -> None:
    """A file of some kilobytes whose header states 65,535 x 65,535 pixels."""
    write(path, pictures(), "rawvideo", "bgr24")
    content = bytearray(path.read_bytes())
    format_chunk = content.index(b"strf") + 8
    struct.pack_into("<2i", content, format_chunk + 4, 65535, 65535)
    path.write_bytes(content)


def write_image_as(path: Path) -> None:
    picture = path.with_suffix(".png")
    write_image(picture, pictures()[0])
    picture.rename(path)
