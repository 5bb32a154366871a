"""Trainings that are killed, interrupted, repeated with other options, or only tried."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import train_mask_detector
from facemask.data import loading
from facemask.detect import metadata
from facemask.detect.classifier import MaskClassifier
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.train import fit, stages
from facemask.train.checkpoint import Checkpoint, State

from ..conftest import refusal
from .small_training import FINE, HEAD, DrawnTraining, small_command

SMALL_TRAIN = PROJECT / "tests" / "train" / "small_train.py"


def test_a_killed_run_resumes_and_ends_like_one_that_was_not_killed(
    drawn_training: DrawnTraining,
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_recipe: None,
) -> None:
    process = subprocess.Popen(
        [sys.executable, str(SMALL_TRAIN), *small_command(drawn)],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    while not (tmp_path / "mask_detector.checkpoint.npz").exists() and process.poll() is None:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    visible = [path.name for path in tmp_path.iterdir() if path.name[0] != "."]
    assert visible == ["mask_detector.checkpoint.npz"]
    monkeypatch.chdir(tmp_path)
    command = small_command(drawn, "--report", "r.json", "--resume")
    assert train_mask_detector.main(command) == 0
    assert not Path("mask_detector.checkpoint.npz").exists()
    resumed, whole = json.loads(Path("r.json").read_text()), drawn_training.report
    assert resumed["epochs"] == resumed["best_epoch"] == HEAD + FINE
    for name, curve in whole["curves"].items():
        assert resumed["curves"][name] == pytest.approx(curve, abs=1e-3)
    assert resumed["test"]["confusion"] == whole["test"]["confusion"]
    faces = [np.full((96, 96, 3), value, np.uint8) for value in (40, 200)]
    predictions = [
        MaskClassifier.load(folder / "mask_detector.keras").predict(faces)
        for folder in (drawn_training.folder, tmp_path)
    ]
    assert predictions[0] == pytest.approx(predictions[1], abs=1e-3)


def test_a_full_disk_leaves_the_last_good_state(
    drawn: Path,
    tmp_path: Path,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_recipe: None,
) -> None:
    monkeypatch.setattr(stages, "export_tflite", lambda *_: None)
    model, plot, ballast = small_disk / "m.keras", tmp_path / "p.png", small_disk / "ballast"
    save = Checkpoint.save

    def save_and_fill(self: Checkpoint, stage: str, state: State) -> None:
        save(self, stage, state)
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4096):
                pass

    arguments = small_command(
        drawn,
        "--epochs",
        "3",
        "--fine-tune-epochs",
        "0",
        "--model",
        str(model),
        "--plot",
        str(plot),
    )
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_fill)
        with pytest.raises(FacemaskError, match=r"m\.checkpoint\.npz: can't be written: No space"):
            train_mask_detector.main(arguments)
    assert sorted(path.name for path in small_disk.iterdir()) == ["ballast", "m.checkpoint.npz"]
    ballast.unlink()
    report = tmp_path / "r.json"
    assert train_mask_detector.main([*arguments, "--resume", "--report", str(report)]) == 0
    assert json.loads(report.read_text())["epochs"] == 3
    assert model.exists()


def test_ctrl_c_saves_the_best_model(
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_recipe: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    def save_and_interrupt(self: Checkpoint, stage: str, state: State) -> None:
        save(self, stage, state)
        os.kill(os.getpid(), signal.SIGINT)

    save = Checkpoint.save
    monkeypatch.setattr(Checkpoint, "save", save_and_interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert train_mask_detector.main(small_command(drawn, "--report", "r.json")) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    output, errors = capfd.readouterr()
    assert "[WARN] interrupted: the best weights so far are kept, of epoch 1\n" in errors
    assert "fine-tuning" not in output
    assert "--resume goes on from mask_detector.checkpoint.npz" in output
    report = json.loads(Path("r.json").read_text())
    assert (report["interrupted"], report["epochs"], report["best_epoch"]) == (True, 1, 1)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "mask_detector.checkpoint.npz",
        "mask_detector.keras",
        "mask_detector.split.json",
        "mask_detector.tflite",
        "plot.png",
        "r.json",
    ]
    assert metadata.read(tmp_path / "mask_detector.keras") is not None


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_in_several_processes_only_the_first_one_writes(drawn: Path, tmp_path: Path) -> None:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()
    options = ["--no-crop-faces", "--split", "random", "--epochs", "1", "--fine-tune-epochs", "0"]
    command = [*small_command(drawn, *options), "--report", "r.json", "--cluster", *addresses]
    processes = []
    for index in range(2):
        folder = tmp_path / str(index)
        folder.mkdir()
        process = subprocess.Popen(
            [sys.executable, str(SMALL_TRAIN), *command, "--worker", str(index)],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={
                **os.environ, "PYTHONPATH": str(PROJECT), "KERAS_BACKEND": "jax",
                "KERAS_HOME": str(tmp_path),
            },
        )  # fmt: skip
        processes.append(process)
    outputs = [process.communicate(timeout=280) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert not list((tmp_path / "1").iterdir())
    assert json.loads((tmp_path / "0" / "r.json").read_text())["epochs"] == 1
    assert (tmp_path / "0" / "mask_detector.tflite").exists()
    assert "computing features" not in outputs[0][0]  # they share batches of images


def test_a_dry_run_trains_one_batch_and_writes_nothing(
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_recipe: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    command = small_command(
        drawn, "--weights", "none", "--dry-run", "--model", "new/m.keras", "--cache", "cache",
        "--report", "other/r.json", "--tensorboard", "logs",
    )  # fmt: skip
    monkeypatch.setattr(fit, "find_spec", lambda name: name)
    assert train_mask_detector.main(command) == 0
    output = capsys.readouterr().out
    assert " for train, " in output
    assert "[INFO] dry run: a batch of 8 took " in output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--model", "file/m.keras"], "file/m.keras: can't be written: .*file takes no new files"),
        (["--dataset", "dataset"], "dataset: expected class folders.*a dry run does not fetch"),
        (["--weights", "imagenet"], "h5: no such file.*which a dry run does not fetch"),
    ],
    ids=["model", "dataset", "weights"],
)
def test_a_dry_run_says_what_is_missing_and_fetches_nothing(
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    reason: str,
) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "PROJECT", tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    command = ["-d", str(drawn), "--weights", "none", "--no-crop-faces", "--dry-run", *arguments]
    with pytest.raises(FacemaskError, match=reason):
        train_mask_detector.main(command)
    assert sorted(tmp_path.iterdir()) == before


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
        train_mask_detector.main(small_command(drawn, "--weights", "none", "--resume"))
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--cluster", "127.0.0.1:9"], "--cluster and --worker belong together"),
        (["--worker", "1"], "--cluster and --worker belong together"),
        (["--cluster", "here", "--worker", "0"], "here: expected HOST:PORT"),
        (["--cluster", "a:1", "b:1", "--worker", "2"], "worker 2: expected a number from 0 to 1"),
        (["--backbone", "vgg17"], "invalid choice: 'vgg17'"),
    ],
    ids=["no worker", "no cluster", "no port", "no such worker", "no such backbone"],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reason in refusal(train_mask_detector.main, ["-d", "x", *arguments], capsys)


def test_the_former_name_of_an_option_still_works() -> None:
    assert train_mask_detector.parse_arguments(["-d", "x", "--base", "vgg16"]).backbone == "vgg16"


def test_tensorboard_that_is_not_installed_is_one_line(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FacemaskError, match="pip install tensorboard"):
        train_mask_detector.main(small_command(drawn, "--tensorboard", "logs"))
    assert not list(tmp_path.iterdir())
