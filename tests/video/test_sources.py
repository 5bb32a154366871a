"""Frames from files, folders, cameras, and streams of an MJPEG server that fails in many ways."""

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest

from facemask.addresses import without_secrets
from facemask.errors import FacemaskError
from facemask.video import sources
from facemask.video.decoder import DEFAULT_FPS, possible_fps
from facemask.video.sources import FileSource, LiveSource, Source, open_source

LOG: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    LOG.clear()


def frame(brightness: int, width: int = 64, height: int = 48) -> np.ndarray:
    return np.full((height, width, 3), brightness, np.uint8)


def brightness(image: np.ndarray) -> int:
    return round(float(image.mean()))


def write_video(path: Path, count: int, fps: float = 20.0) -> Path:
    """A video whose frame N is of brightness 20 N."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    for number in range(count):
        writer.write(frame(number * 20 % 250))
    writer.release()
    return path


def opened(source: Path | str, **options) -> Source:
    return open_source(str(source), LOG.append, **options)


# --- files and folders ---


def test_frames_of_a_file_come_with_its_times(tmp_path: Path) -> None:
    with opened(write_video(tmp_path / "a.avi", 5)) as source:
        assert (source.live, source.fps) == (False, 20.0)
        times, images = zip(*source.frames(), strict=True)
    assert times == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    assert [brightness(image) for image in images] == pytest.approx([0, 20, 40, 60, 80], abs=4)


def test_every_third_frame_keeps_its_own_time(tmp_path: Path) -> None:
    with opened(write_video(tmp_path / "a.avi", 8), every=3) as source:
        frames = [(round(time, 3), brightness(image)) for time, image in source.frames()]
    assert LOG == []
    assert [time for time, _ in frames] == [0, 0.15, 0.3]
    assert [light for _, light in frames] == pytest.approx([0, 60, 120], abs=4)


def test_a_looped_file_goes_on_in_time(tmp_path: Path) -> None:
    with opened(write_video(tmp_path / "a.avi", 3), loop=True) as source:
        frames = list(islice(source.frames(), 7))
    assert [time for time, _ in frames] == pytest.approx([n / 20 for n in range(7)])
    assert brightness(frames[3][1]) == pytest.approx(0, abs=4)


def test_a_folder_is_read_by_name_and_files_that_are_no_images_are_skipped(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame(number * 50))
    (tmp_path / "1b.png").write_text("no image")
    (tmp_path / "notes.md").write_text("notes")
    with opened(tmp_path) as source:
        frames = [(time * DEFAULT_FPS, brightness(image)) for time, image in source.frames()]
    assert frames == [(0, 0), (1, 50), (3, 100)]
    assert len(LOG) == 1
    assert "1b.png" in LOG[0]
    assert LOG[0].endswith("; skipped")
    with opened(tmp_path, every=3) as source:
        assert [brightness(image) for _, image in source.frames()] == [0, 100]


def test_files_that_give_nothing_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(FacemaskError, match="no such file; expected a video file, a folder"):
        opened(tmp_path / "missing.mp4")
    with pytest.raises(FacemaskError, match="expected images in this folder, found none"):
        opened(tmp_path)
    (tmp_path / "text.mp4").write_text("text")
    with pytest.raises(FacemaskError, match="can't be read; expected a complete video file"):
        opened(tmp_path / "text.mp4")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_text("no image")
    with pytest.raises(FacemaskError, match="none of its files can be read"):
        list(opened(tmp_path / "bad").frames())


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf"), 90000.0])
def test_an_impossible_frame_rate_is_replaced(fps: float) -> None:
    assert possible_fps(fps) == DEFAULT_FPS


def rewritten(path: Path, times_ms: list[int]) -> list[float]:
    """The times of the frames of a video that is written with these timestamps."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", 20, {"time_base": "1/1000"})
        stream.width, stream.height, stream.codec_context.time_base = 64, 48, Fraction(1, 1000)
        for number, time_ms in enumerate(times_ms):
            picture = av.VideoFrame.from_ndarray(frame(number), format="bgr24")
            picture.pts, picture.time_base = time_ms, Fraction(1, 1000)
            for packet in stream.encode(picture):
                container.mux(packet)
    with opened(path) as source:
        return [round(time_s, 3) for time_s, _ in source.frames()]


@pytest.mark.parametrize(
    ("stated", "times"),
    [
        ([0, 40, 80, 1000, 1040, 3000], [0, 0.04, 0.08, 1, 1.04, 3]),  # a phone's variable rate
        ([5000, 5100, 5200], [0, 0.1, 0.2]),
        ([0, 100, 3_600_000, 3_600_100], [0, 0.1, 0.15, 0.25]),  # a jump of an hour is a fault
    ],
)
def test_frames_have_the_times_that_the_file_states(
    tmp_path: Path, stated: list[int], times: list[float]
) -> None:
    assert rewritten(tmp_path / "a.mkv", stated) == times
    assert LOG == []


