import os
import signal
import subprocess
import sys

import pytest

from facemask import startup
from facemask.files import PROJECT

from .conftest import obey_ctrl_c

COMMANDS = [
    ["detect_mask_image.py", "--image", "examples"],
    ["detect_mask_video.py", "--source", "examples", "--no-display"],
    ["train_mask_detector.py", "--dataset", "dataset", "--dry-run"],
    ["-m", "facemask.downloads", "dataset"],
    ["-m", "facemask.evaluate", "--dataset", "dataset"],
    ["-m", "facemask.sample_dataset", "drawn"],
    ["-m", "facemask.train_face_detector", "--scenes", "scenes"],
]


@pytest.mark.parametrize(
    ("command", "imported"),
    [
        *((command, module) for command in COMMANDS for module in ("facemask.startup", "argparse")),
        *((command, "numpy") for command in COMMANDS[:3]),
    ],
    ids=str,
)
def test_ctrl_c_while_modules_are_imported_shows_no_traceback(
    command: list[str], imported: str
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", *command], cwd=PROJECT, preexec_fn=obey_ctrl_c,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.split("|")[-1].strip() == imported and process.poll() is None:
            if imported == "facemask.startup":  # the line comes before the function is called
                next(process.stderr)
            process.send_signal(signal.SIGINT)
            break
    lines += process.stderr.readlines()
    status = process.wait()
    messages = [line for line in lines if not line.startswith("import time:")]
    assert (status, messages) in ((-signal.SIGINT, []), (130, ["[ERROR] interrupted\n"]))


def test_ctrl_c_stays_ignored_where_the_shell_ignores_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        startup.end_quietly_on_ctrl_c()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_older_python_is_told_in_one_line() -> None:
    """A real one is rare, so that this one states another version."""
    code = (
        "import sys, runpy; sys.version_info = (3, 10, 4, 'final', 0); sys.version = '3.10.4 x';"
        f"runpy.run_path({str(PROJECT / 'detect_mask_image.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        f"[ERROR] {sys.executable}: expected Python 3.11 or later, found 3.10.4\n"
    )
