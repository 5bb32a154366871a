"""Writing video: what plays, on full disks and after kills as well."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from errno import ENOSPC
from fractions import Fraction
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
import pytest

from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.video import writer as writer_module
from facemask.video.writer import CODECS, ENCODER_OPTIONS, MAX_NUMERATOR, VideoWriter, frame_rate

# One of each container.
SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm")

# Writes noise, 20 frames a second. Arguments: the file, its length in seconds, and how many bytes a
# file may grow to, or 0 for no limit.
CHILD = """
import sys
from pathlib import Path
import numpy as np
from facemask.errors import FacemaskError
from facemask.video.writer import VideoWriter

path, seconds, limit = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
if limit:
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
rng = np.random.default_rng(0)
try:
    with VideoWriter(path, 20.0) as writer:
        try:
            for number in range(20 * seconds):
                writer.write(rng.integers(0, 255, (96, 128, 3), np.uint8), number / 20)
        finally:
            if not limit:
                print("written", flush=True)
                sys.stdin.read()
except FacemaskError as error:
    writer.close()
    print(error)
"""


def frame(brightness: int, width: int = 64, height: int = 48) -> np.ndarray:
    return np.full((height, width, 3), brightness, np.uint8)


def write_video(path: Path, count: int, fps: float = 20.0) -> Path:
    """Frames of brightness 0, 20, 40 and so on."""
    with VideoWriter(path, fps) as writer:
        for number in range(count):
            writer.write(frame(number * 20), number / fps)
    return path


def read_video(path: Path) -> list[np.ndarray]:
    """The frames until the end, or until where the file is truncated."""
    capture = cv2.VideoCapture(str(path.absolute()))
    frames = []
    while True:
        read, image = capture.read()
        if not read:
            break
        frames.append(image)
    capture.release()
    return frames


def packet_times(path: Path) -> list[tuple[float, bool]]:
    """When each packet is due, seconds, and whether it is a key frame's."""
    with av.open(str(path)) as video:
        packets = [packet for packet in video.demux(video=0) if packet.pts is not None]
        return [(float(p.pts * p.time_base), p.is_keyframe) for p in packets if p.pts is not None]


@pytest.mark.parametrize("suffix", [*CODECS, ".MP4"])
def test_written_files_play(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"a{suffix}", 10)
    frames = read_video(path)
    assert [image.shape for image in frames] == [(48, 64, 3)] * 10
    assert [image.mean() for image in frames] == pytest.approx(range(0, 200, 20), abs=4)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    ("suffix", "container", "codec"),
    [
        (".mp4", "mp4", "h264"),
        (".m4v", "mp4", "h264"),
        (".mov", "mov", "h264"),
        (".mkv", "matroska", "h264"),
        (".avi", "avi", "mpeg4"),
        (".webm", "webm", "vp8"),
    ],
)
def test_files_are_what_common_players_open(
    tmp_path: Path, suffix: str, container: str, codec: str
) -> None:
    with av.open(str(write_video(tmp_path / f"a{suffix}", 3))) as video:
        assert container in video.format.name.split(",")
        assert video.streams.video[0].codec_context.name == codec
        assert video.streams.video[0].codec_context.pix_fmt == "yuv420p"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("fps", [5.0, 30000 / 1001, 60.0])
