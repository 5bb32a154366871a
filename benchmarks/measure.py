"""What the benchmarks share: measuring processes, describing the machine, models, tables.

No large library is imported here, because a child's peak memory would count what its parent has.
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
from importlib.metadata import distributions, version
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))  # whoever imports this may import the package, from any folder
ASSETS = Path(os.environ.get("FACEMASK_ASSETS", PROJECT.parent / "shared" / "assets"))


@dataclass(frozen=True)
class Run:
    """One process, measured from its start to its end."""

    seconds: float
    first: float  # seconds until the awaited file existed; without such a file as `seconds`
    processor: float  # seconds of processor time, with those of its own children
    peak: float  # largest resident memory, MB
    output: str


def run(*command: str | Path, awaited: Path | None = None) -> Run:
    """Run a Python script of the project in its own process, and measure it.

    Raises RuntimeError when it fails, or ends without the awaited file.
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
        first = None
        while True:
            # Only wait4 reports the memory of this one process.
            ended, status, usage = os.wait4(process.pid, os.WNOHANG if awaited else 0)
            if awaited and first is None and awaited.exists():
                first = time.perf_counter() - start
            if ended:
                break
            time.sleep(0.002)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode or (awaited and first is None):
        raise RuntimeError(f"{script} failed with status {process.returncode}:\n{text[-2000:]}")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kilobytes on Linux
    first = seconds if first is None else first
    processor = usage.ru_utime + usage.ru_stime
    return Run(seconds, first, processor, usage.ru_maxrss / unit, text)


def machine() -> str:
    """One line on the processor, the versions, and the load when the benchmark started."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        processor = names[0].partition(":")[2].strip() if names else processor
    packages = {"tensorflow": "TensorFlow", "ai-edge-litert": "LiteRT"}
    packages |= dict.fromkeys(("opencv-python", "opencv-python-headless"), "OpenCV")
    versions = ", ".join(
        f"{name} {version(package)}"
        for package, name in packages.items()
        if any(distributions(name=package))  # a light install has no TensorFlow
    )
    return (
        f"{cores} cores, {processor}; Python {platform.python_version()}, {versions};"
        f" load average {os.getloadavg()[0]:.1f}"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def compared(classic: Sequence[float], ours: Sequence[float]) -> str:
    """The ratios of classic to ours, pair by pair: their median and range."""
    ratios = [first / second for first, second in zip(classic, ours, strict=True)]
    return f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser with the arguments that all benchmarks of detection have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--assets", type=Path, default=ASSETS, metavar="DIR", help="networks, photographs, video"
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=PROJECT / "pretrained" / "mask_detector.keras",
        metavar="FILE",
        help="a .keras model; ours uses its TFLite export, which is made if there is none",
    )
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="runs of each way (3)")
    return parser


def leave_without(assets: Path) -> None:
    """End the program with one line if the assets are missing."""
    if not assets.is_dir():
        sys.exit(f"skipped: no assets at {assets}")


def model_with_export(model: Path, folder: Path) -> Path:
    """A link to the .keras file in the folder, and beside it the export that detection uses."""
    placed = folder / model.name
    placed.symlink_to(model.resolve())
    export = model.with_suffix(".tflite")
    if export.exists():
        placed.with_suffix(".tflite").symlink_to(export.resolve())
    _make(MAKE_EXPORT, placed)
    return placed


def classic_model(folder: Path) -> Path:
    """A .keras file as the tutorial's training makes it, for 224x224 pixels, with random weights.

    Its predictions are useless, but take as long as those of a trained model.
    """
    path = folder / "classic.keras"
    _make(MAKE_CLASSIC, path)
    return path


def _make(code: str, path: Path) -> None:
    """Run code that needs TensorFlow, in its own process."""
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
from facemask.train.model import build_model
build_model(2, "none").save(sys.argv[1])
"""

MAKE_EXPORT = """
import sys
from dataclasses import replace
from pathlib import Path
from facemask.detect import metadata
from facemask.detect.classifier import prefer_tflite

path = Path(sys.argv[1])
if prefer_tflite(path, print) == path:
    from facemask.keras_backend import load_keras
    from facemask.train.export import export_tflite

    known = metadata.read(path) or metadata.ModelMetadata()
    export = path.with_suffix(".tflite")
    export.unlink(missing_ok=True)
    model = load_keras().models.load_model(path, compile=False)
    export_tflite(export, model, replace(known, twin_of=metadata.weights_digest(path)))
"""
