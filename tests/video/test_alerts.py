"""Alerts: when one is given, what its program is told, and what is kept of the face."""

import json
import os
import re
import select
import stat
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from facemask.detect.types import MaskDetection
from facemask.errors import FacemaskError, UsageError
from facemask.geometry import FaceBox
from facemask.images import read_image
from facemask.video import alerts
from facemask.video.alerts import Alerts, alert_labels
from facemask.video.options import command as split_command

FRAME = np.full((120, 160, 3), 90, np.uint8)
NOW = datetime(2026, 11, 24, 18, 5, 9, tzinfo=timezone(timedelta(hours=1)))


@pytest.fixture(autouse=True)
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are waited for however slow the machine, and the time stands still."""
    monkeypatch.setattr(alerts, "CLOSING_WAIT_S", 60.0)
    monkeypatch.setattr(alerts, "_now", lambda: NOW)


def face(track: int | None = 1, label: str = "without_mask") -> MaskDetection:
    return MaskDetection(FaceBox(40, 30, 80, 70, 0.9), label, 0.8, track)


def python(code: str, *arguments: str | Path) -> list[str]:
    """A command that runs Python code, without what makes it start slowly."""
    return [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)]


def alerted(watch: Alerts, frames: list[tuple[float, list[MaskDetection]]]) -> list[int | None]:
    """The track that each frame gives an alert for."""
    return [watch.update(detections, FRAME, time_s) for time_s, detections in frames]


def make_alerts(
    after_s: float = 0.0,
    cooldown_s: float = 0.0,
    command: list[str] | None = None,
    snapshots: Path | None = None,
    log: list[str] | None = None,
) -> Alerts:
    lines = [] if log is None else log
    labels = {"without_mask", "mask_weared_incorrect"}
    return Alerts(command or [], labels, after_s, cooldown_s, snapshots, lines.append)


# When an alert is given

PLAIN, MASK, INCORRECT = "without_mask", "with_mask", "mask_weared_incorrect"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([PLAIN, PLAIN, PLAIN, PLAIN], [2]),
        ([PLAIN, INCORRECT, PLAIN, PLAIN], [2]),
        ([PLAIN, MASK, PLAIN, PLAIN, PLAIN, PLAIN], [4]),
        ([PLAIN, "uncertain", PLAIN, PLAIN, PLAIN], [4]),
        ([PLAIN, None, None, PLAIN], [3]),  # a frame without the face does not interrupt
        ([MASK] * 5, []),
        (["uncertain"] * 5, []),
        (["a class of the user's own"] * 5, []),
    ],
)
def test_an_alert_is_given_after_two_seconds_without_a_mask(
    labels: list[str | None], expected: list[int]
) -> None:
    frames = [(float(s), [face(1, label)] if label else []) for s, label in enumerate(labels)]
    given = alerted(make_alerts(2.0, 60.0), frames)
    assert [second for second, track in enumerate(given) if track] == expected


@pytest.mark.parametrize(
    ("class_names", "wanted", "expected"),
    [
        (["with_mask", "without_mask"], [], ["without_mask"]),
        (["Mask", "no_mask", "incorrect", "scarf"], [], ["no_mask", "incorrect", "scarf"]),
        (["ok", "no mask"], [], ["no mask"]),  # "ok" may be the properly worn mask
        (["Mask", "no_mask", "scarf"], ["scarf"], ["scarf"]),
        (["Mask", "no_mask"], ["without_mask", "No Mask"], ["no_mask"]),
        (["Mask", "no_mask"], ["mask"], ["Mask"]),
        (["cat", "dog"], ["dog"], ["dog"]),
    ],
)
def test_alerts_go_by_what_a_class_means(
    class_names: list[str], wanted: list[str], expected: list[str]
) -> None:
    assert alert_labels(class_names, wanted) == expected


@pytest.mark.parametrize(
    ("class_names", "wanted", "message"),
    [
        (["Mask", "no_mask"], ["no_mask", "beard"], "found beard; .* labels are Mask, no_mask$"),
        (["cat", "dog"], [], "expected --alert-labels with them, .* labels are cat, dog$"),
        (["with_mask", "Mask"], [], "expected --alert-labels with them"),
    ],
)
def test_labels_that_no_alert_can_be_for(
    class_names: list[str], wanted: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        alert_labels(class_names, wanted)


def test_each_track_has_its_own_time() -> None:
    frames = [(0.0, [face(1)]), (1.0, [face(2)]), (2.0, [face(2)]), (3.0, [face(2)])]
    assert alerted(make_alerts(2.0, 60.0), frames) == [None, None, None, 2]


def test_a_face_that_stays_gets_another_alert_after_the_cool_down() -> None:
    frames = [(float(second), [face()]) for second in range(8)]
    assert alerted(make_alerts(1.0, 3.0), frames) == [None, 1, None, None, 1, None, None, 1]


def test_all_faces_share_the_cool_down_and_take_turns() -> None:
    crowd = [face(number) for number in (1, 2, 3)]
    frames = [(float(second), crowd) for second in range(9)]
    given = alerted(make_alerts(0.0, 2.0), frames)
    assert given == [1, None, 2, None, 3, None, 1, None, 2]


def test_after_the_cool_down_the_face_that_waited_longest_is_first() -> None:
    frames = [
        (0.0, [face(5)]),
        (1.0, [face(9)]),
        (2.0, [face(7), face(9)]),
        (3.0, [face(7), face(9), face(5)]),
        (4.0, [face(7)]),
    ]
    assert alerted(make_alerts(0.0, 3.0), frames) == [5, None, None, 9, None]


def test_faces_without_a_track_are_ignored() -> None:
    assert alerted(make_alerts(), [(0.0, [face(None)]), (1.0, [face(None), face(4)])]) == [None, 4]


def test_a_track_is_forgotten_a_minute_after_it_was_seen() -> None:
    watch = make_alerts(5.0, 0.0)
    assert alerted(watch, [(0.0, [face()]), (59.0, [face()])]) == [None, 1]
    assert alerted(watch, [(120.0, []), (121.0, [face()])]) == [None, None]


def test_the_memory_of_tracks_does_not_grow() -> None:
    watch = make_alerts(1.0, 60.0)
    for number in range(1000):  # a new face each second
        watch.update([face(number)], FRAME, float(number))
    assert len(watch._tracks) == alerts.FORGET_S + 1


# The command


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sh", ["sh"]),
        ("sh -c 'echo $A | cat' x\\ y", ["sh", "-c", "echo $A | cat", "x y"]),
        (f"{sys.executable} -V", [sys.executable, "-V"]),
    ],
)
def test_a_command_is_split_as_a_shell_splits_it(text: str, expected: list[str]) -> None:
    assert split_command(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a program and its arguments, found ''"),
        ("''", "expected a program that can be run, found ''"),
        ("sh 'a", "can't read the command"),
        ("no-such-program -x", "expected a program that can be run, found 'no-such-program'"),
        ("/", "expected a program that can be run, found '/'"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused(text: str, message: str) -> None:
    with pytest.raises(ArgumentTypeError, match=message):
        split_command(text)


def test_a_file_that_is_not_executable_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "notify.sh"
    script.write_text("#!/bin/sh\n")
    with pytest.raises(ArgumentTypeError, match=r"notify\.sh"):
        split_command(str(script))
    script.chmod(0o700)
    assert split_command(str(script)) == [str(script)]


REPORT = """
import json, os, sys
print("not to be seen"); print("nor this", file=sys.stderr)
report = {name: value for name, value in os.environ.items() if name.startswith("FACEMASK_")}
report.update(stdin=sys.stdin.read(), arguments=sys.argv[2:], pid=os.getpid(), group=os.getpgrp())
with open(sys.argv[1], "w") as file:
    json.dump(report, file)
