"""Trainings that are killed, interrupted, repeated with other flags, or only tried."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import train_mask_detector
from facemask.detect import metadata
from facemask.detect.classifier import MaskClassifier
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.sample_dataset.writer import write_sample_dataset
from facemask.train import export, fit
from facemask.train import model as model_module
from facemask.train.checkpoint import Checkpoint, State

from ..conftest import obey_ctrl_c, refusal

HEAD, FINE = 4, 3  # epochs


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    write_sample_dataset(folder, 10, 64, 0)
    return folder


@pytest.fixture
def no_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Converting the model takes longer than training it, and is tested elsewhere."""
    monkeypatch.setattr(export, "export_tflite", lambda *_: None)


def command(drawn: Path, *more: str) -> list[str]:
    return [
        "-d", str(drawn), "--weights", "none", "--no-crop-faces", "--input-size", "96",
        "--batch-size", "8", "--epochs", str(HEAD), "--fine-tune-epochs", str(FINE), *more,
    ]  # fmt: skip


def started(folder: Path, arguments: list[str]) -> subprocess.Popen[str]:
    """The script in a process of its own, on a small base, once it has written a checkpoint."""
    process = subprocess.Popen(
        [sys.executable, str(PROJECT / "tests" / "train" / "small_train.py"), *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)}, preexec_fn=obey_ctrl_c,
    )  # fmt: skip
    while not (folder / "mask_detector.checkpoint.npz").exists() and process.poll() is None:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    return process


def test_a_killed_run_goes_on_and_ends_as_one_that_was_not(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_base: None, no_twin: None
) -> None:
    monkeypatch.setattr(model_module, "DROPOUT", 0.0)  # as there
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    process = started(tmp_path / "killed", command(drawn))
    process.kill()
    process.communicate()
    left = sorted(one.name for one in (tmp_path / "killed").iterdir() if one.name[0] != ".")
    assert left == ["mask_detector.checkpoint.npz"]
    reports = []
    for name, more in (("whole", ()), ("killed", ("--resume",))):
        monkeypatch.chdir(tmp_path / name)
        assert train_mask_detector.main(command(drawn, "--report", "r.json", *more)) == 0
        reports.append(json.loads(Path("r.json").read_text()))
        assert not Path("mask_detector.checkpoint.npz").exists()
    whole, resumed = reports
    assert whole["epochs"] == whole["best_epoch"] == HEAD + FINE
    for name, curve in whole["curves"].items():
        assert resumed["curves"][name] == pytest.approx(curve, abs=1e-3)
    assert resumed["test"]["confusion"] == whole["test"]["confusion"]
    faces = [np.full((96, 96, 3), value, np.uint8) for value in (40, 200)]
    said = [
        MaskClassifier.load(tmp_path / name / "mask_detector.keras").predict(faces)
        for name in ("whole", "killed")
    ]
    assert said[0] == pytest.approx(said[1], abs=1e-3)


def test_a_full_disk_leaves_the_last_good_state(
    drawn: Path,
    tmp_path: Path,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_base: None,
    no_twin: None,
) -> None:
    model, plot, ballast = small_disk / "m.keras", tmp_path / "p.png", small_disk / "ballast"
    save = Checkpoint.save

    def save_and_fill(self: Checkpoint, stage: str, state: State) -> None:
        save(self, stage, state)
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4096):
                pass

    arguments = [*command(drawn), "--model", str(model), "--plot", str(plot)]
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_fill)
        with pytest.raises(FacemaskError, match=r"m\.checkpoint\.npz: can't be written: No space"):
            train_mask_detector.main(arguments)
    assert sorted(path.name for path in small_disk.iterdir()) == ["ballast", "m.checkpoint.npz"]
    ballast.unlink()
    report = tmp_path / "r.json"
    assert train_mask_detector.main([*arguments, "--resume", "--report", str(report)]) == 0
    assert json.loads(report.read_text())["epochs"] == HEAD + FINE
    assert model.exists()


def test_ctrl_c_saves_the_best_model_and_says_so(drawn: Path, tmp_path: Path) -> None:
    process = started(tmp_path, command(drawn, "--epochs", "1000", "--no-early-stopping"))
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    assert process.returncode == 130
    assert "[WARN] interrupted: the best weights so far are kept, of epoch " in errors
    assert "Traceback" not in errors
    assert "--resume goes on from mask_detector.checkpoint.npz" in output
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "mask_detector.checkpoint.npz",
        "mask_detector.keras",
        "mask_detector.split.json",
        "mask_detector.tflite",
        "plot.png",
    ]
    assert metadata.read(tmp_path / "mask_detector.keras") is not None


def test_a_dry_run_trains_one_batch_and_writes_nothing(
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_base: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train_mask_detector.main(command(drawn, "--dry-run")) == 0
    output = capsys.readouterr().out
    assert " for train, " in output
    assert "[INFO] dry run: a batch of 8 took " in output
    assert not list(tmp_path.iterdir())


def test_another_runs_checkpoint_is_refused_before_training(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mask_detector.checkpoint.npz"
    Checkpoint(path, {"data": "another", "--epochs": "9"}).save(
        "head", State({"loss": [1.0]}, [], [])
    )
    content = path.read_bytes()
    with pytest.raises(FacemaskError, match=r"--epochs 9 there, 4 here.*data another there"):
        train_mask_detector.main(command(drawn, "--resume"))
    assert path.read_bytes() == content
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_two_workers_give_the_figures_of_one(
    run_script,
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_base: None,
    no_twin: None,
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    done = run_script(
        "-m", "facemask.train.workers", "--count", "2",
        PROJECT / "tests" / "train" / "small_train.py",
        *command(drawn, "--report", "r.json"), cwd=tmp_path / "two",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr(model_module, "DROPOUT", 0.0)
    monkeypatch.chdir(tmp_path / "one")
    assert train_mask_detector.main(command(drawn, "--report", "r.json")) == 0
    one, two = (json.loads((tmp_path / name / "r.json").read_text()) for name in ("one", "two"))
    for name, curve in one["curves"].items():
        assert two["curves"][name] == pytest.approx(curve, abs=1e-3)
    assert two["test"]["confusion"] == one["test"]["confusion"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--cluster", "127.0.0.1:9"], "--cluster and --worker belong together"),
        (["--worker", "1"], "--cluster and --worker belong together"),
        (["--cluster", "here", "--worker", "0"], "here: expected HOST:PORT"),
        (["--cluster", "a:1", "b:1", "--worker", "2"], "worker 2: expected a number from 0 to 1"),
        (["--base", "vgg17"], "invalid choice: 'vgg17'"),
    ],
    ids=["no worker", "no cluster", "no port", "no such worker", "no such base"],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reason in refusal(train_mask_detector.main, ["-d", "x", *arguments], capsys)


def test_tensorboard_that_is_not_installed_is_one_line(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FacemaskError, match="pip install tensorboard"):
        train_mask_detector.main(command(drawn, "--tensorboard", "logs"))
    assert not list(tmp_path.iterdir())


def test_an_address_nobody_answers_at_is_one_line(drawn: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as other:
        addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in (one, other)]
    with pytest.raises(FacemaskError, match=r"expected worker 0 to answer within 0\.5 s"):
        train_mask_detector.main(
            [*command(drawn), "--cluster", *addresses, "--worker", "1", "--cluster-timeout", "0.5"]
        )
