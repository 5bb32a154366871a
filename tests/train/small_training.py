"""One short training on drawn portraits, which many tests inspect."""

import contextlib
import io
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

import train_mask_detector
from facemask.sample_dataset.writer import write_sample_dataset

from . import small_train

HEAD, FINE = 4, 3  # epochs of small_command


@dataclass(frozen=True)
class DrawnTraining:
    """A run of the training script in this process."""

    folder: Path  # of the files that it wrote
    status: int
    output: str
    errors: str

    @cached_property
    def report(self) -> dict[str, Any]:
        return json.loads((self.folder / "r.json").read_text())


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten drawn portraits of each class, and a file that is no image."""
    folder = tmp_path_factory.mktemp("drawn")
    write_sample_dataset(folder, 10, 64, 0)
    (folder / "with_mask" / "broken.jpg").touch()
    return folder


def small_command(dataset: Path, *more: str) -> list[str]:
    """Arguments of a short training with both stages, for small_train's backbone.

    Its weights are said to be ImageNet's, so that the head is trained on cached features.
    """
    return [
        "-d", str(dataset), "--face", str(dataset), "--input-size", "96", "--batch-size", "8",
        "--test-size", "0.3", "--epochs", str(HEAD), "--fine-tune-epochs", str(FINE), *more,
    ]  # fmt: skip


@pytest.fixture
def small_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings in this process have a small backbone and no dropout, as in small_train."""
    small_train.simplify(monkeypatch.setattr)


@pytest.fixture(scope="session")
def drawn_training(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> DrawnTraining:
    """The script with small_command on the drawn portraits."""
    folder = tmp_path_factory.mktemp("small-training")
    output, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        small_train.simplify(patch.setattr)
        patch.chdir(folder)
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            status = train_mask_detector.main(small_command(drawn, "--report", "r.json"))
    return DrawnTraining(folder, status, output.getvalue(), errors.getvalue())