"""


@pytest.fixture
def typed() -> Iterator[None]:
    """Something is waiting on our standard input."""
    ours = os.dup(0)
    reader, writer = os.pipe()
    os.write(writer, b"typed for us")
    os.dup2(reader, 0)
    os.close(reader)
    os.close(writer)
    yield
    os.dup2(ours, 0)
    os.close(ours)


@pytest.mark.usefixtures("typed")
def test_the_program_is_told_what_was_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FACEMASK_ASSETS", raising=False)
    monkeypatch.setenv("FACEMASK_SNAPSHOT", "of another run")
    monkeypatch.setenv("FACEMASK_MINE", "kept")
    report, log = tmp_path / "report.json", []
    command = python(REPORT, report, "$HOME", "a b; exit 3", "*")
    with make_alerts(command=command, log=log) as watch:
        assert watch.update([face(7, INCORRECT)], FRAME, 12.3456) == 7
    seen = json.loads(report.read_text())
    pid = seen.pop("pid")
    assert seen == {
        "FACEMASK_LABEL": "mask_weared_incorrect",
        "FACEMASK_TRACK": "7",
        "FACEMASK_TIME": "2026-11-24T18:05:09+01:00",
        "FACEMASK_TIME_S": "12.346",
        "FACEMASK_MINE": "kept",
        "stdin": "",
        "arguments": ["$HOME", "a b; exit 3", "*"],
        "group": pid,
    }
    assert log == []
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ChildProcessError):  # it was waited for: no zombie is left
        os.waitpid(pid, os.WNOHANG)


def test_the_time_has_its_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert alerts._now().utcoffset() is not None


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("raise SystemExit(3)", "failed: status 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "failed: ended by signal 15"),
    ],
)
def test_each_program_that_fails_is_logged(code: str, line: str) -> None:
    log: list[str] = []
    with make_alerts(command=python(code), log=log) as watch:
        alerted(watch, [(0.0, [face()]), (1.0, [face()])])
    assert log == [f"alert: {sys.executable} {line}"] * 2


def test_a_failure_is_logged_while_the_video_goes_on() -> None:
    log: list[str] = []
    watch = make_alerts(0.0, 1e9, python("raise SystemExit(3)"), None, log)
    until = time.monotonic() + 60
    while not log and time.monotonic() < until:
        watch.update([face()], FRAME, 0.0)
        time.sleep(0.01)
    assert log == [f"alert: {sys.executable} failed: status 3"]


def test_a_program_that_cannot_be_started_is_logged(tmp_path: Path) -> None:
    log: list[str] = []
    missing = tmp_path / "notify"
    with make_alerts(command=[str(missing)], log=log) as watch:
        assert alerted(watch, [(0.0, [face()]), (1.0, [face()])]) == [1, 1]
    assert log == [f"alert: {missing} can't be started: No such file or directory"] * 2


# Both hold the pipe open for as long as they live; `ready` is written once both do.
HANG = """
import subprocess, sys, time
pipe = open(sys.argv[1], "wb", buffering=0)
sleep = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(50)"]
subprocess.Popen(sleep, pass_fds=[pipe.fileno()])
pipe.write(b"ready")
time.sleep(50)
"""


class Hanging:
    """A program with a child, which both run until they are ended."""

    def __init__(self, folder: Path):
        pipe = folder / "pipe"
        os.mkfifo(pipe)
        self.command = python(HANG, pipe)
        self._pipe = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    def await_start(self) -> None:
        assert self._read() == b"ready"

    def has_ended(self) -> bool:
        """Waits for it; whether the child has ended too."""
        return self._read() == b""

    def _read(self) -> bytes | None:
        ready, _, _ = select.select([self._pipe], [], [], 40)
        return os.read(self._pipe, 100) if ready else None

    def close(self) -> None:
        os.close(self._pipe)


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Hanging]:
    program = Hanging(tmp_path)
    yield program
    program.close()


def test_a_program_that_hangs_is_ended_with_its_child(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []
    with make_alerts(0.0, 1e9, hanging.command, None, log) as watch:
        watch.update([face()], FRAME, 0.0)
        hanging.await_start()
        watch.update([face()], FRAME, 1.0)
        assert log == []
        monkeypatch.setattr(time, "monotonic", lambda: 1e12)
        watch.update([face()], FRAME, 2.0)
        watch.update([face()], FRAME, 3.0)
        assert hanging.has_ended()
    assert log == [f"alert: {sys.executable} was ended: it ran for 30 seconds"]


def test_what_still_runs_at_the_end_is_ended_with_its_child(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "CLOSING_WAIT_S", 0.05)
    log: list[str] = []
    watch = make_alerts(0.0, 1e9, hanging.command, None, log)
    watch.update([face()], FRAME, 0.0)
    hanging.await_start()
    with watch:
        pass
    assert hanging.has_ended()
    with watch:
        pass  # the end does nothing more
    assert log == [f"alert: {sys.executable} was ended: the video is over"]


def test_an_impatient_ctrl_c_at_the_end_leaves_nothing_running(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = time.sleep

    def interrupt(seconds: float) -> None:
        monkeypatch.setattr(time, "sleep", sleep)
        raise KeyboardInterrupt

    watch = make_alerts(0.0, 1e9, hanging.command)
    watch.update([face()], FRAME, 0.0)
    hanging.await_start()
    monkeypatch.setattr(time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt), watch:
        pass
    assert hanging.has_ended()


def test_only_so_many_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "MAX_RUNNING", 2)
    log: list[str] = []
    gate = tmp_path / "gate"
    code = (
        "import os, sys, time\n"
        "open(f'{sys.argv[1]}/' + os.environ['FACEMASK_TRACK'], 'w')\n"
        "while not os.path.exists(sys.argv[2]): time.sleep(0.01)"
    )
    ran = tmp_path / "ran"
    ran.mkdir()
    with make_alerts(0.0, 0.0, python(code, ran, gate), None, log) as watch:
        crowd = [face(number) for number in range(5)]
        assert alerted(watch, [(0.0, crowd)] * 5) == [0, 1, 2, 3, 4]
        gate.touch()
    assert sorted(path.name for path in ran.iterdir()) == ["0", "1"]
    assert log == [f"alert: {sys.executable} was not started: 2 are still running"] * 3


# Snapshots


def test_no_picture_is_kept_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert alerted(make_alerts(), [(0.0, [face()])]) == [1]
    assert list(tmp_path.iterdir()) == []


def test_a_picture_of_the_face_and_its_surroundings_is_kept_for_its_owner_only(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "new" / "snapshots"
    frame = FRAME.copy()
    frame[30:70, 40:80] = 250
    watch = make_alerts(0.0, 60.0, snapshots=folder)
    assert list(folder.iterdir()) == []
    assert watch.update([face(3)], frame, 0.0) == 3
    assert watch.update([face(3)], frame, 1.0) is None  # no alert, no picture
    (picture,) = folder.iterdir()
    assert re.fullmatch(r"2026-11-24T18-05-09_track-3_\w+\.jpg", picture.name)
    assert stat.S_IMODE(picture.stat().st_mode) == 0o600
    crop = read_image(picture)
    assert crop.shape == (64, 64, 3)  # 40 pixels and 30 % of them on each side
    assert crop[32, 32].tolist() == pytest.approx([250] * 3, abs=3)
    assert crop[2, 2].tolist() == pytest.approx([90] * 3, abs=3)


def test_a_picture_never_overwrites_another(tmp_path: Path) -> None:
    assert alerted(make_alerts(snapshots=tmp_path), [(0.0, [face()])] * 3) == [1, 1, 1]
    assert len(list(tmp_path.glob("2026-11-24T18-05-09_track-1_*.jpg"))) == 3


def test_the_program_is_told_where_the_picture_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("kept")
    with make_alerts(command=python(REPORT, tmp_path / "report"), snapshots=folder) as watch:
        watch.update([face()], FRAME, 0.0)
    report = json.loads((tmp_path / "report").read_text())
    assert [report["FACEMASK_SNAPSHOT"]] == [str(tmp_path / path) for path in folder.iterdir()]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that stands for a full disk")
def test_a_full_disk_stops_neither_the_video_nor_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_file = os.open

    def open_on_full_disk(path: str, flags: int, mode: int = 0o777) -> int:
        if not path.endswith(".jpg"):
            return open_file(path, flags, mode)
        os.close(open_file(path, flags, mode))
        return open_file("/dev/full", os.O_WRONLY)

    log: list[str] = []
    folder, report = tmp_path / "kept", tmp_path / "report"
    watch = make_alerts(0.0, 0.0, python(REPORT, report), folder, log)
    monkeypatch.setattr(os, "open", open_on_full_disk)
    with watch:
        assert watch.update([face()], FRAME, 0.0) == 1
    assert log == [f"alert: no snapshot was saved: {folder}: No space left on device"]
    assert list(folder.iterdir()) == []
    assert "FACEMASK_SNAPSHOT" not in json.loads(report.read_text())


def test_a_folder_that_was_deleted_is_logged(tmp_path: Path) -> None:
    folder, log = tmp_path / "kept", []
    watch = make_alerts(snapshots=folder, log=log)
    folder.rmdir()
    assert alerted(watch, [(0.0, [face()])]) == [1]
    assert log == [f"alert: no snapshot was saved: {folder}: No such file or directory"]


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_video_starts(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FacemaskError, match=r"file: expected a folder for snapshots, found a file"):
        make_alerts(snapshots=tmp_path / "file")
    with pytest.raises(FacemaskError, match=r"deep.*: can't be written: Not a directory"):
        make_alerts(snapshots=tmp_path / "file" / "deep")