def test_the_frame_rate_is_kept(tmp_path: Path, suffix: str, fps: float) -> None:
    path = write_video(tmp_path / f"a{suffix}", 10, fps)
    with av.open(str(path)) as video:
        assert float(video.streams.video[0].average_rate or 0) == pytest.approx(fps, rel=1e-4)
    assert [time for time, _ in packet_times(path)] == pytest.approx(
        [number / fps for number in range(10)],
        abs=1e-3,  # Matroska counts milliseconds
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_finished_file_knows_how_long_it_is(tmp_path: Path, suffix: str) -> None:
    capture = cv2.VideoCapture(str(write_video(tmp_path / f"a{suffix}", 7)))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 7
    assert capture.get(cv2.CAP_PROP_FPS) == 20.0


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov"])
def test_a_finished_file_has_no_fragments(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"a{suffix}", 7)
    with av.open(str(path)) as video:
        assert video.streams.video[0].frames == 7  # files in fragments do not say


def test_frame_rates_are_fractions_that_every_container_takes() -> None:
    assert frame_rate(25.0) == 25
    assert frame_rate(29.97) == Fraction(2997, 100)
    assert frame_rate(29.97002997) == Fraction(30000, 1001)
    assert frame_rate(119.88011988).numerator <= MAX_NUMERATOR
    assert float(frame_rate(119.88011988)) == pytest.approx(119.88011988, rel=1e-5)
    assert frame_rate(1e-6) > 0
    assert frame_rate(1000.0) == 1000


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize(
    ("fps", "step_s"), [(10.0, 0.1), (30.0, 0.5), (12.5, 0.08), (30.0, 0.0331), (0.5, 0.04)]
)
def test_there_is_a_key_frame_each_second(
    tmp_path: Path, suffix: str, fps: float, step_s: float
) -> None:
    """And no other; also where the source is slower or faster than it states."""
    path = tmp_path / f"a{suffix}"
    with VideoWriter(path, fps) as writer:
        for number in range(round(3 / step_s) + 1):
            writer.write(frame(100), number * step_s)
    keys = [time for time, is_key in packet_times(path) if is_key]
    assert keys == pytest.approx([0, 1, 2, 3][: len(keys)], abs=0.15)
    assert len(keys) >= 3


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_odd_sides_repeat_the_last_row_and_column(tmp_path: Path, suffix: str) -> None:
    white_edged = frame(0, width=33, height=21)
    white_edged[-1] = white_edged[:, -1] = 255
    with VideoWriter(tmp_path / f"a{suffix}", 20.0) as writer:
        writer.write(white_edged, 0.0)
    (image,) = read_video(tmp_path / f"a{suffix}")
    assert image.shape == (22, 34, 3)
    assert image[20:].mean() == pytest.approx(255, abs=30)
    assert image[:, 32:].mean() == pytest.approx(255, abs=30)
    assert image[:18, :30].mean() == pytest.approx(0, abs=10)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_colours_are_kept_and_the_file_names_their_conversion(tmp_path: Path, suffix: str) -> None:
    orange = np.full((48, 64, 3), (30, 120, 220), np.uint8)
    with VideoWriter(tmp_path / f"a{suffix}", 20.0) as writer:
        writer.write(orange, 0.0)
    (image,) = read_video(tmp_path / f"a{suffix}")
    assert image.mean(axis=(0, 1)) == pytest.approx([30, 120, 220], abs=6)
    if CODECS[suffix][0] == "libx264":  # the other codecs know only one conversion
        with av.open(str(tmp_path / f"a{suffix}")) as video:
            context = video.streams.video[0].codec_context
            stored = (context.colorspace, context.color_range)
        assert stored == (writer_module.BT601, writer_module.LIMITED_RANGE)


def test_frames_of_another_size_are_stretched_to_the_first(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 20.0) as writer:
        writer.write(frame(100), 0.0)
        writer.write(frame(200, width=32, height=81), 0.05)
    frames = read_video(tmp_path / "a.mp4")
    assert [image.shape for image in frames] == [(48, 64, 3)] * 2
    assert frames[1].mean() == pytest.approx(200, abs=4)


def test_a_view_of_a_larger_array_is_written_as_it_looks(tmp_path: Path) -> None:
    halves = np.concatenate([frame(50), frame(200)], axis=1)
    with VideoWriter(tmp_path / "a.mp4", 20.0) as writer:
        writer.write(halves[::-1, 64:], 0.0)
    assert read_video(tmp_path / "a.mp4")[0].mean() == pytest.approx(200, abs=4)


# A camera that is slower than it states, one that is faster, an outage, and a phone's video.
UNEVEN = [(0.0, 0.5, 1.0), (0.0, 0.01, 0.02), (0.0, 0.05, 120.0), (0.0, 0.04, 0.09, 0.17, 0.21)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("times", UNEVEN)
def test_each_frame_has_its_own_time(tmp_path: Path, suffix: str, times: tuple[float, ...]) -> None:
    path = tmp_path / f"a{suffix}"
    with VideoWriter(path, 20.0) as writer:
        for number, time_s in enumerate(times):
            writer.write(frame(50 * number), time_s)
    with av.open(str(path)) as video:
        shown = [(each.time, each.to_ndarray(format="gray").mean()) for each in video.decode()]
        assert (video.duration or 0) / 1e6 == pytest.approx(times[-1] + 0.05, abs=0.002)
    assert [time for time, _ in shown] == pytest.approx(times, abs=0.002)
    assert [grey for _, grey in shown] == pytest.approx([50 * n for n in range(len(times))], abs=4)


def test_a_low_mean_rate_moves_no_frame(tmp_path: Path) -> None:
    """A file with bursts of frames and long gaps has one, such as the record of a camera."""
    times = [600 * burst + number / 25 for burst in range(3) for number in range(50)]
    with VideoWriter(tmp_path / "a.mp4", 0.125) as writer:
        for time_s in times:
            writer.write(frame(100), time_s)
    written = [time for time, _ in packet_times(tmp_path / "a.mp4")]
    assert written == pytest.approx(times, abs=0.001)


def test_frames_of_one_time_are_all_written(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 20.0) as writer:
        for _ in range(5):
            writer.write(frame(100), 0.0)
    assert len(read_video(tmp_path / "a.mp4")) == 5


def test_in_avi_frames_are_repeated_until_their_time(tmp_path: Path) -> None:
    """Three frames half a second apart, at 20 frames a second: 0.0 to 1.0 s is 21 frames."""
    with VideoWriter(tmp_path / "a.avi", 20.0) as writer:
        for number, time_s in enumerate((0.0, 0.5, 1.0)):
            writer.write(frame(100 * number), time_s)
    brightness = [image.mean() for image in read_video(tmp_path / "a.avi")]
    assert brightness == pytest.approx([0] + [100] * 10 + [200] * 10, abs=4)


def test_in_avi_a_fast_live_source_gives_no_more_frames_than_fit(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.avi", 20.0) as writer:
        for number in range(100):
            writer.write(frame(100), number / 100)
    assert len(read_video(tmp_path / "a.avi")) == 30  # of 1 s, and MAX_AVI_LEAD_S


def test_in_avi_no_frame_of_a_variable_rate_is_missing(tmp_path: Path) -> None:
    """Ten frames a second at first, then none for a while: six a second on average."""
    times = [number / 10 for number in (*range(12), 16, 20)]
    with VideoWriter(tmp_path / "a.avi", 7.0) as writer:
        for number, time_s in enumerate(times):
            writer.write(frame(15 * number), time_s)
    shown = [round(float(image.mean()) / 15) for image in read_video(tmp_path / "a.avi")]
    assert sorted(set(shown)) == list(range(14))
    assert len(shown) == 15  # two seconds


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_video_is_finished_when_the_run_is_interrupted(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"

    def interrupted() -> None:
        with VideoWriter(path, 20.0) as writer:
            for number in range(6):
                writer.write(frame(50), number / 20)
            assert not path.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(read_video(path)) == 6
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers that interrupt")
def test_an_interrupt_in_the_middle_of_a_frame_loses_no_other(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (8, 240, 320, 3), np.uint8)

    def interrupted(path: Path) -> int:
        """Returns how many frames there should be, at least."""
        count = 0
        try:
            with VideoWriter(path, 20.0) as writer:
                writer.write(noise[0], 0.0)
                signal.setitimer(signal.ITIMER_REAL, 0.15)
                while True:
                    count += 1
                    writer.write(noise[count % 8], count / 20)
        except KeyboardInterrupt:
            return count

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        counts = [interrupted(tmp_path / f"{number}.mp4") for number in range(4)]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    times = [[time for time, _ in packet_times(tmp_path / f"{n}.mp4")] for n in range(4)]
    for video_times, count in zip(times, counts, strict=True):
        assert len(video_times) - count in (0, 1)
        assert np.diff(video_times) == pytest.approx(np.full(len(video_times) - 1, 0.05))


def test_without_frames_nothing_is_written_and_the_old_file_stays(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("old")
    with VideoWriter(tmp_path / "a.mp4", 20.0):
        pass
    assert (tmp_path / "a.mp4").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize(("width", "height"), [(70000, 1), (1, 70000), (20000, 3)])
def test_an_impossible_size_is_one_line(
    tmp_path: Path, suffix: str, width: int, height: int
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text("old")
    with (
        pytest.raises(
            FacemaskError, match=f"can't write video of {width}x{height} pixels"
        ) as error,
        VideoWriter(path, 20.0) as writer,
    ):
        writer.write(frame(0, width, height), 0.0)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", CODECS)
def test_the_smallest_size_is_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with VideoWriter(path, 20.0) as writer:
        for number in range(10):
            writer.write(frame(200, width=1, height=1), number / 20)
    assert [image.shape for image in read_video(path)] == [(2, 2, 3)] * 10


def test_a_missing_encoder_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CODECS, ".mp4", ("missing", "mp4"))
    monkeypatch.setitem(ENCODER_OPTIONS, "missing", {})
    with (
        pytest.raises(FacemaskError, match=r"a\.mp4: can't write video of 64x48 pixels in missing"),
        VideoWriter(tmp_path / "a.mp4", 20.0) as writer,
    ):
        writer.write(frame(0), 0.0)
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(FacemaskError, match=r"a\.mp4: can't be written: No such file or directory"),
        VideoWriter(tmp_path / "missing" / "a.mp4", 20.0) as writer,
    ):
        writer.write(frame(0), 0.0)


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_a_name_with_a_colon_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(read_video(write_video(Path("12:30.mp4"), 3))) == 3


def test_writing_after_close_is_an_error(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", 20.0)
    writer.write(frame(0), 0.0)
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="after close"):
        writer.write(frame(0), 0.05)
    assert len(read_video(tmp_path / "a.mp4")) == 1


@pytest.fixture
def full_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no space left for the end of a file."""
    encode = VideoWriter._encode

    def no_space(writer: VideoWriter, picture: av.VideoFrame | None) -> None:
        encode(writer, picture)
        if picture is None:
            raise av.error.OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr(VideoWriter, "_encode", no_space)


@pytest.mark.usefixtures("full_at_the_end")
def test_an_end_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FacemaskError, match=r"a\.mp4: can't be written: No space left on device$"):
        write_video(tmp_path / "a.mp4", 3)
    assert len(read_video(tmp_path / "a.mp4")) == 3
    assert os.listdir(tmp_path) == ["a.mp4"]


@pytest.mark.usefixtures("full_at_the_end")
def test_the_error_that_ended_the_block_is_the_one_raised(tmp_path: Path) -> None:
    def fails() -> None:
        with VideoWriter(tmp_path / "a.mp4", 20.0) as writer:
            writer.write(frame(0), 0.0)
            raise RuntimeError("first")

    with pytest.raises(RuntimeError, match="first"):
        fails()
    assert len(read_video(tmp_path / "a.mp4")) == 1


def test_a_frame_that_can_not_be_written_closes_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise av.error.OSError(ENOSPC, "No space left on device")

    writer = VideoWriter(tmp_path / "a.mkv", 20.0)
    for number in range(40):
        writer.write(frame(100), number / 20)
    monkeypatch.setattr(VideoWriter, "_encode", no_space)
    with pytest.raises(FacemaskError, match=r"a\.mkv: can't be written: No space left on device$"):
        writer.write(frame(100), 2.0)
    assert os.listdir(tmp_path) == ["a.mkv"]
    assert len(read_video(tmp_path / "a.mkv")) >= 20
    writer.close()
    with pytest.raises(ValueError, match="after close"):
        writer.write(frame(100), 2.05)


def test_a_file_without_a_frame_in_it_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.mp4").write_text("old")
    monkeypatch.setattr(VideoWriter, "_encode", lambda *_: None)
    with pytest.raises(FacemaskError, match=r"a\.mp4: the video could not be written to its end"):
        write_video(tmp_path / "a.mp4", 3)
    assert (tmp_path / "a.mp4").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.mp4"]


needs_limits = pytest.mark.skipif(
    not hasattr(signal, "SIGXFSZ"), reason="no limits on the size of files"
)


@needs_limits
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_fits_on_a_full_disk_is_kept(
    tmp_path: Path, run_script: Callable[..., subprocess.CompletedProcess[str]], suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text("old")
    done = run_script("-B", "-c", CHILD, path, "20", "200000")
    assert (done.stdout, done.stderr) == (f"{path}: can't be written: File too large\n", "")
    assert path.stat().st_size == 200_000
    assert len(read_video(path)) >= 10
    assert os.listdir(tmp_path) == [path.name]


@needs_limits
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("limit", ["1", "1000"])
def test_where_not_even_a_frame_fits_the_old_file_stays(
    tmp_path: Path,
    run_script: Callable[..., subprocess.CompletedProcess[str]],
    suffix: str,
    limit: str,
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text("old")
    done = run_script("-B", "-c", CHILD, path, "2", limit)
    assert (done.stdout, done.stderr) == (f"{path}: can't be written: File too large\n", "")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_is_really_full_is_one_line(
    small_disk: Path, run_script: Callable[..., subprocess.CompletedProcess[str]], suffix: str
) -> None:
    path = small_disk / f"a{suffix}"
    done = run_script("-B", "-c", CHILD, path, "20", str(2**30))
    assert (done.stdout, done.stderr) == (
        f"{path}: can't be written: No space left on device\n",
        "",
    )
    assert len(read_video(path)) >= 10
    assert os.listdir(small_disk) == [path.name]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no signal that can't be caught")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_killed_run_leaves_a_hidden_file_that_plays(tmp_path: Path, suffix: str) -> None:
    """Of five seconds, at 20 frames a second, no more than the last two may be lost."""
    path = tmp_path / f"a{suffix}"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), "5", "0"],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        try:
            assert child.stdout
            assert child.stdout.readline() == b"written\n"
        finally:
            child.send_signal(signal.SIGKILL)
    (left,) = os.listdir(tmp_path)
    assert left == f".a.{child.pid}.part{suffix}"
    frames = read_video(tmp_path / left)
    assert 60 <= len(frames) <= 100
    assert frames[-1].shape == (96, 128, 3)


def test_importing_the_module_does_not_import_av(
    run_script: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    code = "import sys, facemask.video.writer; print('av' in sys.modules)"
    assert run_script("-c", code).stdout == "False\n"


def test_without_av_there_is_an_import_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "av"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError), VideoWriter(tmp_path / "a.mp4", 20.0) as writer:
        writer.write(frame(0), 0.0)
    assert os.listdir(tmp_path) == []
