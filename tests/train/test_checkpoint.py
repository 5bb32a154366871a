import resource
from pathlib import Path

import numpy as np
import pytest

from facemask.errors import FacemaskError
from facemask.train.checkpoint import Checkpoint, State

RUN = {"data": "abc", "--epochs": "20"}


def state(value: float, numbers: int = 4) -> State:
    history = {"loss": [value], "val_loss": [value]}
    return State(history, [np.full(numbers, value), np.array(3)], [np.full(numbers, -value)])


def test_what_is_saved_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    checkpoint = Checkpoint(path, RUN)
    assert not checkpoint.resume()
    assert checkpoint.stage == ""
    checkpoint.save("head", state(1.0))
    checkpoint.save("fine-tuning", state(2.0))
    assert [file.name for file in tmp_path.iterdir()] == ["x.npz"]

    again = Checkpoint(path, RUN)
    assert again.resume()
    assert again.stage == "fine-tuning"
    assert again.stages["head"] == {"loss": [1.0], "val_loss": [1.0]}
    assert again.state("head") is None
    restored = again.state("fine-tuning")
    assert restored is not None
    assert [array.tolist() for array in restored.variables] == [[2.0] * 4, 3]
    assert [array.tolist() for array in restored.best_weights] == [[-2.0] * 4]
    again.remove()
    assert not path.exists()


def test_a_checkpoint_of_another_run_says_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    Checkpoint(path, RUN).save("head", state(1.0))
    with pytest.raises(FacemaskError) as problem:
        Checkpoint(path, {"data": "abd", "--epochs": "30"}).resume()
    assert "--epochs 20 there, 30 here; data abc there, abd here" in str(problem.value)
    assert str(path) in str(problem.value)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 no archive"])
def test_what_is_no_checkpoint_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(FacemaskError, match="expected the checkpoint of a training") as problem:
        Checkpoint(path, RUN).resume()
    assert "\n" not in str(problem.value)


def test_a_truncated_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    Checkpoint(path, RUN).save("head", state(1.0, 1000))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(FacemaskError, match="expected the checkpoint of a training"):
        Checkpoint(path, RUN).resume()


def test_a_full_disk_leaves_the_last_state(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: writing fails midway, as on a full one."""
    path = tmp_path / "x.npz"
    checkpoint = Checkpoint(path, RUN)
    checkpoint.save("head", state(1.0))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(FacemaskError, match=r"x\.npz: can't be written: File too large"):
            checkpoint.save("head", state(2.0, 1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [file.name for file in tmp_path.iterdir()] == ["x.npz"]
    again = Checkpoint(path, RUN)
    assert again.resume()
    assert again.stages["head"] == {"loss": [1.0], "val_loss": [1.0]}


def test_only_the_first_process_has_the_file(tmp_path: Path) -> None:
    Checkpoint(tmp_path / "0.npz", RUN).save("head", state(1.0))
    sent: list[bytes] = []

    def send(content: bytes) -> bytes:
        sent.append(content)
        return content

    assert Checkpoint(tmp_path / "0.npz", RUN).resume(send)
    other = Checkpoint(tmp_path / "1.npz", RUN, writes=False)
    assert other.resume(lambda content: content or sent[0])
    restored = other.state("head")
    assert restored is not None
    assert restored.variables[0].tolist() == [1.0] * 4
    other.save("head", state(2.0))
    assert [path.name for path in tmp_path.iterdir()] == ["0.npz"]


def test_settings_of_older_files_are_text(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    Checkpoint(path, {"--classic": "False", "--epochs": "20"}).save("head", state(1.0))
    assert Checkpoint(path, {"--classic": False, "--epochs": 20}).resume()
    with pytest.raises(FacemaskError, match="--classic False there, True here"):
        Checkpoint(path, {"--classic": True, "--epochs": 20}).resume()
