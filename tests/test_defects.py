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
    file = temporary_folder / f"facemask-error-{os.getpid()}.txt"
    assert end.value.code == 1
    assert capsys.readouterr().err == (
        f"[ERROR] unexpected ValueError: first second; {file} has what a bug report needs\n"
    )
    assert "in fail\n" in file.read_text()


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
