"""What the web page of a video run costs: processor time a frame, without it and with viewers.

    python benchmarks/bench_page.py

A camera on this machine sends frames of street.mp4, 1280x720 pixels, 30 times a second. The script
labels them without a page, then with one that nobody looks at, then with viewers, who take each
picture as soon as it comes and the state once a second, as a browser does. Only the processor time
of the script's process counts. The ratios are those of runs one after another, and their median is
shown. A machine that can't process 30 frames a second sends as many pictures with fewer frames:
then the ratios say too much.
"""

import http.server
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import requests
from measure import PROJECT, arguments, leave_without, machine, table

RATE = 30.0  # frames a second
CLIP_FRAMES = 120  # of the clip that are sent again and again
WARM_FRAMES = 60  # that are not measured
TICKS_S = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = arguments("What the web page costs.")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="of a run (10)")
    parser.add_argument("--width", type=int, default=1280, metavar="W", help="of frames (1280)")
    parser.add_argument(
        "--viewers", type=int, nargs="+", default=[0, 1, 4], metavar="N", help="(0 1 4)"
    )
    args = parser.parse_args()
    leave_without(args.assets)
    print(f"{machine()}\n", flush=True)
    times: dict[str, list[float]] = {}
    rates: dict[str, list[float]] = {}
    with camera(jpegs(args.assets / "video" / "street.mp4", args.width)) as url:
        for _ in range(args.repeats):
            for viewers in (None, *args.viewers):
                name = "no page" if viewers is None else f"page, {viewers} viewers"
                time_ms, rate = measured(url, viewers, args.seconds)
                times.setdefault(name, []).append(time_ms)
                rates.setdefault(name, []).append(rate)
    rows = [
        [
            name,
            f"{statistics.median(rates[name]):.1f}",
            f"{statistics.median(times[name]):.1f} ms",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        ]
        for name in times
        for ratios in [[a / b for a, b in zip(times[name], times["no page"], strict=True)]]
    ]
    print(table(["run", "frames a second", "processor time a frame", "ratio"], rows))


def jpegs(clip: Path, width: int) -> list[bytes]:
    """The first frames of a clip, as JPEG of 16:9, so many pixels wide."""
    capture = cv2.VideoCapture(str(clip))
    frames = (capture.read()[1] for _ in range(CLIP_FRAMES))
    return [
        cv2.imencode(".jpg", cv2.resize(f, (width, width * 9 // 16)))[1].tobytes() for f in frames
    ]


@contextmanager
def camera(pictures: list[bytes]) -> Iterator[str]:
    """The address of an MJPEG stream of the pictures, which never ends."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            start, number = time.monotonic(), 0
            with suppress(OSError):  # the reader has left
                while True:
                    picture = pictures[number % len(pictures)]
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}"
                    self.wfile.write(f"{head}\r\n\r\n".encode() + picture + b"\r\n")
                    number += 1
                    time.sleep(max(0.0, start + number / RATE - time.monotonic()))

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/stream.mjpg"
        server.shutdown()


def measured(url: str, viewers: int | None, seconds: float) -> tuple[float, float]:
    """Milliseconds of processor time a frame, and frames a second; viewers: None for no page."""
    print(f"{viewers} viewers", file=sys.stderr, flush=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "faces.jsonl")
        command = [
            sys.executable, str(PROJECT / "detect_mask_video.py"), "--source", url,
            "--detector", "builtin", "--no-display", "--reconnect", "0", "--json", str(record),
            *([] if viewers is None else ["--serve", str(port)]),
        ]  # fmt: skip
        with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL) as process:
            stops = threading.Event()
            threads = [
                threading.Thread(target=look, args=(f"http://127.0.0.1:{port}/", number, stops))
                for number in range(viewers or 0)
            ]
            try:
                while not record.exists() or lines(record) < WARM_FRAMES:
                    if process.poll() is not None:
                        raise RuntimeError(f"the script ended with status {process.returncode}")
                    time.sleep(0.1)
                for thread in threads:
                    thread.start()
                time.sleep(1.0)
                start_s, first, used_s = time.monotonic(), lines(record), processor_s(process.pid)
                time.sleep(seconds)
                frames, used_s = lines(record) - first, processor_s(process.pid) - used_s
                return 1000 * used_s / frames, frames / (time.monotonic() - start_s)
            finally:
                stops.set()
                process.terminate()
                for thread in threads:
                    thread.join()


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
