"""Alerts: when one is given, what its program is told, and what is kept of the face."""

import argparse
import json
import os
import select
import stat
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from facemask.detect.types import MaskDetection
from facemask.errors import FacemaskError
from facemask.geometry import FaceBox
from facemask.images import read_image
from facemask.options import ArgumentParser
from facemask.video import alerts
from facemask.video.alerts import Alerts, split_command

from ..conftest import refusal

FRAME = np.full((120, 160, 3), 90, np.uint8)
NOW = datetime(2026, 11, 24, 18, 5, 9, tzinfo=timezone(timedelta(hours=1)))


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are waited for however slow the machine; the wait ends as they do."""
    monkeypatch.setattr(alerts, "GRACE_S", 60.0)


def face(track: int | None = 1, label: str = "without_mask") -> MaskDetection:
    return MaskDetection(FaceBox(40, 30, 80, 70, 0.9), label, 0.8, track)


def python(code: str, *arguments: str | Path) -> list[str]:
    """A command that runs Python code, without what makes it start slowly."""
    return [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)]


def given(watch: Alerts, frames: list[tuple[float, list[MaskDetection]]]) -> list[list[int]]:
    return [watch.update(detections, FRAME, time_s) for time_s, detections in frames]


def watch_for(
    after_s: float = 0.0,
    cooldown_s: float = 0.0,
    command: list[str] | None = None,
    snapshots: Path | None = None,
    said: list[str] | None = None,
) -> Alerts:
    say = [].append if said is None else said.append
    return Alerts(command or [], after_s, cooldown_s, snapshots, say)


# When an alert is given


def test_an_alert_is_given_once_the_face_was_bare_for_long_enough() -> None:
    frames = [(time_s, [face()]) for time_s in (1.0, 2.0, 2.5, 3.0, 3.5)]
    assert given(watch_for(2.0, 60.0), frames) == [[], [], [], [1], []]


@pytest.mark.parametrize("label", ["with_mask", "uncertain", "a class of the user's own"])
def test_no_other_label_is_an_alert(label: str) -> None:
    frames = [(float(second), [face(1, label)]) for second in range(5)]
    assert given(watch_for(), frames) == [[]] * 5


def test_the_two_bare_labels_are_one_and_the_same_here() -> None:
    frames = [(0.0, [face()]), (1.0, [face(1, "mask_weared_incorrect")]), (2.0, [face()])]
    assert given(watch_for(2.0, 60.0), frames) == [[], [], [1]]


def test_frames_that_miss_the_face_do_not_start_the_time_anew() -> None:
    frames = [(0.0, [face()]), (1.0, []), (2.0, []), (2.5, [face()])]
    assert given(watch_for(2.0, 60.0), frames) == [[], [], [], [1]]


@pytest.mark.parametrize("label", ["with_mask", "uncertain"])
def test_another_label_starts_it_anew(label: str) -> None:
    labels = ["without_mask", label, "without_mask", "without_mask", "without_mask"]
    frames = [(float(second), [face(1, one)]) for second, one in enumerate(labels)]
    assert given(watch_for(2.0, 60.0), frames) == [[], [], [], [], [1]]


def test_another_face_does_not_go_on_with_the_time_of_the_first() -> None:
    frames = [(0.0, [face(1)]), (1.0, [face(2)]), (2.0, [face(2)]), (3.0, [face(2)])]
    assert given(watch_for(2.0, 60.0), frames) == [[], [], [], [2]]


def test_a_face_that_stays_is_told_again_after_the_cool_down() -> None:
    frames = [(float(second), [face()]) for second in range(8)]
    assert given(watch_for(1.0, 3.0), frames) == [[], [1], [], [], [1], [], [], [1]]


def test_the_cool_down_is_that_of_all_faces_and_they_take_turns() -> None:
    crowd = [face(number) for number in (1, 2, 3)]
    frames = [(float(second), crowd) for second in range(9)]
    assert given(watch_for(0.0, 2.0), frames) == [[1], [], [2], [], [3], [], [1], [], [2]]


def test_of_those_who_wait_whoever_was_bare_first_comes_first() -> None:
    frames = [(0.0, [face(5)]), (1.0, [face(9)]), (2.0, [face(7), face(9)]), (4.0, [face(7)])]
    frames.insert(3, (3.0, [face(7), face(9), face(5)]))
    assert given(watch_for(0.0, 3.0), frames) == [[5], [], [], [9], []]


def test_without_a_cool_down_every_face_is_told() -> None:
    assert given(watch_for(), [(0.0, [face(1), face(2)])]) == [[1, 2]]


def test_faces_that_are_not_followed_are_passed_over() -> None:
    assert given(watch_for(), [(0.0, [face(None)]), (1.0, [face(None), face(4)])]) == [[], [4]]


def test_a_track_is_forgotten_a_minute_after_it_was_seen() -> None:
    watch = watch_for(5.0, 0.0)
    assert given(watch, [(0.0, [face()]), (59.0, [face()])]) == [[], [1]]
    assert given(watch, [(120.0, []), (121.0, [face()])]) == [[], []]


def test_what_is_remembered_does_not_grow() -> None:
    watch = watch_for(1.0, 60.0)
    for number in range(10_000):  # a new face each second
        watch.update([face(number)], FRAME, float(number))
    assert len(watch._people) == alerts.FORGET_S + 1


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
        (" ", "expected a program and its arguments, found ' '"),
        ("''", "expected a program that can be run, found ''"),
        ("sh 'a", "can't read the command"),
        ("no-such-program -x", "expected a program that can be run, found 'no-such-program'"),
        ("/", "expected a program that can be run, found '/'"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused(
    text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FacemaskError, match=message):
        split_command(text)

    def main(argv: list[str]) -> int:
        parser = ArgumentParser()
        parser.add_argument("--alert-command", type=split_command)
        return len(parser.parse_args(argv).alert_command)

    assert f"argument --alert-command: {message}" in refusal(
        main, ["--alert-command", text], capsys
    )


def test_a_file_that_may_not_be_run_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "notify.sh"
    script.write_text("#!/bin/sh\n")
    with pytest.raises(argparse.ArgumentTypeError, match=r"notify\.sh"):
        split_command(str(script))
    script.chmod(0o700)
    assert split_command(str(script)) == [str(script)]


REPORT = """
import json, os, sys
print("not to be seen"); print("nor this", file=sys.stderr)
facts = {name: value for name, value in os.environ.items() if name.startswith("FACEMASK_")}
facts.update(stdin=sys.stdin.read(), arguments=sys.argv[2:], pid=os.getpid(), group=os.getpgrp())
with open(sys.argv[1], "w") as file:
    json.dump(facts, file)
