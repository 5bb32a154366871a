"""Writes options.md beside it: what each command prints for --help.

python docs/make_options.py
"""

import os
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
COMMANDS = (
    "detect_mask_image.py",
    "detect_mask_video.py",
    "train_mask_detector.py",
    "-m facemask.evaluate",
    "-m facemask.export",
    "-m facemask.train_face_detector",
    "-m facemask.downloads",
    "-m facemask.sample_dataset",
)
HEAD = """# All the options

What `--help` prints. `python docs/make_options.py` writes this page, on Python 3.11 or 3.12, since
later ones lay help texts out differently.

Messages begin with `[INFO]`. Warnings (`[WARN]`) and errors (`[ERROR]`, one line each) go to
standard error. The exit status is 0, or 1 after an error, 2 for wrong arguments, 130 after Ctrl-C,
which ends a video as `q` does, with 0.
"""


def page() -> str:
    """The text of options.md."""
    return HEAD + "".join(
        f"\n## python {command}\n\n```\n{help_text(command).rstrip()}\n```\n"
        for command in COMMANDS
    )


def help_text(command: str) -> str:
    return subprocess.run(
        [sys.executable, *command.split(), "--help"],
        cwd=DOCS.parent,
        env={**os.environ, "COLUMNS": "100", "PYTHONPATH": str(DOCS.parent)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


if __name__ == "__main__":
    (DOCS / "options.md").write_text(page(), encoding="utf-8")
