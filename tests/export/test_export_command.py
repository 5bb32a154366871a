"""`python -m facemask.export`."""

from pathlib import Path

import numpy as np
import pytest

from facemask.console import run
from facemask.detect import metadata
from facemask.detect.builtin import BuiltinFaceDetector
from facemask.detect.classifier import MaskClassifier, prefer_tflite
from facemask.detect.metadata import ModelMetadata
from facemask.export.__main__ import main
from facemask.export.calibration import training_photographs
from facemask.files import PROJECT, file_digest
from facemask.images import crop_face, read_image
from facemask.train.model import save_model

from ..detect.test_classifier import SIZE, brightness_model, crop

KNOWN = ModelMetadata(("red", "dark"), SIZE, margin=0.25, training={"seed": 7})
EXAMPLES = PROJECT / "examples"  # photographs with faces
REDS = [crop(red) for red in range(0, 256, 15)]


def example_faces() -> list[np.ndarray]:
    """Crops of faces from which int8 takes its ranges."""
    image = read_image(EXAMPLES / "example_02.png")
    return [crop_face(image, face, 0.25) for face in BuiltinFaceDetector.load().detect(image)]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_model(tmp_path / "m.keras", brightness_model(), KNOWN)
    return tmp_path / "m.keras"


@pytest.mark.parametrize(
    ("arguments", "tolerance"),
    [
        ([], 0.02),
        (["--quantize", "float16"], 2e-3),
        (["--quantize", "none"], 1e-6),
        (["--quantize", "int8"], 0.02),
    ],
)
def test_the_export_takes_the_place_of_its_model(
    model: Path, arguments: list[str], tolerance: float
) -> None:
    images = ["--images", str(EXAMPLES)] if "int8" in arguments else []
    assert main(["--model", str(model), *arguments, *images]) == 0
    export = prefer_tflite(model, lambda _: None)
    assert export == model.with_suffix(".tflite")
    crops = example_faces() if images else REDS
    rows = MaskClassifier.load(export).predict(crops)
    assert np.abs(rows - MaskClassifier.load(model).predict(crops)).max() < tolerance
    assert len(rows)


def test_a_model_of_others_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its input may be scaled in another way, which only a file without metadata tells."""
    brightness_model().save(tmp_path / "m.h5")
    with pytest.raises(SystemExit) as end:
        run(lambda: main(["--model", str(tmp_path / "m.h5")]))
    assert end.value.code == 1
    assert "m.h5: expected a model of train_mask_detector.py" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["m.h5"]


def test_another_name_can_be_written(model: Path) -> None:
    output = model.with_name("small.tflite")
    assert main(["--model", str(model), "--output", str(output)]) == 0
    assert metadata.read(output)
    assert not model.with_suffix(".tflite").exists()


def test_photographs_of_the_other_parts_are_left_out(tmp_path: Path) -> None:
    for name in ("train", "test", "unknown"):
        (tmp_path / f"{name}.png").write_bytes(name.encode())
    parts = {file_digest(tmp_path / f"{part}.png"): part for part in ("train", "test")}
    names = [path.stem for path in training_photographs([tmp_path], parts)]
    assert names == ["train", "unknown"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quantize", "int8", "--images", "missing"], "missing"),
        (["--quantize", "int8", "--images", "blank"], "int8 needs images"),
        (["--quantize", "int8", "--images", "empty"], "empty: expected photographs"),
    ],
)
def test_photographs_without_a_face_are_one_line(
    model: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(model.parent)
    for folder in ("blank", "empty"):
        Path(folder).mkdir()
    Path("blank/no.png").write_bytes(b"no image")
    before = sorted(Path().rglob("*"))
    with pytest.raises(SystemExit) as end:
        run(lambda: main(["--model", str(model), *arguments]))
    assert end.value.code == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "[ERROR]" in line]
    assert len(errors) == 1
    assert message in errors[0]
    assert sorted(Path().rglob("*")) == before
