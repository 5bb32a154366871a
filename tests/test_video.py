import http.server
import os
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from facemask.errors import FacemaskError
from facemask.video import CODECS, DEFAULT_FPS, VideoSource, VideoWriter


def frame(brightness: int, width: int = 64, height: int = 48) -> np.ndarray:
    return np.full((height, width, 3), brightness, np.uint8)


def write_video(path: Path, count: int, fps: float = 20.0) -> Path:
    with VideoWriter(path, fps) as writer:
        for number in range(count):
            writer.write(frame(number * 20 % 250), number / fps)
    return path


def read_video(path: Path) -> list[np.ndarray]:
    with VideoSource.open(str(path)) as source:
        return [image for _, image in source.frames()]


@pytest.mark.parametrize("suffix", [*CODECS, ".MP4"])
def test_what_is_written_plays(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"a{suffix}", 10)
    frames = read_video(path)
    assert len(frames) == 10
    assert frames[0].shape == (48, 64, 3)
    assert frames[9].mean() == pytest.approx(180, abs=6)
    assert os.listdir(tmp_path) == [path.name]


def test_frames_of_a_file_come_with_its_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 5, fps=20.0)
    with VideoSource.open(str(path)) as source:
        assert source.is_file
        assert source.fps == 20.0
        assert source.frame_count == 5
        assert [time for time, _ in source.frames()] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
        assert not source.cut_short(5)


def test_a_video_is_finished_when_the_run_is_interrupted(tmp_path: Path) -> None:
    def interrupted() -> None:
        with VideoWriter(tmp_path / "a.mp4", 20.0) as writer:
            for number in range(6):
                writer.write(frame(50), number / 20)
            assert not (tmp_path / "a.mp4").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(read_video(tmp_path / "a.mp4")) == 6


def test_without_frames_nothing_is_written_and_the_old_file_stays(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("old")
    with VideoWriter(tmp_path / "a.mp4", 20.0):
        pass
    assert (tmp_path / "a.mp4").read_text() == "old"


def test_frames_of_another_size_are_stretched_to_the_first(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 20.0) as writer:
        writer.write(frame(100), 0.0)
        writer.write(frame(200, width=32, height=80), 0.05)
    frames = read_video(tmp_path / "a.mp4")
    assert [image.shape for image in frames] == [(48, 64, 3)] * 2
    assert frames[1].mean() == pytest.approx(200, abs=6)


def test_a_slow_live_source_gives_a_video_that_lasts_as_long(tmp_path: Path) -> None:
    """Three frames half a second apart, at 20 frames a second: 0.0 to 1.0 s is 21 frames."""
    with VideoWriter(tmp_path / "a.mp4", 20.0) as writer:
        for time_s in (0.0, 0.5, 1.0):
            writer.write(frame(100), time_s)
    assert len(read_video(tmp_path / "a.mp4")) == 21


def test_a_fast_live_source_gives_no_more_frames_than_fit(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 20.0) as writer:
        for number in range(100):
            writer.write(frame(100), number / 100)
    assert len(read_video(tmp_path / "a.mp4")) == 21


def test_an_impossible_size_is_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(FacemaskError, match=r"a\.mp4: .*(can't write|could not be written)"),
        VideoWriter(tmp_path / "a.mp4", 20.0) as writer,
    ):
        writer.write(frame(0, width=20000, height=1), 0.0)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", ["99", "99999999999999"])
def test_a_camera_that_is_not_there_is_one_line(number: str) -> None:
    with pytest.raises(FacemaskError, match=f"camera {number}: can't be opened; check"):
        VideoSource.open(number)


def test_a_url_that_nobody_answers_is_one_line() -> None:
    with pytest.raises(FacemaskError, match=r"http://127\.0\.0\.1:9/x: can't be opened"):
        VideoSource.open("http://127.0.0.1:9/x")


def test_a_password_in_an_address_is_not_shown() -> None:
    with pytest.raises(FacemaskError, match=r"^http://127\.0\.0\.1:9/x: can't be opened"):
        VideoSource.open("http://user:secret@127.0.0.1:9/x")


class MJPEGServer(http.server.BaseHTTPRequestHandler):
    """Sends ten JPEG pictures as network cameras do, and ends."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(10):
            picture = cv2.imencode(".jpg", frame(20 * number))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            self.wfile.write(head.encode() + picture + b"\r\n")
        self.wfile.write(b"--frame--\r\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_stream_is_read_from_its_url() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), MJPEGServer) as server:
        thread = threading.Thread(target=server.handle_request, daemon=True)
        thread.start()
        with VideoSource.open(f"http://127.0.0.1:{server.server_port}/stream.mjpg") as stream:
            assert not stream.is_file
            frames = [image for _, image in stream.frames()]
        thread.join(timeout=10)
    assert len(frames) >= 9
    assert frames[0].shape == (48, 64, 3)
    assert frames[0].mean() < frames[-1].mean()


def test_files_that_are_no_video_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(FacemaskError, match="no such file; expected a video file"):
        VideoSource.open(str(tmp_path / "missing.mp4"))
    with pytest.raises(FacemaskError, match="found a folder"):
        VideoSource.open(str(tmp_path))
    (tmp_path / "text.mp4").write_text("text")
    with pytest.raises(FacemaskError, match="can't be opened; expected a video file"):
        VideoSource.open(str(tmp_path / "text.mp4"))


class FakeCapture:
    """A capture that gives some frames and states whatever it likes."""

    def __init__(self, frames: int, **stated: float):
        self.frames, self.stated = frames, stated

    def get(self, key: int) -> float:
        names = {cv2.CAP_PROP_FPS: "fps", cv2.CAP_PROP_FRAME_COUNT: "count"}
        return self.stated.get(names[key], 0.0)

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.frames -= 1
        return (True, frame(0)) if self.frames >= 0 else (False, None)


def source(frames: int, is_file: bool = True, **stated: float) -> VideoSource:
    capture = FakeCapture(frames, **stated)
    return VideoSource("it", capture, is_file=is_file)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf"), 90000.0])
def test_an_impossible_frame_rate_is_replaced(fps: float) -> None:
    assert source(1, fps=fps).fps == DEFAULT_FPS


def test_no_frame_at_all_is_one_line() -> None:
    with pytest.raises(FacemaskError, match="it: opened, but gave no frame"):
        list(source(0).frames())


def test_a_file_that_ends_early_is_noticed() -> None:
    cut = source(60, count=100)
    assert len(list(cut.frames())) == 60
    assert cut.cut_short(60)


def test_a_run_that_is_stopped_early_is_no_cut_file() -> None:
    stopped = source(100, count=100)
    next(stopped.frames())
    assert not stopped.cut_short(1)


def test_live_sources_tell_time_by_the_clock() -> None:
    times = [time for time, _ in source(3, is_file=False, fps=1.0).frames()]
    assert times[0] == pytest.approx(0.0, abs=0.01)
    assert times[-1] < 1.0


@pytest.mark.assets
def test_the_real_videos_open(assets: Path) -> None:
    found = {}
    for name in ("street.mp4", "four_people.mp4"):
        with VideoSource.open(str(assets / "video" / name)) as video:
            found[name] = (video.frame_count, next(video.frames())[1].shape)
    assert found == {"street.mp4": (635, (372, 538, 3)), "four_people.mp4": (414, (506, 960, 3))}
