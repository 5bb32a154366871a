"""What the benchmarks share: running a process and measuring it, the machine, the input, tables.

Nothing large is imported here: a new process's peak memory would count what its parent had.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
ASSETS = Path(os.environ.get("FACEMASK_ASSETS", PROJECT.parent / "shared" / "assets"))


@dataclass(frozen=True)
class Run:
    """One process, from its start to its end."""

    seconds: float
    first: float  # seconds till the awaited file was there; as `seconds` where none was awaited
    peak: float  # largest resident memory, MB
    output: str


def run(*command: str | Path, awaited: Path | None = None) -> Run:
    """Run a Python script of the project in a process of its own, and measure it.

    Raises RuntimeError when it fails or the awaited file is not there at its end.
    """
    script, *arguments = map(str, command)
    print(f"{script} {' '.join(arguments)[:100]}", file=sys.stderr, flush=True)
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, str(PROJECT / script), *arguments],
            cwd=PROJECT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        first, ended = None, 0
        while not ended:
            # wait4 alone tells the memory of this one process.
            ended, status, usage = os.wait4(process.pid, os.WNOHANG if awaited else 0)
            if awaited and first is None and awaited.exists():
                first = time.perf_counter() - start
            if not ended:
                time.sleep(0.002)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read()
    if process.returncode or (awaited and first is None):
        raise RuntimeError(f"{script} failed with status {process.returncode}:\n{said[-2000:]}")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kilobytes on Linux
    return Run(seconds, seconds if first is None else first, usage.ru_maxrss / unit, said)


def machine() -> str:
    """One line on the processor, the versions, and the load when the benchmark started."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [line for line in information.read_text().splitlines() if "model name" in line]
        processor = names[0].partition(":")[2].strip() if names else processor
    versions = ", ".join(
        f"{name} {version(package)}"
        for name, package in (
            ("TensorFlow", "tensorflow"), ("LiteRT", "ai-edge-litert"), ("OpenCV", "opencv-python")
        )
    )  # fmt: skip
    return (
        f"{cores} cores, {processor}; Python {platform.python_version()}, {versions};"
        f" load average {os.getloadavg()[0]:.1f}"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def compared(classic: Sequence[float], ours: Sequence[float]) -> str:
    """How many times the second figures the first are: median, and range, of the pairs' ratios."""
    ratios = [one / other for one, other in zip(classic, ours, strict=True)]
    return f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser with what every benchmark of detection takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--assets", type=Path, default=ASSETS, metavar="DIR", help="networks, photographs, video"
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=PROJECT / "mask_detector.keras",
        metavar="FILE",
        help="a .keras model; ours takes its .tflite twin, which is made where there is none",
    )
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="runs of each way (3)")
    return parser


def leave_without(assets: Path) -> None:
    """End the program with one line where the assets are absent."""
    if not assets.is_dir():
        sys.exit(f"skipped: no assets at {assets}")


def model_with_twin(model: Path, folder: Path) -> Path:
    """A .keras file in the folder, and beside it the .tflite that detection will take for it."""
    placed = folder / model.name
    placed.symlink_to(model.resolve())
    twin = model.with_suffix(".tflite")
    if twin.exists():
        placed.with_suffix(".tflite").symlink_to(twin.resolve())
    _make(MAKE_TWIN, placed)
    return placed


def classic_model(folder: Path) -> Path:
    """A .keras file as the tutorial's training makes it, for 224x224 pixels; it has learnt nothing.

    What it says of a face is of no use, and takes as long as if it were.
    """
    path = folder / "classic.keras"
    _make(MAKE_CLASSIC, path)
    return path


def _make(code: str, path: Path) -> None:
    """Run code in a process of its own, as it takes TensorFlow."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=PROJECT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{path}: can't be made:\n{done.stderr[-2000:]}")


MAKE_CLASSIC = """
import sys
from facemask.training import build_model
build_model(2, "none").save(sys.argv[1])
"""

MAKE_TWIN = """
import sys
from dataclasses import replace
from pathlib import Path
from facemask import facts
from facemask.backend import load_keras
from facemask.classifier import prefer_tflite
from facemask.export import export_tflite

path = Path(sys.argv[1])
if prefer_tflite(path, print) == path:
    said = replace(facts.read(path) or facts.ModelMetadata(), twin_of=facts.weights_digest(path))
    path.with_suffix(".tflite").unlink(missing_ok=True)
    model = load_keras().models.load_model(path, compile=False)
    export_tflite(path.with_suffix(".tflite"), model, said)
"""
