import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import train_mask_detector
from facemask.data import splits
from facemask.detect import metadata
from facemask.detect.classifier import MaskClassifier
from facemask.downloads import fetch
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.images import read_image, write_image
from facemask.sample_dataset.portrait import draw_portrait
from facemask.sample_dataset.writer import write_sample_dataset

from ..conftest import in_order, refusal

MESSAGES = (
    "[INFO] loading images...",
    "[INFO] compiling model...",
    "[INFO] training head...",
    "[INFO] evaluating network...",
    "[INFO] saving mask detector model...",
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    write_sample_dataset(folder, 10, 64, 0)
    return folder


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
        (["-d", "{alike}"], "all images make 1 groups"),
    ],
    ids=[
        "missing",
        "no classes",
        "weights",
        "model",
        "plot",
        "detector",
        "scenes",
        "split",
        "no split",
        "alike",
    ],
)
def test_what_cannot_work_is_said_before_training(
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


def test_a_whole_run_on_drawings(run_script, drawn: Path, tmp_path: Path) -> None:
    (drawn / "with_mask" / "broken.jpg").write_bytes(b"")
    done = run_script(
        "train_mask_detector.py", "-d", drawn, "--weights", "none", "--epochs", "1",
        "--batch-size", "8", "--test-size", "0.3", "--seed", "7", "--input-size", "96",
        "--face", ".", cwd=tmp_path,
    )  # fmt: skip
    (drawn / "with_mask" / "broken.jpg").unlink()
    assert done.returncode == 0, done.stderr
    assert in_order(done.stdout, *MESSAGES)
    assert "[INFO] 20 images make " in done.stdout
    assert "precision    recall  f1-score   support" in done.stdout
    assert "so the built-in face detector is used" in done.stdout
    assert "the model will know the drawings, not faces" in done.stderr
    assert "[WARN] skipped or mended, 1: " in done.stderr
    assert "broken.jpg: expected an image, found an empty file" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "mask_detector.keras",
        "mask_detector.split.json",
        "mask_detector.tflite",
        "plot.png",
    ]
    assert read_image(tmp_path / "plot.png").shape[1] == 1800

    found = metadata.read(tmp_path / "mask_detector.keras")
    assert found is not None
    assert found.class_names == ("with_mask", "without_mask")
    assert sum(found.training["images"].values()) == 20
    assert found.training["drawn_sample"] is True
    assert found.training["settings"]["seed"] == "7"
    parts = splits.read_split(tmp_path / "mask_detector.split.json")
    assert Counter(parts.values()) == found.training["images"]
    twin = metadata.read(tmp_path / "mask_detector.tflite")
    digest = metadata.weights_digest(tmp_path / "mask_detector.keras")
    assert twin == replace(found, twin_of=digest)

    crops = [read_image(path) for path in sorted(drawn.glob("*/*.jpg"))[:6]]
    said = [
        MaskClassifier.load(tmp_path / f"mask_detector.{kind}").predict(crops)
        for kind in ("keras", "tflite")
    ]
    assert said[0] == pytest.approx(said[1], abs=1e-4)


