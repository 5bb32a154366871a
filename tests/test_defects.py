import os
import tempfile
from pathlib import Path

import pytest

from facemask import console, defects


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def fail() -> int:
    raise ValueError("first\nsecond")


def test_a_command_ends_with_one_line_and_the_traceback_is_in_a_file(
    temporary_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        console.run(fail)
    (file,) = temporary_folder.glob("facemask-error-*.txt")
    assert end.value.code == 1
    assert capsys.readouterr().err == (
        f"[ERROR] unexpected ValueError: first second; {file} has what a bug report needs\n"
    )
    assert "in fail\n" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0 or os.name == "nt"


def test_several_defects_of_a_run_share_a_file(temporary_folder: Path) -> None:
    for number in range(2):
        defects.describe(IndexError(f"at {number}"))
    (file,) = temporary_folder.iterdir()
    assert file.read_text().count("IndexError: at ") == 2


def test_without_a_writable_folder_there_is_still_a_line(
    temporary_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary_folder / "missing"))
    assert defects.describe(ValueError("x")) == "unexpected ValueError: x"


def test_too_little_memory_is_no_defect(temporary_folder: Path) -> None:
    assert defects.describe(MemoryError()) == "not enough memory"
    assert not list(temporary_folder.iterdir())


def test_the_file_has_no_passwords(temporary_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, token = "rtsp://user:secret@camera/stream", "a-secret_token_of_24"
    arguments = ["-s", source, f"--source={source}", "--serve-token", token, f"--serve-tok={token}"]
    arguments += ["--alert-command", "curl -u me:secret https://x/", "--no-display"]
    monkeypatch.setattr("sys.argv", ["detect_mask_video.py", *arguments])
    line = defects.describe(ValueError(f"can't read {source}"))
    assert line.startswith("unexpected ValueError: can't read rtsp://camera/stream; ")
    (file,) = temporary_folder.iterdir()
    shown = "rtsp://camera/stream"
    expected = f"-s {shown} --source={shown} --serve-token ... --serve-tok=... --alert-command ..."
    text = file.read_text()
    assert text.splitlines()[1] == f"detect_mask_video.py {expected} --no-display"
    assert "secret" not in text


def test_a_file_that_was_tidied_away_is_made_again(temporary_folder: Path) -> None:
    for number in range(2):
        defects.describe(IndexError(f"at {number}"))
        (file,) = temporary_folder.iterdir()
        assert file.stat().st_mode & 0o077 == 0 or os.name == "nt"
        file.unlink()
