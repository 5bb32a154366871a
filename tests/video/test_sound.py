"""The sound of a file in the annotated video: there, in time, and no longer than the pictures."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import detect_mask_video
from facemask.output import display
from facemask.video.sound import Sound

from ..conftest import FakeDetector
from ..sweep.videos import rotate, write_rotated, write_with_sound

SUFFIXES = ("mp4", "mov", "mkv", "avi")
FRAME_S = 0.03  # of coded sound, at most

QuitAfter = Callable[[int], None]


@pytest.fixture(autouse=True)
def folder(fake_networks: FakeDetector) -> None:
    """A working folder, and fake networks."""


@pytest.fixture
def quit_after(monkeypatch: pytest.MonkeyPatch) -> QuitAfter:
    """Presses q in the window after so many frames."""
    monkeypatch.setattr(display, "can_show_windows", lambda: True)

    def prepare(frames: int) -> None:
        keys = iter([*[""] * (frames - 1), "q"])
        monkeypatch.setattr(display, "show_frame", lambda *_: next(keys))

    return prepare


def annotate(source: str, output: str, *options: str) -> None:
    assert detect_mask_video.main(["-s", source, "-o", output, "--fast", *options]) == 0


def flashes(path: str) -> list[float]:
    """When a bright frame follows a dark one, seconds."""
    with av.open(path) as video:
        frames = [(frame.time, frame.to_ndarray(format="gray")) for frame in video.decode(video=0)]
    bright = [time or 0.0 for time, image in frames if image.mean() > 150]
    return first_of_each(bright)


def clicks(path: str) -> list[float]:
    """When a click begins, seconds."""
    loud = []
    with av.open(path) as video:
        for frame in video.decode(audio=0):
            samples = frame.to_ndarray().ravel()
            wave = samples / 32768 if samples.dtype == np.int16 else samples
            loud += [(frame.time or 0.0) + n / 48000 for n in np.flatnonzero(np.abs(wave) > 0.2)]
    return first_of_each(loud)


def first_of_each(times: list[float]) -> list[float]:
    """The times that are not within 0.3 s after another one."""
    return [
        time for before, time in zip([-1.0, *times], times, strict=False) if time > before + 0.3
    ]


def sound_ends(path: str) -> float:
    with av.open(path) as video:
        *_, last = video.decode(audio=0)
    return float(last.time or 0) + last.samples / last.sample_rate


def packets(path: str) -> list[bytes]:
    with av.open(path) as video:
        return [bytes(packet) for packet in video.demux(audio=0) if packet.size]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("codec", ["aac", "libmp3lame", "pcm_s16le"])
def test_each_click_stays_with_its_flash(suffix: str, codec: str) -> None:
    write_with_sound(Path("in.mov"), codec)
    annotate("in.mov", f"out.{suffix}")
    assert flashes(f"out.{suffix}") == pytest.approx([0, 1, 2], abs=0.01)
    assert clicks(f"out.{suffix}") == pytest.approx([0, 1, 2], abs=FRAME_S)
    assert sound_ends(f"out.{suffix}") == pytest.approx(3, abs=FRAME_S)


def test_the_packets_are_copied_as_they_are() -> None:
    write_with_sound(Path("in.mp4"))
    annotate("in.mp4", "out.mkv")
    assert len(packets("out.mkv")) > 100
    assert set(packets("out.mkv")) <= set(packets("in.mp4"))


@pytest.mark.parametrize("suffix", SUFFIXES[:3])
def test_sound_that_starts_after_the_pictures_does_so_in_the_copy(suffix: str) -> None:
    write_with_sound(Path("late.mkv"), start_s=1.5)
    annotate("late.mkv", f"out.{suffix}")
    assert flashes(f"out.{suffix}") == pytest.approx([0, 1, 2], abs=0.01)
    assert clicks(f"out.{suffix}") == pytest.approx([1.5, 2.5], abs=FRAME_S)
    assert sound_ends(f"out.{suffix}") == pytest.approx(3, abs=FRAME_S)


def test_sound_from_before_the_first_picture_is_left_out() -> None:
    write_with_sound(Path("early.mkv"), start_s=-0.7)
    assert flashes("early.mkv")[0] == pytest.approx(0.7, abs=0.01)  # the file starts with its sound
    annotate("early.mkv", "out.mkv")
    assert flashes("out.mkv")[0] == 0
    assert clicks("out.mkv") == pytest.approx([0.3, 1.3], abs=FRAME_S)


def test_sound_keeps_its_time_where_frames_are_left_out() -> None:
    write_with_sound(Path("in.mp4"))
    annotate("in.mp4", "out.mp4", "--every", "3")
    assert clicks("out.mp4") == pytest.approx([0, 1, 2], abs=FRAME_S)


@pytest.mark.parametrize(("sound_s", "expected"), [(63, [0, 1, 2]), (3, [0])])
def test_sound_of_a_time_without_pictures_is_left_out(sound_s: int, expected: list[int]) -> None:
    """After 0.9 seconds of pictures there are none for a minute, which no frame fills."""
    times_ms = [*range(0, 900, 100), *range(60_900, 63_000, 100)]
    write_with_sound(Path("in.mkv"), times_ms=times_ms, sound_s=sound_s)
    annotate("in.mkv", "out.mkv")
    assert flashes("out.mkv") == pytest.approx([0, 1, 2], abs=0.01)
    assert clicks("out.mkv") == pytest.approx(expected, abs=FRAME_S)


def test_a_rotated_video_keeps_its_sound() -> None:
    write_with_sound(Path("in.mp4"))
    rotate(Path("in.mp4"), 90)
    annotate("in.mp4", "out.mp4")
    assert clicks("out.mp4") == pytest.approx([0, 1, 2], abs=FRAME_S)


def test_sound_ends_where_q_ends_the_pictures(quit_after: QuitAfter) -> None:
    write_with_sound(Path("in.mp4"))
    quit_after(15)
    annotate("in.mp4", "out.mp4")
    assert clicks("out.mp4") == pytest.approx([0, 1], abs=FRAME_S)
    assert sound_ends("out.mp4") == pytest.approx(1.5, abs=FRAME_S)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_looped_file_starts_its_sound_again(quit_after: QuitAfter, suffix: str) -> None:
    write_with_sound(Path("in.mp4"))
    quit_after(75)
    annotate("in.mp4", f"out.{suffix}", "--loop")
    assert clicks(f"out.{suffix}") == pytest.approx(range(8), abs=2 * FRAME_S)
    assert sound_ends(f"out.{suffix}") == pytest.approx(7.5, abs=2 * FRAME_S)


@pytest.mark.parametrize(
    ("source", "codec", "start_s", "output"),
    [
        ("in.mp4", "aac", 0.0, "out.webm"),
        ("in.ts", "aac", 0.0, "out.mp4"),  # in a form that MP4 has not
        ("in.mkv", "flac", 0.0, "out.mov"),
        ("in.mkv", "aac", 1.0, "out.avi"),  # which has no times, so that it would be early
    ],
)
def test_sound_that_can_not_be_copied_is_a_warning(
    source: str, codec: str, start_s: float, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_with_sound(Path(source), codec, start_s, "libx264")
    annotate(source, output)
    warnings = [line for line in capsys.readouterr().err.splitlines() if output in line]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"[WARN] {output}: written without sound: .{output[4:]} has no ")
    assert flashes(output) == pytest.approx([0, 1, 2], abs=0.01)


@pytest.mark.parametrize("source", ["long.mkv", "long.mp4"])
def test_sound_that_lasts_longer_does_not_make_the_file_truncated(
    source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_with_sound(Path(source), sound_s=5)
    annotate(source, "out.mp4", "--no-display")
    assert capsys.readouterr().err == ""
    assert sound_ends("out.mp4") == pytest.approx(3, abs=FRAME_S)


@pytest.mark.parametrize("output", ["out.mp4", "out.mkv"])
def test_sound_of_an_unknown_codec_is_a_warning(
    output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_with_sound(Path("in.mkv"))
    Path("in.mkv").write_bytes(Path("in.mkv").read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    annotate("in.mkv", output, "--no-display")
    assert capsys.readouterr().err.startswith(f"[WARN] {output}: written without sound: ")
    assert flashes(output) == pytest.approx([0, 1, 2], abs=0.01)


def test_a_video_without_sound_is_written_without_a_word(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_rotated(Path("silent.mp4"), 180)
    annotate("silent.mp4", "out.mp4", "--no-display")
    assert capsys.readouterr().err == ""
    with av.open("out.mp4") as video:
        assert not video.streams.audio


# --- the packets on their way ---


def new_sound() -> Sound:
    stream = av.open("none", "w", format="null").add_stream("aac", 1000)
    assert isinstance(stream, av.AudioStream)
    return Sound(stream)


def packet(start_ms: int, duration_ms: int = 10) -> av.Packet:
    made = av.Packet(b"sound")
    made.pts = made.dts = start_ms
    made.duration, made.time_base = duration_ms, Fraction(1, 1000)
    return made


def taken(sound: Sound, end_s: float) -> list[int | None]:
    return [each.pts for each in sound.until(end_s)]


def test_nothing_is_taken_before_there_is_a_picture() -> None:
    sound = new_sound()
    sound.add(packet(0))
    assert taken(sound, 1) == []
    sound.place(0.0, 0.0)
    assert taken(sound, 1) == [0]


def test_packets_are_moved_to_the_times_of_the_pictures_and_taken_once() -> None:
    sound = new_sound()
    for start in (5000, 5010, 5020):
        sound.add(packet(start))
    sound.place(0.0, 5.01)
    assert taken(sound, 0.01) == [0]
    assert taken(sound, 0.01) == []
    assert taken(sound, 1) == [10]


def test_later_packets_replace_those_that_were_not_taken() -> None:
    sound = new_sound()
    for start in (0, 10, 20, 30):
        sound.add(packet(start))
    sound.place(0.0, 0.0)
    assert taken(sound, 0.01) == [0]
    for start in (0, 10):  # the file starts again
        sound.add(packet(start))
    sound.place(0.015, 0.0)
    assert taken(sound, 1) == [15, 25]


def test_what_overlaps_taken_packets_is_left_out() -> None:
    sound = new_sound()
    sound.add(packet(0, 100))
    sound.place(0.0, 0.0)
    assert taken(sound, 0.01) == [0]
    for start in (50, 99):  # the second one overlaps by rounding alone
        sound.add(packet(start))
    sound.place(0.0, 0.0)
    assert taken(sound, 1) == [99]
    assert sound.gap_s == pytest.approx(-0.001)


def test_sound_that_nobody_takes_is_not_collected() -> None:
    sound = new_sound()
    sound.discard()
    sound.add(packet(0))
    sound.place(0.0, 0.0)
    assert taken(sound, 1) == []