def test_a_run_that_stops_early_does_not_make_the_file_truncated(tmp_path: Path) -> None:
    next(opened(write_video(tmp_path / "a.avi", 100)).frames())
    assert LOG == []


# --- cameras ---


@pytest.mark.parametrize("number", ["99", "99999999999999"])
def test_a_camera_that_is_not_there_is_one_line(number: str) -> None:
    with pytest.raises(FacemaskError, match=f"camera {number}: can't be opened; check"):
        opened(number)


class Camera:
    """A capture that is as slow as its frames, and hangs after some of them."""

    def __init__(self, frames: int, hangs: threading.Event | None = None, pace_s: float = 0.005):
        self.left, self.hangs, self.pace_s = frames, hangs, pace_s
        self.released = False

    def isOpened(self) -> bool:
        return True

    def get(self, key: int) -> float:
        return 30.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        time.sleep(self.pace_s)
        self.left -= 1
        if self.left >= 0:
            return True, frame(self.left % 250)
        if self.hangs:
            self.hangs.wait(20)
        return False, None

    def release(self) -> None:
        self.released = True


def live(*cameras: Camera, reconnect_s: float = 0.0) -> LiveSource:
    waiting: Iterator[Any] = iter(cameras)
    return LiveSource(
        "camera 7",
        lambda: next(waiting),
        "check it",
        reconnect_s,
        LOG.append,  # type: ignore
    )


def test_a_slow_reader_gets_the_newest_frame_and_lag_does_not_grow() -> None:
    with live(Camera(200)) as source:
        frames = []
        for time_s, image in islice(source.frames(), 8):
            frames.append((time_s, brightness(image)))
            time.sleep(0.05)
    gaps = [a[1] - b[1] for a, b in pairwise(frames)]
    assert min(gaps) >= 4  # about ten frames came in each pause, of which one was taken
    assert source.dropped_frames > 30
    assert frames[-1][0] - frames[0][0] == pytest.approx(7 * 0.05, abs=0.15)


def test_closing_leaves_no_thread_and_releases_the_camera() -> None:
    before, camera = threading.active_count(), Camera(10**6)
    with live(camera) as source:
        next(source.frames())
    assert camera.released
    assert threading.active_count() == before


def test_without_reconnecting_the_frames_end_with_the_source() -> None:
    assert 1 <= len(list(live(Camera(5)).frames())) <= 5
    assert LOG == []


def test_a_camera_that_hangs_is_noticed_and_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "STALL_S", 0.2)
    monkeypatch.setattr(sources, "FIRST_WAIT_S", 0.05)
    free = threading.Event()
    hanging, working = Camera(3, free), Camera(10**6)
    with live(hanging, working, reconnect_s=5) as source:
        frames = source.frames()
        started = time.monotonic()
        while working.left == 10**6:
            next(frames)
        assert time.monotonic() - started < 3
        free.set()
    assert LOG == [
        "camera 7: gives no frames; trying again in 0.1 s",
        "camera 7: gives frames again",
    ]


class WakingCamera(Camera):
    """A camera that gives frames again after it hung."""

    def read(self) -> tuple[bool, np.ndarray | None]:
        super().read()
        return True, frame(0)


def test_a_camera_that_hung_is_released_before_it_is_opened_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It can't be opened as long as the thread that hung still holds it."""
    monkeypatch.setattr(sources, "STALL_S", 0.2)
    monkeypatch.setattr(sources, "FIRST_WAIT_S", 0.05)
    wakes_up = threading.Event()
    hanging, working = WakingCamera(3, wakes_up), Camera(10**6)
    busy = SimpleNamespace(isOpened=lambda: False)
    attempts: list[Any] = []

    def open_capture() -> Any:
        if attempts:
            wakes_up.set()
        attempts.append(working if hanging.released else busy if attempts else hanging)
        return attempts[-1]

    with LiveSource("camera 7", open_capture, "check it", 3, LOG.append) as source:
        frames = source.frames()
        while working.left == 10**6:
            next(frames)
    assert attempts[0] is hanging
    assert attempts[1] is busy


def test_it_is_reopened_at_growing_intervals_for_a_limited_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "FIRST_WAIT_S", 0.1)
    monkeypatch.setattr(sources, "MAX_WAIT_S", 0.2)
    source = live(Camera(2), *(Camera(0) for _ in range(9)), reconnect_s=0.5)
    started = time.monotonic()
    with pytest.raises(FacemaskError, match=r"camera 7: gave no frame for 0\.5 s; check it"):
        list(source.frames())
    assert time.monotonic() - started >= 0.5
    assert [line.split(" in ")[1] for line in LOG[:3]] == ["0.1 s", "0.2 s", "0.2 s"]


