import resource
from pathlib import Path

import numpy as np
import pytest

from facemask.errors import FacemaskError
from facemask.train.checkpoint import Checkpoint, State

RUN = {"data": "abc", "--epochs": "20"}


def state(value: float, numbers: int = 4) -> State:
    curves = {"loss": [value], "val_loss": [value]}
    return State(curves, [np.full(numbers, value), np.array(3)], [np.full(numbers, -value)])


def test_what_is_saved_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    checkpoint = Checkpoint(path, RUN)
    assert not checkpoint.resume()
    assert checkpoint.stage == ""
    checkpoint.save("head", state(1.0))
    checkpoint.save("fine-tuning", state(2.0))
    assert [one.name for one in tmp_path.iterdir()] == ["x.npz"]

    again = Checkpoint(path, RUN)
    assert again.resume()
    assert again.stage == "fine-tuning"
    assert again.stages["head"] == {"loss": [1.0], "val_loss": [1.0]}
    assert again.state("head") is None
    found = again.state("fine-tuning")
    assert found is not None
    assert [one.tolist() for one in found.variables] == [[2.0] * 4, 3]
    assert [one.tolist() for one in found.best_weights] == [[-2.0] * 4]
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


def test_one_that_was_cut_is_one_line(tmp_path: Path) -> None:
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
    assert [one.name for one in tmp_path.iterdir()] == ["x.npz"]
    again = Checkpoint(path, RUN)
    assert again.resume()
    assert again.stages["head"] == {"loss": [1.0], "val_loss": [1.0]}


def test_a_worker_who_follows_writes_nothing(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "x.npz", RUN, writes=False)
    checkpoint.save("head", state(1.0))
    assert checkpoint.stage == "head"
    assert not list(tmp_path.iterdir())
    told = Checkpoint(tmp_path / "x.npz", RUN, writes=False)
    told.stages = checkpoint.stages
    found = told.state("head")
    assert found is not None
    assert (found.curves["loss"], found.variables, found.best_weights) == ([1.0], [], [])
