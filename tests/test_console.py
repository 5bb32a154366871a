import argparse
import io
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from tqdm import tqdm

from facemask import console, options
from facemask.errors import FacemaskError


def raising(problem: BaseException):
    def main() -> int:
        raise problem

    return main


def interrupted_in_a_lock() -> int:
    """As Condition.wait does when Ctrl-C comes at the wrong moment."""
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise RuntimeError("cannot release un-acquired lock")  # noqa: B904


@pytest.mark.parametrize(
    ("main", "status", "message"),
    [
        (lambda: 0, 0, ""),
        (lambda: 1, 1, ""),
        (raising(FacemaskError("a.png:\nbroken")), 1, "[ERROR] a.png: broken\n"),
        (
            raising(ImportError("libGL.so.1: cannot open shared object file")),
            1,
            "[ERROR] libGL.so.1: cannot open shared object file; on a server without a desktop"
            " `apt-get install libgl1 libglib2.0-0`\n",
        ),
        (
            raising(ModuleNotFoundError("No module named 'keras'")),
            1,
            f"[ERROR] {sys.executable}: No module named 'keras'; expected what"
            " `pip install -r requirements.txt` installs\n",
        ),
        (
            raising(OSError(36, "File name too long", "xxx.png")),
            1,
            "[ERROR] xxx.png: File name too long\n",
        ),
        (raising(KeyboardInterrupt()), 130, "[ERROR] interrupted\n"),
        (interrupted_in_a_lock, 130, "[ERROR] interrupted\n"),
    ],
)  # fmt: skip
def test_run_ends_with_a_status_and_at_most_one_line(
    main, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        console.run(main)
    assert end.value.code == status
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_other_signals_end_a_run_as_ctrl_c_does(name: str) -> None:
    number = getattr(signal, name, None)
    if number is None:
        pytest.skip(f"no {name} here")

    def main() -> int:
        os.kill(os.getpid(), number)
        time.sleep(10)
        return 0

    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as end:
            console.run(main)
    finally:
        signal.signal(number, before)
    assert end.value.code == 130


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP here")
def test_a_run_that_is_to_survive_its_terminal_does() -> None:
    """As `nohup` starts it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit) as end:
            console.run(lambda: os.kill(os.getpid(), signal.SIGHUP) or 0)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert end.value.code == 0


def test_names_of_files_do_not_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for say in (console.info, console.warn, console.error):
        say("a\x1b[31m.png\r: \x9b2J caf\xe9")
    output, problems = capsys.readouterr()
    assert output == "[INFO] a\\x1b[31m.png\\r: \\x9b2J caf\xe9\n"
    assert problems.splitlines()[0] == f"[WARN]{output[6:-1]}"
    assert problems.splitlines()[1] == "[ERROR] a\\x1b[31m.png : \\x9b2J caf\xe9"


def test_wrong_arguments_are_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    parser = options.ArgumentParser(prog="script.py")
    parser.add_argument("--confidence", type=options.fraction)
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--confidence", "1.5"])
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert message.startswith("[ERROR] argument --confidence: expected a number from 0 to 1, found")


@pytest.mark.parametrize(
    ("kind", "good", "value"),
    [
        (options.fraction, "0", 0.0),
        (options.fraction, "1.0", 1.0),
        (options.number_above(0), "1e-4", 1e-4),
        (options.number_above(0, below=1), "0.2", 0.2),
        (options.whole_number(1), "20", 20),
        (options.whole_number(32, most=4096), "4096", 4096),
    ],
)
def test_argument_types_take(kind, good: str, value: float) -> None:
    assert kind(good) == value


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (options.fraction, "-0.1"),
        (options.fraction, "nan"),
        (options.fraction, "half"),
        (options.number_above(0), "0"),
        (options.number_above(0), "nan"),
        (options.number_above(0), "inf"),
        (options.number_above(0, below=1), "1"),
        (options.whole_number(1), "0"),
        (options.whole_number(1), "1.5"),
        (options.whole_number(0), "-1"),
        (options.whole_number(0), str(2**32)),
        (options.whole_number(32, most=4096), "4097"),
        (options.file_with_suffix(".keras"), "mask_detector.model"),
        (options.file_with_suffix(".png"), "plot"),
    ],
)
def test_argument_types_refuse(kind, bad: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"expected .* found"):
        kind(bad)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO(), None])
def test_progress_is_a_bar_on_a_terminal_and_seldom_a_line_elsewhere(
    stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock goes on by 10 seconds at each look."""
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(console.time, "monotonic", lambda: float(next(clock)))
    assert list(console.progress(range(9), 9, "images")) == list(range(9))
    if isinstance(stream, Terminal):
        assert "9/9" in stream.getvalue()
    elif stream:
        lines = stream.getvalue().splitlines()
        assert lines == [f"[INFO] {done} of 9 images" for done in (2, 5, 8)]


def test_messages_do_not_mix_with_a_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with tqdm(total=2, file=sys.stderr, disable=False) as bar:
        bar.update()
        console.info("some news")
        console.error("not the\nother")
    output = capsys.readouterr()
    assert output.out == "[INFO] some news\n"
    assert "\r[ERROR] not the other\n" in output.err


def parsed_paths(*texts: str) -> list[str]:
    parser = options.ArgumentParser()
    parser.add_argument("--image", nargs="+", action=options.Paths)
    return parser.parse_args(["--image", *texts]).image


def test_a_pattern_becomes_the_files_that_match_it(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg", "c.png", "in/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    files = parsed_paths("first", f"{tmp_path}/*.jpg", f"{tmp_path}/**/d.jpg")
    assert files == ["first", *(f"{tmp_path}/{name}" for name in ("a.jpg", "b.jpg", "in/d.jpg"))]


def test_a_name_with_brackets_and_an_address_are_no_patterns(tmp_path: Path) -> None:
    file = tmp_path / "a[1].jpg"
    file.touch()
    assert parsed_paths(str(file), "s3://photos/*") == [str(file), "s3://photos/*"]


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FacemaskError, match=r"\*\.jpg: expected a path, or a pattern"):
        parsed_paths(f"{tmp_path}/*.jpg")


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "na\xefve \\udcef"), ("ascii", "na\\xefve \\udcef")]
)
def test_the_console_gets_what_it_can_show(
    encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = io.BytesIO()
    out, before = io.TextIOWrapper(data, encoding=encoding), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys, "stdout", out)
    try:
        with pytest.raises(SystemExit):
            console.run(lambda: console.info("na\xefve \udcef") or 0)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert data.getvalue().decode(encoding) == f"[INFO] {shown}\n"
