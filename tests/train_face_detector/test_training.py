"""The command, its checkpoint and its files, on a tiny network and one photograph."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facemask.data.splits import read_split, split_path
from facemask.detect.builtin import BuiltinFaceDetector
from facemask.errors import FacemaskError
from facemask.files import file_digest
from facemask.images import read_image
from facemask.train.checkpoint import Checkpoint
from facemask.train.model import set_seed
from facemask.train_face_detector import __main__ as command
from facemask.train_face_detector import export, options, trainer
from facemask.train_face_detector.loading import Loaded
from facemask.train_face_detector.trainer import Trainer, read_weights, save_weights

from .conftest import TinyRun, tiny_network


def tiny_trainer(run: TinyRun) -> Trainer:
    """A trainer with the settings of the tiny run."""
    set_seed(options.SEED)
    return Trainer(
        [run.image], shapes=[(64, 2)] * 4, steps=1, epochs=3, learning_rate=1e-3, seed=options.SEED
    )


def test_a_resumed_training_has_the_curve_of_an_uninterrupted_one(
    tiny: TinyRun, tmp_path: Path
) -> None:
    whole = tiny_trainer(tiny)
    lines: list[str] = []
    whole.fit([tiny.image], Checkpoint(tmp_path / "x.checkpoint.npz", {}), lines.append)
    assert len(lines) == 3
    assert "mAP@.5" in lines[1]
    (resumed,) = tiny.histories
    assert whole.history.keys() == resumed.keys()
    assert whole.history["epoch"] == resumed["epoch"] == [2]
    for name, values in whole.history.items():
        assert values == pytest.approx(resumed[name], rel=1e-4), name
    whole.apply_ema()
    for value, other in zip(whole.network.get_weights(), read_weights(tiny.weights), strict=True):
        assert np.allclose(value, other, rtol=1e-3, atol=1e-5)


def test_a_finished_run_leaves_detector_card_plot_and_weights(tiny: TinyRun) -> None:
    image = read_image(tiny.image.path)
    assert BuiltinFaceDetector.load(tiny.output).detect(image, 0.99) == []
    card = tiny.output.with_suffix(".md").read_text()
    assert "| street   | tiny       |             1 |       1 |" in card
    assert "0.000 of 1" in card
    assert "| street   | unmasked |" in card
    assert "| portraits     | tiny       |        1 |" in card
    assert read_split(split_path(tiny.output)) == {file_digest(tiny.image.path): "test"}
    assert "python -m facemask.train_face_detector --scenes street\n" in card
    assert '"epochs": 3' in card
    assert tiny.output.with_suffix(".png").is_file()
    assert not tiny.checkpoint.exists()
    assert not [path for path in tiny.folder.iterdir() if path.name.startswith(".")]


def test_resume_refuses_the_checkpoint_of_other_settings(tiny: TinyRun) -> None:
    checkpoint = tiny.folder / "interrupted.checkpoint.npz"
    output = tiny.folder / "interrupted.tflite"
    with pytest.raises(FacemaskError) as refusal:
        tiny.main("--resume", "--seed", "7", "--steps", "9", output=output)
    message = str(refusal.value)
    assert message.startswith(f"{checkpoint}: is of another training (")
    assert "seed 42 there, 7 here; steps 1 there, 9 here" in message
    assert "images" not in message
    assert checkpoint.is_file()


def test_resume_refuses_the_checkpoint_of_other_photographs(
    tiny: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(tiny.folder / "interrupted.checkpoint.npz", tmp_path / "x.checkpoint.npz")
    images = {part: [tiny.image] for part in ("train", "validation", "test")}
    images["train"] = [replace(tiny.image, faces=tiny.image.faces + 8)]
    loaded = Loaded(images, {}, {}, {})
    monkeypatch.setattr(command, "load_photographs", lambda args, folder: loaded)
    with pytest.raises(FacemaskError, match=r"is of another training \(images "):
        tiny.main("--resume", output=tmp_path / "x.tflite")


def test_resuming_needs_a_checkpoint(tmp_path: Path, run_script) -> None:
    done = run_script(
        "-m", "facemask.train_face_detector", "--scenes", tmp_path, "--resume",
        "--output", tmp_path / "x.tflite",
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("[ERROR]")
    assert done.stderr.count("\n") == 1
    assert "x.checkpoint.npz: no such file" in done.stderr


def test_weights_are_kept_when_the_export_fails(
    tiny: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise FacemaskError("can't be converted")

    monkeypatch.setattr(export, "export", fail)
    weights, output = tmp_path / "kept.weights.h5", tmp_path / "x.tflite"
    checkpoint = tmp_path / "x.checkpoint.npz"
    shutil.copyfile(tiny.folder / "interrupted.checkpoint.npz", checkpoint)
    arguments = ["--resume", "--stop-after", "2", "--keep-weights", str(weights)]
    with pytest.raises(FacemaskError, match="can't be converted"):
        tiny.main(*arguments, output=output)
    assert checkpoint.is_file()
    assert len(read_weights(weights)) > 20


def test_without_epochs_the_weights_of_the_start_are_exported(
    tiny: TinyRun, tmp_path: Path
) -> None:
    output, kept = tmp_path / "again.tflite", tmp_path / "kept.weights.h5"
    arguments = ["--start", str(tiny.weights), "--keep-weights", str(kept), "--epochs", "0"]
    assert tiny.main(*arguments, output=output) == 0
    pairs = zip(read_weights(tiny.weights), read_weights(kept), strict=True)
    assert all(np.array_equal(weight, other) for weight, other in pairs)
    assert output.is_file()
    assert output.with_suffix(".md").is_file()
    assert not output.with_suffix(".png").exists()


def test_blending_mixes_the_weights_with_those_of_the_start(tiny: TinyRun) -> None:
    trainer = tiny_trainer(tiny)
    weights = trainer.network.get_weights()
    trainer.interpolate_weights([weight + 1 for weight in weights], 0.25)
    for mixed, weight in zip(trainer.network.get_weights(), weights, strict=True):
        assert np.allclose(mixed, weight + 0.75, atol=1e-5)


def test_weights_are_read_as_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "build_face_network", tiny_network)
    network = tiny_network()
    path = tmp_path / "kept.weights.h5"
    save_weights(path, network)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    pairs = zip(network.get_weights(), read_weights(path), strict=True)
    assert all(np.array_equal(weight, other) for weight, other in pairs)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(FacemaskError, match=r"kept\.weights\.h5: expected weights of this network"):
        read_weights(path)


def test_the_card_records_settings_but_no_path() -> None:
    files = ["--start", "/c/s.weights.h5", "--compare", "/d/earlier.tflite"]
    args = options.parse_arguments(["--scenes", "/a/street", "/b/park", "--blend", "0.3", *files])
    expected = "train_face_detector --scenes street park --compare earlier.tflite"
    assert options.command_line(args).endswith(expected)
    text = json.dumps(options.settings(args))
    assert '"start": "s.weights.h5"' in text
    assert "/" not in text
