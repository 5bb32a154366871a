"""What the web page of a video run costs: processor time a frame, without it and with viewers.

    python benchmarks/bench_page.py

A camera on this machine sends frames of street.mp4, 1280x720 pixels, 30 times a second. Two runs of
the script label them, one without a page and one with it. They take turns: the run whose turn it is
not gets a frame a second, which keeps it from taking the camera for lost. So a busy machine is as
busy for both, and no start is measured. The run with the page has turns with nobody looking, and
with viewers, who take each picture as soon as it comes and the state once a second, as a browser
does. The turns of a round come in random order. Only the processor time of the script's process
counts, system time included. A ratio is that of two turns of a round; shown are the median and the
middle half. All frames must be processed, since those that are dropped take time as well: on a busy
machine send fewer (--rate 10). The page takes as much time of a second then, and the ratio is what
it would be with 30 frames a second.
"""

import http.server
import itertools
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import requests
from measure import PROJECT, arguments, leave_without, machine, table

RATE = 30  # frames a second, which the ratio is of
CLIP_FRAMES = 120  # of the clip that are sent again and again
WARM_FRAMES = 10  # before the first turn
SETTLE_S = 1.0  # of a turn, which are not measured
TICKS_S = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = arguments("What the web page costs.")
    parser.set_defaults(repeats=20)
    parser.add_argument("--seconds", type=float, default=4.0, metavar="S", help="of a turn (4)")
    parser.add_argument(
        "--rate", type=int, default=RATE, metavar="N", help=f"frames a second ({RATE})"
    )
    parser.add_argument("--width", type=int, default=1280, metavar="W", help="of frames (1280)")
    parser.add_argument(
        "--viewers", type=int, nargs="+", default=[0, 1, 4], metavar="N", help="(0 1 4)"
    )
    args = parser.parse_args()
    leave_without(args.assets)
    print(f"{machine()}\n", flush=True)
    turns: dict[int | None, list[tuple[float, float]]] = {None: [], **{n: [] for n in args.viewers}}
    with ExitStack() as stack:
        pictures = jpegs(args.assets / "video" / "street.mp4", args.width)
        camera = stack.enter_context(Camera(pictures, args.rate))
        without_page, with_page = (
            stack.enter_context(labelling(camera, served)) for served in (False, True)
        )
        for done in range(args.repeats):
            print(f"round {done + 1} of {args.repeats}", file=sys.stderr, flush=True)
            for viewers in random.sample(list(turns), len(turns)):
                run = without_page if viewers is None else with_page
                turns[viewers].append(run.turn(viewers or 0, args.seconds))
    without = [time_ms for time_ms, _ in turns[None]]
    rows = []
    for viewers, measured in turns.items():
        times, frames = zip(*measured, strict=True)
        ratios = [
            1 + (time_ms - base_ms) * rate / (base_ms * RATE)
            for (time_ms, rate), base_ms in zip(measured, without, strict=True)
        ]
        rows.append(
            [
                "no page" if viewers is None else f"page, {viewers} viewers",
                f"{statistics.median(frames):.1f}",
                f"{statistics.median(times):.1f} ms",
                middle(ratios),
            ]
        )
    print(table(["run", "frames a second", "processor time a frame", "ratio"], rows))


def middle(values: Sequence[float]) -> str:
    """The median and the middle half."""
    low, median, high = statistics.quantiles(values) if len(values) > 1 else (values[0],) * 3
    return f"{median:.3f} ({low:.3f} to {high:.3f})"


def jpegs(clip: Path, width: int) -> list[bytes]:
    """The first frames of a clip, as JPEG of 16:9, so many pixels wide."""
    capture = cv2.VideoCapture(str(clip))
    frames = (capture.read()[1] for _ in range(CLIP_FRAMES))
    return [
        cv2.imencode(".jpg", cv2.resize(f, (width, width * 9 // 16)))[1].tobytes() for f in frames
    ]


class Camera:
    """MJPEG streams without end: the one in turn at a rate, the others with a picture a second."""

    def __init__(self, pictures: Sequence[bytes], rate: int):
        self.in_turn = ""  # the path of the stream
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                start_s = time.monotonic()
                with suppress(OSError):  # the reader has left
                    for number in itertools.count():
                        if number % rate == 0 or self.path == camera.in_turn:
                            picture = pictures[number % len(pictures)]
                            self.wfile.write(
                                b"--frame\r\nContent-Type: image/jpeg\r\n"
                                b"Content-Length: %d\r\n\r\n%b\r\n" % (len(picture), picture)
                            )
                        time.sleep(max(0.0, start_s + number / rate - time.monotonic()))

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def labelling(camera: Camera, served: bool) -> Iterator["LabellingRun"]:
    """A run of the script on a stream of the camera, with its page or without."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    stream = f"/{port}.mjpg"
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "faces.jsonl")
        command = [
            sys.executable, str(PROJECT / "detect_mask_video.py"),
            "--source", f"{camera.url}{stream}", "--detector", "builtin", "--no-display",
            "--reconnect", "0", "--json", str(record),
            *(["--serve", str(port)] if served else []),
        ]  # fmt: skip
        with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL) as process:
            try:
                camera.in_turn = stream
                while not record.exists() or lines(record) < WARM_FRAMES:
                    if process.poll() is not None:
                        raise RuntimeError(f"the script ended with status {process.returncode}")
                    time.sleep(0.1)
                yield LabellingRun(camera, stream, process.pid, record, f"http://127.0.0.1:{port}/")
            finally:
                process.terminate()


@dataclass(frozen=True)
class LabellingRun:
    camera: Camera
    stream: str
    process: int
    record: Path
    page: str

    def turn(self, viewers: int, seconds: float) -> tuple[float, float]:
        """Milliseconds of processor time a frame, and frames a second, with so many viewers."""
        self.camera.in_turn = self.stream
        stops = threading.Event()
        threads = [
            threading.Thread(target=look, args=(self.page, number, stops))
            for number in range(viewers)
        ]
        for thread in threads:
            thread.start()
        time.sleep(SETTLE_S)
        start_s, first, used_s = time.monotonic(), lines(self.record), processor_s(self.process)
        time.sleep(seconds)
        elapsed_s = time.monotonic() - start_s
        frames, used_s = lines(self.record) - first, processor_s(self.process) - used_s
        stops.set()
        for thread in threads:
            thread.join()
        return 1000 * used_s / frames, frames / elapsed_s


def look(url: str, viewer: int, stops: threading.Event) -> None:
    """Do what the page's script does in a browser."""
    seen, state_s = "", 0.0
    with requests.Session() as session, suppress(requests.ConnectionError):
        while not stops.is_set():
            answer = session.get(f"{url}picture.jpg", params={"viewer": viewer, "after": seen})
            seen = answer.headers.get("Frame-Number", seen)
            if time.monotonic() - state_s >= 1.0:
                state_s = time.monotonic()
                session.get(f"{url}state.json")


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def processor_s(process: int) -> float:
    """Seconds of processor time that a process has used; of Linux."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_S


if __name__ == "__main__":
    main()
