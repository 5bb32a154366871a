import re
from pathlib import Path

import pytest

import train_mask_detector
from facemask import downloads, facts
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.images import read_image
from facemask.sample_dataset import write_sample_dataset

from .conftest import in_order, refusal

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
        (["-d", "{drawn}", "--test-size", "0.99"], "too few images"),
    ],
    ids=["missing", "no classes", "weights", "model", "plot", "split"],
)
def test_what_cannot_work_is_said_before_training(
    tmp_path: Path,
    drawn: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FacemaskError, match=reason):
        train_mask_detector.main([text.format(drawn=drawn) for text in arguments])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_whole_run_on_drawings(run_script, drawn: Path, tmp_path: Path) -> None:
    (drawn / "with_mask" / "broken.jpg").write_bytes(b"")
    done = run_script(
        "train_mask_detector.py", "-d", drawn, "--weights", "none", "--epochs", "1",
        "--fine-tune-epochs", "1", "--batch-size", "8", "--test-size", "0.3", "--seed", "7",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert in_order(done.stdout, *MESSAGES)
    assert "precision    recall  f1-score   support" in done.stdout
    assert "the model will know the drawings, not faces" in done.stderr
    assert "[WARN] skipped 1 of 21 images: " in done.stderr
    assert "broken.jpg: expected an image, found an empty file" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask_detector.keras", "plot.png"]
    assert read_image(tmp_path / "plot.png").shape[1] == 1200

    found = facts.read(tmp_path / "mask_detector.keras")
    assert found is not None
    assert found.class_names == ("with_mask", "without_mask")
    assert found.training["images"] == {"train": 12, "validation": 2, "test": 6}
    assert found.training["drawn_sample"] is True
    assert found.training["settings"]["seed"] == "7"


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

    monkeypatch.setattr(downloads, "ensure_dataset", refuse)
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
    written = facts.read(folder / "m.keras")
    assert written is not None
    assert written.training["test_accuracy"] == float(found[1])


@pytest.mark.assets
def test_weights_can_be_given_as_a_file(photographs: Path, keras_home: Path) -> None:
    from facemask import training

    weights = next((keras_home / "models").glob("mobilenet_v2*.h5"))
    model = training.build_model(2, str(weights))
    fresh = training.build_model(2, "none")
    assert abs(model.layers[1].get_weights()[0] - fresh.layers[1].get_weights()[0]).max() > 0.01


def test_imagenet_weights_that_cannot_be_fetched_are_one_line(
    run_script, drawn: Path, tmp_path: Path
) -> None:
    """A proxy that nobody serves stands for a machine without network."""
    done = run_script(
        "train_mask_detector.py", "-d", drawn, "--epochs", "1", cwd=tmp_path,
        env={"KERAS_HOME": str(tmp_path / "keras"), "https_proxy": "http://127.0.0.1:9"},
    )  # fmt: skip
    assert done.returncode == 1
    error = [line for line in done.stderr.splitlines() if not line.startswith("[WARN]")]
    assert len(error) == 1
    assert error[0].startswith(f"[ERROR] {tmp_path / 'keras' / 'models'}: the ImageNet weights")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "mask_detector.keras").exists()
