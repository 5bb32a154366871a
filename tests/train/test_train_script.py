import re
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import train_mask_detector
from facemask.data import loading, splits
from facemask.detect import metadata
from facemask.detect.classifier import MaskClassifier
from facemask.downloads import fetch
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.images import read_image, write_image
from facemask.sample_dataset.portrait import draw_portrait
from facemask.train import fit, stages

from ..conftest import in_order, refusal
from .small_training import FINE, HEAD, DrawnTraining, small_command

MESSAGES = (
    "[INFO] loading images...",
    "[INFO] compiling model...",
    "[INFO] training head...",
    "[INFO] evaluating network...",
    "[INFO] saving mask detector model...",
)


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """The TFLite export takes longer than a small training, and drawn_training has one."""
    monkeypatch.setattr(stages, "export_tflite", lambda *_: None)


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both classes full of one portrait."""
    folder = tmp_path_factory.mktemp("alike")
    portrait = draw_portrait(np.random.default_rng(0), False, 64)
    for name in ("with_mask", "without_mask"):
        (folder / name).mkdir()
        for number in range(10):
            write_image(folder / name / f"{number}.png", portrait)
    return folder


def test_help(run_script) -> None:
    done = run_script("train_mask_detector.py", "--help")
    assert done.returncode == 0
    assert "--fine-tune-epochs" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-d", "x", "--model", "mask_detector.model"],
        ["-d", "x", "--model", "mask_detector.h5"],
        ["-d", "x", "--plot", "plot"],
        ["-d", "x", "--epochs", "0"],
        ["-d", "x", "--batch-size", "none"],
        ["-d", "x", "--test-size", "1"],
        ["-d", "x", "--learning-rate", "-1"],
        ["-d", "x", "--seed", "-1"],
        ["-d", "x", "--margin", "-1"],
        ["-d", "x", "--quantize", "int4"],
        ["-d", "x", "--classic", "--crop-faces"],
        ["-d", "x", "--classic", "--scenes", "y"],
    ],
    ids=" ".join,
)
def test_wrong_arguments_end_before_any_work(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(train_mask_detector.main, arguments, capsys).startswith("[ERROR] ")


def endless(*arguments: Any, **_: Any) -> None:
    """Load images for minutes. The last argument is the progress."""
    for _ in arguments[-1](range(6000), total=6000):
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--backbone", "vgg16"], "vgg16_weights_tf_dim.* are not there and"),
        (["--weights", "hdf5"], "hdf5: not weights of MobileNetV2 without its top"),
        (["--weights", "none", "--cache", "file"], "file: can't be a cache"),
        (["--split", "nowhere"], "nowhere: can't be read"),
        (["--scenes", "nowhere"], "nowhere: no such folder"),
        (["--detector", "yunet", "--face", "nowhere"], "yunet_n_640_640.onnx: no such file"),
        (["--tensorboard", "logs"], "tensorboard: not installed"),
        (["--report", "file/r.json"], "file/r.json: can't be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_missing_shows_before_all_photographs_are_read(
    tmp_path: Path,
    drawn: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(fit, "find_spec", lambda name: None)
    monkeypatch.setattr(loading, "load_images", endless)
    (tmp_path / "file").write_text("")
    with h5py.File(tmp_path / "hdf5", "w") as file:
        file["other"] = [1.0]
    with pytest.raises(FacemaskError, match=reason):
        train_mask_detector.main(["-d", str(drawn), *arguments])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-d", "nowhere"], "nowhere: no such folder"),
        (["-d", "{drawn}/with_mask"], "two or more classes, found none"),
        (["-d", "{drawn}", "--weights", "nowhere.h5"], "nowhere.h5: can't be read"),
        (["-d", "{drawn}", "--model", "file/m.keras"], "file/m.keras: can't be written"),
        (["-d", "{drawn}", "--plot", "file/plot.png"], "file/plot.png: can't be written"),
        (["-d", "{drawn}", "--crop-faces", "--face", "nowhere"], "caffemodel: no such file"),
        (["-d", "{drawn}", "--scenes", "nowhere"], "nowhere: no such folder"),
        (["-d", "{drawn}", "--split", "nowhere"], "nowhere: can't be read"),
        (["-d", "{drawn}", "--split", "file"], "file: expected a split as training writes it"),
        (["-d", "{alike}", "--weights", "none"], "all images make 1 groups"),
    ],
    ids=lambda value: None if isinstance(value, list) else value.split(": ")[-1],
)
def test_an_error_is_reported_before_training(
    tmp_path: Path,
    drawn: Path,
    alike: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FacemaskError, match=reason):
        train_mask_detector.main([text.format(drawn=drawn, alike=alike) for text in arguments])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_run_shows_the_steps_in_their_order(drawn_training: DrawnTraining) -> None:
    output, errors = drawn_training.output, drawn_training.errors
    assert drawn_training.status == 0
    assert in_order(output, *MESSAGES)
    assert in_order(
        output, "computing features...", "training head...", "fine-tuning...", "calibrating"
    )
    assert "face detector: the built-in one" in output
    assert re.search(r"\[INFO\] found one face in \d+ of 20 images", output)
    assert "[INFO] 20 images make " in output
    assert "precision    recall  f1-score   support" in output
    assert "one drawn mask" not in output  # that is of the classic photographs
    assert "[WARN] drawn sample: the model will know the drawings, not faces\n" in errors
    assert "[WARN] skipped or repaired, 1 of 1: " in errors
    assert "broken.jpg: expected an image, found an empty file" in errors


def test_a_run_writes_its_files_and_nothing_else(drawn_training: DrawnTraining) -> None:
    assert sorted(path.name for path in drawn_training.folder.iterdir()) == [
        "mask_detector.keras",
        "mask_detector.split.json",
        "mask_detector.tflite",
        "plot.png",
        "r.json",
    ]
    assert read_image(drawn_training.folder / "plot.png").shape[1] == 1800


def metadata_of(path: Path) -> metadata.ModelMetadata:
    model_metadata = metadata.read(path)
    assert model_metadata is not None
    return model_metadata


def test_a_model_records_its_training(drawn_training: DrawnTraining) -> None:
    model = drawn_training.folder / "mask_detector.keras"
    model_metadata = metadata_of(model)
    training = model_metadata.training
    assert model_metadata.class_names == ("with_mask", "without_mask")
    assert (model_metadata.input_size, model_metadata.margin) == ((96, 96), 0.1)
    assert sum(training["images"].values()) == 20
    assert training["drawn_sample"] is True
    parts = splits.read_split(drawn_training.folder / "mask_detector.split.json")
    assert Counter(parts.values()) == training["images"]
    export = metadata_of(model.with_suffix(".tflite"))
    assert export == replace(model_metadata, twin_of=metadata.weights_digest(model))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backbone", "mobilenet_v2"),
        ("classic", False),
        ("crop_faces", True),
        ("early_stopping", True),
        ("epochs", HEAD),
        ("learning_rate", 1e-4),
        ("margin", 0.1),
        ("seed", 42),
    ],
)
def test_settings_are_recorded_with_their_types(
    drawn_training: DrawnTraining, name: str, value: Any
) -> None:
    model = metadata_of(drawn_training.folder / "mask_detector.keras")
    for settings in (model.training["settings"], drawn_training.report["settings"]):
        assert settings[name] == value
        assert type(settings[name]) is type(value)


def test_the_report_has_the_curves_of_both_stages(drawn_training: DrawnTraining) -> None:
    report = drawn_training.report
    assert report["epochs"] == report["best_epoch"] == HEAD + FINE
    assert {len(curve) for curve in report["curves"].values()} == {HEAD + FINE}
    printed = val_losses(drawn_training.output)
    assert printed == pytest.approx(report["curves"]["val_loss"], abs=1e-4)
    (skipped,) = report["skipped"]
    assert "broken.jpg" in skipped


def test_the_export_predicts_as_the_model(drawn_training: DrawnTraining, drawn: Path) -> None:
    crops = [read_image(path) for path in sorted(drawn.glob("*/drawn*.jpg"))[:6]]
    keras, tflite = (
        MaskClassifier.load(drawn_training.folder / f"mask_detector.{suffix}").predict(crops)
        for suffix in ("keras", "tflite")
    )
    assert keras == pytest.approx(tflite, abs=1e-4)


def test_a_recorded_split_is_repeated(
    drawn_training: DrawnTraining,
    drawn: Path,
    tmp_path: Path,
    small_recipe: None,
    no_export: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    record = drawn_training.folder / "mask_detector.split.json"
    command = small_command(drawn, "--split", str(record), "--fine-tune-epochs", "0")
    assert train_mask_detector.main(command) == 0
    output = capsys.readouterr().out
    assert "near-duplicates" not in output
    assert Path("mask_detector.split.json").read_text() == record.read_text()
    assert metadata_of(Path("mask_detector.keras")).training["settings"]["split"] == record.name
    head = val_losses(drawn_training.output)[:HEAD]
    assert val_losses(output) == pytest.approx(head, abs=1e-3)


def test_three_classes_and_a_random_split(
    drawn: Path,
    tmp_path: Path,
    small_recipe: None,
    no_export: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "three"
    folder.mkdir()
    for name in ("with_mask", "without_mask"):
        (folder / name).symlink_to(drawn / name)
    (folder / "mask_weared_incorrect").mkdir()
    for path in sorted((drawn / "with_mask").glob("drawn*.jpg"))[:4]:
        upside_down = read_image(path)[::-1].copy()
        write_image(folder / "mask_weared_incorrect" / path.name, upside_down)
    monkeypatch.chdir(tmp_path)
    command = small_command(
        folder, "--weights", "none", "--split", "random", "--no-crop-faces",
        "--epochs", "1", "--fine-tune-epochs", "0",
    )  # fmt: skip
    assert train_mask_detector.main(command) == 0
    output = capsys.readouterr().out
    assert "near-duplicates" not in output
    assert "computing features" not in output  # the backbone is trained, too
    names = ("mask_weared_incorrect", "with_mask", "without_mask")
    assert metadata_of(Path("mask_detector.keras")).class_names == names


def test_the_classic_recipe(
    drawn: Path,
    tmp_path: Path,
    small_recipe: None,
    no_export: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    # With this rate nothing is learnt: early stopping would end the training.
    command = [
        "-d", str(drawn), "--classic", "--epochs", "7", "--learning-rate", "1e-30",
        "--input-size", "96",
    ]  # fmt: skip
    assert train_mask_detector.main(command) == 0
    output = capsys.readouterr().out
    assert len(val_losses(output)) == 7
    assert "calibrating" not in output
    model = metadata_of(Path("mask_detector.keras"))
    assert train_mask_detector.parse_arguments(["-d", "x", "--classic"]).input_size == 224
    assert (model.margin, model.training["temperature"]) == (0.0, 1.0)


@pytest.mark.assets
def test_faces_are_cropped_and_scenes_join_in(
    assets: Path,
    photographs: Path,
    tmp_path: Path,
    small_recipe: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    few, scenes = tmp_path / "few", tmp_path / "scenes"
    for name in ("with_mask", "without_mask"):
        (few / name).mkdir(parents=True)
        for path in sorted((photographs / name).iterdir())[:12]:
            (few / name / path.name).symlink_to(path.resolve())
    for kind, suffix in (("annotations", "xml"), ("images", "jpg")):
        (scenes / kind).mkdir(parents=True)
        for path in sorted((assets / "scenes2" / kind).glob(f"*.{suffix}"))[:10]:
            (scenes / kind / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    command = [
        "-d", str(few), "--scenes", str(scenes), "--epochs", "1",
        "--face", str(assets / "face_detector"), "--weights", "none", "--margin", "0.2",
    ]  # fmt: skip
    assert train_mask_detector.main(command) == 0
    output = capsys.readouterr().out
    detected = re.search(r"found one face in (\d+) of 24 images", output)
    assert detected
    assert int(detected[1]) >= 18
    crops = re.search(r"scenes: (\d+) crops of the faces in 10 scenes", output)
    assert crops
    assert int(crops[1]) > 20
    model = metadata_of(Path("mask_detector.keras"))
    assert model.margin == 0.2
    assert model.training["sources"] == ["few", "scenes"]
    assert sum(model.training["images"].values()) == 24 + int(crops[1])
    # Ten scenes and 24 images, some of which are copies: a part for each photograph.
    parts = splits.read_split("mask_detector.split.json")
    assert 30 <= len(parts) <= 34


def val_losses(output: str) -> list[float]:
    """The validation losses, as Keras printed them at the end of each epoch."""
    return [float(value) for value in re.findall(r"val_loss: ([\d.e-]+)", output)]


def test_photographs_are_fetched_into_the_projects_own_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []

    def refuse(folder: Path, announce: object) -> None:
        fetched.append(folder)
        raise FacemaskError("no network")

    monkeypatch.setattr(fetch, "ensure_dataset", refuse)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FacemaskError, match="no network"):
        train_mask_detector.main(["--dataset", "dataset", "--weights", "none"])
    assert fetched == [PROJECT / "dataset"]
    with pytest.raises(FacemaskError, match="no such folder"):
        train_mask_detector.main(["--dataset", "elsewhere"])
    assert len(fetched) == 1


@pytest.mark.assets
def test_the_same_seed_gives_the_same_figures(
    run_script, real_training, photographs: Path, keras_home: Path, tmp_path: Path
) -> None:
    """A second run of the fixture's command, in a process of its own."""
    first, _ = real_training
    again = run_script(*first.args[1:], env={"KERAS_HOME": str(keras_home)})
    assert len(val_losses(first.stdout)) == 2
    assert val_losses(again.stdout) == pytest.approx(val_losses(first.stdout), abs=5e-4)