"""


@pytest.fixture
def typed() -> Iterator[None]:
    """Something stands on our standard input."""
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
    monkeypatch.setattr(alerts, "_now", lambda: NOW)
    monkeypatch.setenv("FACEMASK_SNAPSHOT", "another one's")
    monkeypatch.setenv("FACEMASK_MINE", "kept")
    report, said, threads = tmp_path / "report.json", [], threading.active_count()
    command = python(REPORT, report, "$HOME", "a b; exit 3", "*")
    with watch_for(command=command, said=said) as watch:
        assert watch.update([face(7, "mask_weared_incorrect")], FRAME, 12.3456) == [7]
        assert threading.active_count() == threads
    told = json.loads(report.read_text())
    pid = told.pop("pid")
    assert told == {
        "FACEMASK_LABEL": "mask_weared_incorrect",
        "FACEMASK_TRACK": "7",
        "FACEMASK_TIME": "2026-11-24T18:05:09+01:00",
        "FACEMASK_TIME_S": "12.346",
        "FACEMASK_MINE": "kept",
        "stdin": "",
        "arguments": ["$HOME", "a b; exit 3", "*"],
        "group": pid,
    }
    assert said == []
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ChildProcessError):  # it was waited for: no zombie is left
        os.waitpid(pid, os.WNOHANG)


def test_the_time_has_its_offset() -> None:
    assert alerts._now().utcoffset() is not None


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("raise SystemExit(3)", "failed: status 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "failed: ended by SIGTERM"),
    ],
)
def test_a_program_that_fails_is_told_each_time(code: str, line: str) -> None:
    said: list[str] = []
    with watch_for(command=python(code), said=said) as watch:
        watch.update([face(1), face(2)], FRAME, 0.0)
    assert said == [f"alert: {sys.executable} {line}"] * 2


def test_a_program_that_fails_is_told_while_the_video_goes_on() -> None:
    said: list[str] = []
    watch = watch_for(0.0, 1e9, python("raise SystemExit(3)"), None, said)
    until = time.monotonic() + 60
    while not said and time.monotonic() < until:
        watch.update([face()], FRAME, 0.0)
        time.sleep(0.01)
    assert said == [f"alert: {sys.executable} failed: status 3"]


def test_a_program_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    gone = tmp_path / "notify"
    with watch_for(command=[str(gone)], said=said) as watch:
        assert given(watch, [(0.0, [face()]), (1.0, [face()])]) == [[1], [1]]
    assert said == [f"alert: {gone} can't be started: No such file or directory"] * 2


def test_an_argument_that_no_program_can_have_is_told() -> None:
    said: list[str] = []
    assert given(watch_for(command=["sh", "\0"], said=said), [(0.0, [face()])]) == [[1]]
    assert said == ["alert: sh can't be started: embedded null byte"]


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
    said: list[str] = []
    with watch_for(0.0, 1e9, hanging.command, None, said) as watch:
        watch.update([face()], FRAME, 0.0)
        hanging.await_start()
        watch.update([face()], FRAME, 1.0)
        assert said == []
        monkeypatch.setattr(alerts, "TIME_LIMIT_S", 0.0)
        watch.update([face()], FRAME, 2.0)
        watch.update([face()], FRAME, 3.0)
        assert hanging.has_ended()
    assert said == [f"alert: {sys.executable} was ended: it ran for 0 seconds"]


def test_what_still_runs_at_the_end_is_ended_with_its_child(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "GRACE_S", 0.05)
    said: list[str] = []
    watch = watch_for(0.0, 1e9, hanging.command, None, said)
    watch.update([face()], FRAME, 0.0)
    hanging.await_start()
    watch.close()
    assert hanging.has_ended()
    watch.close()  # does nothing more
    assert said == [f"alert: {sys.executable} was ended: the video is over"]


def test_an_impatient_ctrl_c_at_the_end_leaves_nothing_running(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = time.sleep

    def interrupt(seconds: float) -> None:
        monkeypatch.setattr(time, "sleep", sleep)
        raise KeyboardInterrupt

    watch = watch_for(0.0, 1e9, hanging.command)
    watch.update([face()], FRAME, 0.0)
    hanging.await_start()
    monkeypatch.setattr(time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        watch.close()
    assert hanging.has_ended()


def test_only_so_many_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "MOST_AT_ONCE", 2)
    said: list[str] = []
    gate = tmp_path / "gate"
    code = (
        "import os, sys, time\n"
        "open(f'{sys.argv[1]}/' + os.environ['FACEMASK_TRACK'], 'w')\n"
        "while not os.path.exists(sys.argv[2]): time.sleep(0.01)"
    )
    ran = tmp_path / "ran"
    ran.mkdir()
    with watch_for(0.0, 0.0, python(code, ran, gate), None, said) as watch:
        crowd = [face(number) for number in range(5)]
        assert watch.update(crowd, FRAME, 0.0) == [0, 1, 2, 3, 4]
        gate.touch()
    assert sorted(path.name for path in ran.iterdir()) == ["0", "1"]
    assert said == [f"alert: {sys.executable} was not started: 2 of it still run"]


# Snapshots


def test_no_picture_is_kept_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert given(watch_for(), [(0.0, [face()])]) == [[1]]
    assert list(tmp_path.iterdir()) == []


def test_a_picture_of_the_face_and_its_surroundings_is_kept_for_its_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "_now", lambda: NOW)
    folder = tmp_path / "new" / "snapshots"
    frame = FRAME.copy()
    frame[30:70, 40:80] = 250
    watch = watch_for(0.0, 60.0, snapshots=folder)
    assert watch.update([face(3)], frame, 0.0) == [3]
    assert watch.update([face(3)], frame, 1.0) == []  # no alert, no picture
    (picture,) = folder.iterdir()
    assert picture.name == "2026-11-24T18-05-09_track-3.jpg"
    assert stat.S_IMODE(picture.stat().st_mode) == 0o600
    crop = read_image(picture)
    assert crop.shape == (64, 64, 3)  # 40 pixels and 30 % of them on each side
    assert crop[32, 32].tolist() == pytest.approx([250] * 3, abs=3)
    assert crop[2, 2].tolist() == pytest.approx([90] * 3, abs=3)


def test_a_picture_is_never_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "_now", lambda: NOW)
    first = tmp_path / "2026-11-24T18-05-09_track-1.jpg"
    first.write_text("of another run")
    given(watch_for(snapshots=tmp_path), [(0.0, [face()]), (0.1, [face()])])
    assert first.read_text() == "of another run"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "2026-11-24T18-05-09_track-1-2.jpg",
        "2026-11-24T18-05-09_track-1-3.jpg",
        "2026-11-24T18-05-09_track-1.jpg",
    ]


def test_the_program_is_told_where_the_picture_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("kept")
    with watch_for(command=python(REPORT, tmp_path / "report"), snapshots=folder) as watch:
        watch.update([face()], FRAME, 0.0)
    told = json.loads((tmp_path / "report").read_text())
    assert [told["FACEMASK_SNAPSHOT"]] == [str(tmp_path / path) for path in folder.iterdir()]


def test_a_picture_that_cannot_be_written_stops_neither_video_nor_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(path: Path, image: np.ndarray) -> None:
        raise FacemaskError(f"{path.parent}: can't be written: No space left on device")

    monkeypatch.setattr(alerts, "write_image", fill_the_disk)
    folder, said = tmp_path / "kept", []
    with watch_for(0.0, 0.0, python(REPORT, tmp_path / "report"), folder, said) as watch:
        assert watch.update([face()], FRAME, 0.0) == [1]
    assert said == [
        f"alert: no picture was kept: {folder}: can't be written: No space left on device"
    ]
    assert list(folder.iterdir()) == []
    assert "FACEMASK_SNAPSHOT" not in json.loads((tmp_path / "report").read_text())


def test_a_folder_that_has_gone_is_told(tmp_path: Path) -> None:
    folder, said = tmp_path / "kept", []
    watch = watch_for(snapshots=folder, said=said)
    folder.rmdir()
    assert given(watch, [(0.0, [face()])]) == [[1]]
    assert said == [f"alert: {folder}: no picture was kept: No such file or directory"]


def test_a_face_outside_the_frame_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    outside = MaskDetection(FaceBox(500, 500, 540, 540, 0.9), "without_mask", 0.8, 1)
    assert given(watch_for(snapshots=tmp_path, said=said), [(0.0, [outside])]) == [[1]]
    assert [line.startswith("alert: no picture was kept: Expected a box") for line in said] == [
        True
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_video_starts(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FacemaskError, match=r"file: expected a folder for snapshots, found a file"):
        watch_for(snapshots=tmp_path / "file")
    with pytest.raises(FacemaskError, match=r"deep: can't be written to: Not a directory"):
        watch_for(snapshots=tmp_path / "file" / "deep")


def test_the_check_leaves_nothing_in_the_folder(tmp_path: Path) -> None:
    watch_for(snapshots=tmp_path / "a" / "b").close()
    assert list((tmp_path / "a" / "b").iterdir()) == []
