import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from facemask.errors import FacemaskError
from facemask.files import PROJECT, beside, check_writable, file_digest, find, replacing


def test_find_prefers_the_working_folder_to_the_scripts_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("face_detector") == PROJECT / "face_detector"
    (tmp_path / "face_detector").mkdir()
    assert find("face_detector") == Path("face_detector")
    assert find("nowhere") == Path("nowhere")


def test_replacing_replaces_the_file_only_when_the_block_succeeds(tmp_path: Path) -> None:
    target = tmp_path / "model.keras"
    target.write_text("old")
    with replacing(target) as temporary:
        assert temporary.suffix == ".keras"
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["model.keras"]


def test_the_longest_name_that_a_file_system_takes_can_be_replaced(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 251 + ".png")
    check_writable(target)
    with replacing(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt])
def test_replacing_keeps_the_old_file_and_leaves_nothing_when_the_block_fails(
    tmp_path: Path, problem: type[BaseException]
) -> None:
    target = tmp_path / "plot.png"
    target.write_text("old")

    def fail() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise problem

    with pytest.raises(problem):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["plot.png"]


def test_a_system_error_while_writing_names_the_file(tmp_path: Path) -> None:
    def fill_the_disk() -> None:
        with replacing(tmp_path / "plot.png"):
            raise OSError(28, "No space left on device")

    with pytest.raises(FacemaskError, match=r"plot\.png: can't be written: No space left"):
        fill_the_disk()


def test_check_writable_makes_folders_and_leaves_no_file(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "out.png")
    assert os.listdir(tmp_path / "new") == []


def test_check_writable_refuses_a_folder_and_a_folder_that_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(FacemaskError, match="found a folder"):
        check_writable(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FacemaskError, match="can't be written"):
        check_writable(tmp_path / "file" / "out.png")


def test_each_thread_has_a_temporary_file_of_its_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(beside, tmp_path / "x.npy").result()
    assert other != beside(tmp_path / "x.npy")
    assert other.name.startswith(".x.")
    assert other.suffix == ".npy"


def test_a_files_digest_is_the_sha256_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_digest(tmp_path / "abc") == digest