# --- streams ---


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:9/x",
        "http://user:secret@127.0.0.1:9/x",
        "http://user:sec@ret@127.0.0.1:9/x",
        "http://user:sec/ret@127.0.0.1:9/x",
        "http://127.0.0.1:9/x?user=admin&password=secret",
    ],
)
def test_a_url_without_a_server_is_one_line_without_its_password(address: str) -> None:
    with pytest.raises(FacemaskError, match=r"^http://127\.0\.0\.1:9/x: can't be opened"):
        opened(address)


@pytest.mark.parametrize("address", ["rtsp://u:sec/r?et@h/x", "rtsp://h/x?password=sec@ret"])
def test_nothing_is_shown_of_a_url_in_which_a_password_may_stand_anywhere(address: str) -> None:
    assert without_secrets(address) == "rtsp://..."


class Connection:
    """What the server of a camera sends over one connection."""

    def __init__(self, write: Callable[[bytes], object]):
        self._write = write

    def begin(self) -> None:
        kind = b"Content-Type: multipart/x-mixed-replace; boundary=frame"
        self._write(b"HTTP/1.0 200 OK\r\n" + kind + b"\r\n\r\n")

    def pictures(self, light: int, count: int, pace_s: float = 0.02) -> None:
        for _ in range(count):
            picture = cv2.imencode(".jpg", frame(light))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            self._write(head.encode() + picture + b"\r\n")
            time.sleep(pace_s)

    def garbage(self) -> None:
        self._write(np.random.default_rng(1).bytes(20000))


class MJPEGServer:
    """A network camera on this machine; each connection gets the next of some behaviours."""

    def __init__(self, *behaviours: Callable[[Connection], object]):
        waiting = iter(behaviours)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                behave = next(waiting, None)
                if behave is None:
                    return self.send_error(404)
                with suppress(ConnectionError, TimeoutError):  # the client has left
                    behave(Connection(self.wfile.write))

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/stream.mjpg"

    def __enter__(self) -> "MJPEGServer":
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def sends(light: int, count: int) -> Callable[[Connection], None]:
    def behave(connection: Connection) -> None:
        connection.begin()
        connection.pictures(light, count)

    return behave


def until(frames: Iterator[tuple[float, np.ndarray]], light: int, at_most: int = 500) -> int:
    """Take frames until one has that brightness; returns how many."""
    for number, (_, image) in zip(range(at_most), frames, strict=False):
        if abs(brightness(image) - light) < 5:
            return number
    raise AssertionError(f"no frame of brightness {light}")


def test_a_stream_is_read_from_its_url() -> None:
    with MJPEGServer(sends(100, 10)) as server, opened(server.url) as source:
        assert source.live
        lights = [brightness(image) for _, image in source.frames()]
    assert 1 <= len(lights) <= 10
    assert lights == pytest.approx([100] * len(lights), abs=3)


def test_a_stream_that_drops_stalls_and_sends_garbage_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "STALL_S", 1.0)
    monkeypatch.setattr(sources, "FIRST_WAIT_S", 0.05)
    done = threading.Event()

    def stalls(connection: Connection) -> None:
        sends(120, 10)(connection)
        done.wait(20)

    def sends_garbage(connection: Connection) -> None:
        sends(180, 10)(connection)
        connection.garbage()

    before = threading.active_count()
    states: set[bool] = set()
    with (
        MJPEGServer(sends(60, 10), stalls, sends_garbage, sends(240, 10**6)) as server,
        opened(server.url, reconnect_s=20) as source,
    ):
        frames = source.frames()
        source.on_wait = lambda: states.add(source.reconnecting)
        for light in (60, 120, 180, 240):
            until(frames, light)
            assert not source.reconnecting
        done.set()
    assert True in states
    assert sum("gives frames again" in line for line in LOG) == 3
    assert all(line.startswith("http://127.0.0.1:") for line in LOG)
    assert wait_for(lambda: threading.active_count() == before)


def wait_for(true: Callable[[], bool], limit_s: float = 10.0) -> bool:
    end = time.monotonic() + limit_s
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


@pytest.mark.assets
def test_the_real_videos_open(assets: Path) -> None:
    videos = {}
    for name in ("street.mp4", "four_people.mp4"):
        with opened(assets / "video" / name) as video:
            assert isinstance(video, FileSource)
            videos[name] = (round(video.fps, 2), next(iter(video.frames()))[1].shape)
    assert videos == {"street.mp4": (24.46, (372, 538, 3)), "four_people.mp4": (25, (506, 960, 3))}
