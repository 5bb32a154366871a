"""Memory and speed of a long run: an hour of video, from a looped file.

    python benchmarks/bench_long_run.py

Runs the video script on a file that starts again at its end, as fast as possible, and ends it as
Ctrl-C does after `--frames` (90,000 are an hour at 25 a second). Memory is the resident set of the
process, sampled twice a second; frames a second are counted by the lines of its record.
"""

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from measure import PROJECT, arguments, leave_without, machine, table


def main() -> None:
    parser = arguments("Memory and speed of a long run.")
    add = parser.add_argument
    add("--frames", type=int, default=90_000, metavar="N", help="(90000)")
    add("--parts", type=int, default=6, metavar="N", help="rows of the table (6)")
    add("--detector", default="builtin", help="what finds the faces (builtin)")
    add("--options", default="", help="more options of the script")
    args = parser.parse_args()
    leave_without(args.assets)
    print(f"{machine()}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "faces.jsonl")
        command = [
            sys.executable, str(PROJECT / "detect_mask_video.py"), "--no-display", "--loop",
            "--source", str(args.assets / "video" / "street.mp4"), "--detector", args.detector,
            "--face", str(args.assets / "face_detector"), "--model", str(args.model),
            "--json", str(record), "--csv", str(Path(folder, "tracks.csv")), *args.options.split(),
        ]  # fmt: skip
        with subprocess.Popen(
            command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            samples = sample(process, record, args.frames)
            process.terminate()  # a process in the background may ignore Ctrl-C
            output, _ = process.communicate(timeout=60)
    print(rows(samples, args.parts))
    print(f"\nthreads: {samples[0][3]} at first, {samples[-1][3]} at last")
    print(output.strip().splitlines()[-2:], f"status {process.returncode}")


def sample(
    process: subprocess.Popen[str], record: Path, frames: int
) -> list[tuple[float, int, float, int]]:
    """Seconds, frames, MB and threads, twice a second, from the hundredth frame on."""
    samples, done, position, start = [], 0, 0, time.monotonic()
    pause = threading.Event()
    while done < frames and process.poll() is None:
        pause.wait(0.5)
        if not record.exists():
            continue
        with record.open("rb") as file:
            file.seek(position)
            new = file.read()
        done, position = done + new.count(b"\n"), position + len(new)
        status = Path(f"/proc/{process.pid}/status").read_text()
        values = dict(line.split(":", 1) for line in status.splitlines())
        if done > 100 and "VmRSS" in values:
            memory = int(values["VmRSS"].split()[0]) / 1024
            samples.append((time.monotonic() - start, done, memory, int(values["Threads"])))
    return samples


def rows(samples: list[tuple[float, int, float, int]], parts: int) -> str:
    size = len(samples) // parts
    lines = []
    for number in range(parts):
        chunk = samples[number * size : (number + 1) * size]
        seconds, frames = chunk[-1][0] - chunk[0][0], chunk[-1][1] - chunk[0][1]
        memory = [sample[2] for sample in chunk]
        lines.append(
            [
                f"{chunk[-1][1]}",
                f"{frames / seconds:.1f}",
                f"{max(memory):.0f}",
                f"{min(memory):.0f}",
            ]
        )
    return table(["frames so far", "frames a second", "most MB", "least MB"], lines)


if __name__ == "__main__":
    main()