def test_three_classes_and_a_split_that_is_repeated(
    drawn: Path,
    tmp_path: Path,
    small_base: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "three"
    for name in ("with_mask", "without_mask"):
        (folder / name).mkdir(parents=True)
        for path in sorted((drawn / name).iterdir()):
            (folder / name / path.name).symlink_to(path)
    (folder / "mask_weared_incorrect").mkdir()
    for path in sorted((drawn / "with_mask").glob("*.jpg"))[:4]:
        turned = read_image(path)[::-1].copy()
        write_image(folder / "mask_weared_incorrect" / path.name, turned)
    monkeypatch.chdir(tmp_path)
    command = [
        "-d", str(folder), "--weights", "none", "--epochs", "1", "--learning-rate", "1e-2",
        "--fine-tune-epochs", "1", "--no-crop-faces", "--input-size", "96", "--batch-size", "8",
        "-m",
    ]  # fmt: skip
    assert train_mask_detector.main([*command, "a.keras", "--split", "random"]) == 0
    first = capsys.readouterr().out
    found = metadata.read("a.keras")
    assert found is not None
    assert found.class_names == ("mask_weared_incorrect", "with_mask", "without_mask")
    assert "near-duplicates" not in first
    assert train_mask_detector.main([*command, "b.keras", "--split", "a.split.json"]) == 0
    again = capsys.readouterr().out
    parts = [splits.read_split(f"{name}.split.json") for name in "ab"]
    assert parts[0] == parts[1]
    assert "[INFO] fine-tuning..." in first
    assert len(figures(first)) == 4
    assert figures(again) == pytest.approx(figures(first), abs=1e-3)


def test_the_classic_recipe(
    drawn: Path,
    tmp_path: Path,
    small_base: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    # So small a rate that nothing is learnt: any early stopping would end this.
    done = train_mask_detector.main(
        [
            "-d", str(drawn), "--weights", "none", "--classic", "--epochs", "7",
            "--batch-size", "8", "--learning-rate", "1e-30",
        ]
    )  # fmt: skip
    assert done == 0
    said = capsys.readouterr().out
    assert len(figures(said)) == 14  # no early stopping
    assert "calibrating" not in said
    found = metadata.read("mask_detector.keras")
    assert found is not None
    assert (found.margin, found.training["temperature"]) == (0.0, 1.0)


@pytest.mark.assets
def test_faces_are_cropped_and_scenes_join_in(
    assets: Path,
    photographs: Path,
    tmp_path: Path,
    small_base: None,
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
    done = train_mask_detector.main(
        [
            "-d", str(few), "--scenes", str(scenes), "--epochs", "1",
            "--face", str(assets / "face_detector"), "--weights", "none", "--margin", "0.2",
        ]
    )  # fmt: skip
    assert done == 0
    said = capsys.readouterr().out
    found = re.search(r"found one face in (\d+) of 24 images", said)
    assert found
    assert int(found[1]) >= 18
    cut = re.search(r"scenes: (\d+) crops of the faces in 10 scenes", said)
    assert cut
    assert int(cut[1]) > 20
    written = metadata.read("mask_detector.keras")
    assert written is not None
    assert written.margin == 0.2
    assert written.training["sources"] == ["few", "scenes"]
    assert sum(written.training["images"].values()) == 24 + int(cut[1])
    # Ten scenes and 24 images, some of which are copies: a part for each photograph.
    parts = splits.read_split("mask_detector.split.json")
    assert 30 <= len(parts) <= 34


def figures(output: str) -> list[float]:
    """The curves' values, as Keras printed them at the end of each epoch."""
    return [float(value) for value in re.findall(r"val_(?:accuracy|loss): ([\d.e-]+)", output)]


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
        train_mask_detector.main(["--dataset", "dataset"])
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
    assert len(figures(first.stdout)) == 4
    assert figures(again.stdout) == pytest.approx(figures(first.stdout), abs=5e-4)


@pytest.mark.assets
def test_two_epochs_on_real_photographs(real_training) -> None:
    done, folder = real_training
    assert done.returncode == 0, done.stderr
    found = re.search(r"test accuracy ([\d.]+) on 40 images", done.stdout)
    assert found
    assert float(found[1]) >= 0.9
    written = metadata.read(folder / "m.keras")
    assert written is not None
    assert written.training["test_accuracy"] == float(found[1])


@pytest.mark.assets
def test_weights_can_be_given_as_a_file(photographs: Path, keras_home: Path) -> None:
    from facemask.train import model as model_module

    weights = next((keras_home / "models").glob("mobilenet_v2*.h5"))
    model = model_module.build_model(2, str(weights))
    fresh = model_module.build_model(2, "none")
    assert abs(model.layers[1].get_weights()[0] - fresh.layers[1].get_weights()[0]).max() > 0.01


def test_imagenet_weights_that_cannot_be_fetched_are_one_line(
    run_script, drawn: Path, tmp_path: Path
) -> None:
    """A proxy that nobody serves stands for a machine without network."""
    done = run_script(
        "train_mask_detector.py", "-d", drawn, "--epochs", "1", "--no-crop-faces", cwd=tmp_path,
        env={"KERAS_HOME": str(tmp_path / "keras"), "https_proxy": "http://127.0.0.1:9"},
    )  # fmt: skip
    assert done.returncode == 1
    error = [line for line in done.stderr.splitlines() if not line.startswith("[WARN]")]
    assert len(error) == 1
    assert error[0].startswith(f"[ERROR] {tmp_path / 'keras' / 'models'}: the ImageNet weights")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "mask_detector.keras").exists()