@pytest.mark.assets
def test_two_epochs_on_real_photographs(real_training) -> None:
    done, folder = real_training
    assert done.returncode == 0, done.stderr
    accuracy = re.search(r"test accuracy ([\d.]+) on 40 images", done.stdout)
    assert accuracy
    assert float(accuracy[1]) >= 0.9
    remark = "[INFO] the classic photographs alone show one drawn mask, "
    assert in_order(done.stdout, accuracy[0], remark, "[INFO] wrote ")
    assert metadata_of(folder / "m.keras").training["test_accuracy"] == float(accuracy[1])


@pytest.mark.assets
def test_weights_can_be_given_as_a_file(photographs: Path, keras_home: Path) -> None:
    from facemask.train import model as model_module

    weights = next((keras_home / "models").glob("mobilenet_v2*.h5"))
    model = model_module.build_model(2, str(weights))
    fresh = model_module.build_model(2, "none")
    assert abs(model.layers[1].get_weights()[0] - fresh.layers[1].get_weights()[0]).max() > 0.01


def test_imagenet_weights_that_cannot_be_fetched_are_one_line(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A proxy at a closed port imitates a machine without network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    models = tmp_path / "keras" / "models"
    with pytest.raises(FacemaskError, match=f"^{models}/mobilenet_v2.*: the ImageNet weights of"):
        train_mask_detector.main(["-d", str(drawn), "--split", "random", "--no-crop-faces"])
    errors = capfd.readouterr().err.splitlines()
    assert [line for line in errors if not line.startswith("[WARN]")] == []
    assert not (tmp_path / "mask_detector.keras").exists()


def test_a_log_file_has_no_progress_bars(drawn_training: DrawnTraining) -> None:
    assert not re.search(r"[\r\b\x1b]", drawn_training.output)
