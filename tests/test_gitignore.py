"""Whatever the documented commands write stays out of version control: faces are personal data."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from facemask.files import PROJECT, beside

pytestmark = pytest.mark.skipif(
    not (shutil.which("git") and (PROJECT / ".git").exists()), reason="not a git repository"
)

DOCUMENTS = ("*.md", "*/*.md", "*.py", "benchmarks/*.py")
OUTPUTS = {
    *("-o", "--output", "--json", "--csv", "--parts", "--snapshots", "--plot", "--report"),
    *("--cache", "--tensorboard", "--keep-weights"),
}
INPUTS = {
    *("-i", "--image", "--source", "-d", "--dataset", "--scenes", "--detected", "--video"),
    *("--groups",),
}
# What is written without being named.
UNNAMED = [
    "example_01_mask.png",
    "frame_2026-01-31T12-00-00.000000.png",
    "mask_detector.keras",
    "mask_detector.tflite",
    "mask_detector.split.json",
    "plot.png",
    str(beside(Path("annotated.mp4"))),
    str(beside(Path("snapshots/face.jpg"))),
]


def documented_paths(options: set[str]) -> set[str]:
    """The relative paths that commands in the documents have behind one of these options."""
    paths = set()
    for path in (path for pattern in DOCUMENTS for path in PROJECT.glob(pattern)):
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for command in re.findall(r"\bpython (?:-m )?[\w./]+ [^`\n]*", text):
            option = ""
            for word in shlex.split(command, comments=True):
                if word.startswith("-"):
                    option = word
                elif option in options:
                    paths.add(word)
    return {path for path in paths if re.match(r"[^\W\d][^:]*$", path)}


def is_ignored(path: str) -> bool:
    """Whether git ignores a file of that name, or one in a folder of that name."""
    inside = path if Path(path).suffix else f"{path.rstrip('/')}/file"
    done = subprocess.run(["git", "check-ignore", "-q", "--no-index", inside], cwd=PROJECT)
    return done.returncode == 0


def test_what_the_documented_commands_write_is_ignored() -> None:
    outputs = documented_paths(OUTPUTS)
    assert {"out.png", "annotated/", "found.json", "found.csv", "annotated.mp4"} <= outputs
    assert [path for path in sorted({*outputs, *UNNAMED}) if not is_ignored(path)] == []


def test_the_photographs_and_videos_that_the_documented_commands_read_are_ignored() -> None:
    inputs = documented_paths(INPUTS)
    assert {"photos/", "street.mp4", "dataset", "scenes", "my_photographs"} <= inputs
    # But for placeholders, as DIR, and what is part of the project.
    yours = {path for path in inputs if path[0].islower() and not (PROJECT / path).is_file()}
    yours -= {"examples"}
    assert [path for path in sorted(yours) if not is_ignored(path)] == []


def test_what_belongs_to_the_project_is_not() -> None:
    for path in ("README.md", "dataset/README.md", "docs/plot.png", "examples/example_01.png"):
        assert not is_ignored(path), path
