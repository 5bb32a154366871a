import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facemask.detect import metadata
from facemask.detect.classifier import MaskClassifier
from facemask.detect.litert import load_interpreter
from facemask.detect.metadata import ModelMetadata
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.images import model_input
from facemask.train.export import QUANTIZATIONS, Quantization, export_tflite

from ..detect.test_classifier import SIZE, brightness_model, crop

FACTS = ModelMetadata(("red", "dark"), SIZE, margin=0.25, training={"seed": 7}, twin_of="0" * 64)
REDS = list(range(0, 256, 15))
CALIBRATION = [model_input(crop(red), SIZE) for red in REDS]


def interpreter(path: Path) -> Any:
    return load_interpreter()(model_content=path.read_bytes())


@pytest.mark.parametrize(
    ("quantize", "tolerance"),
    [("none", 1e-6), ("float16", 2e-3), ("dynamic", 1e-6), ("int8", 0.04)],
)
def test_a_file_predicts_what_its_model_does(
    tmp_path: Path, quantize: Quantization, tolerance: float
) -> None:
    path = tmp_path / "m.tflite"
    model = brightness_model()
    export_tflite(path, model, FACTS, quantize, iter(CALIBRATION))
    rows = MaskClassifier.load(path).predict([crop(red) for red in REDS])
    expected = model(np.stack(CALIBRATION)).numpy()
    assert np.abs(rows - expected).max() < tolerance
    assert rows.sum(axis=1) == pytest.approx(1.0, abs=1e-6)


def test_probabilities_of_int8_are_not_in_steps(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    export_tflite(path, brightness_model(), FACTS, "int8", CALIBRATION)
    steps = MaskClassifier.load(path).predict([crop(red) for red in REDS]) * 256
    assert np.abs(steps - np.rint(steps)).max() > 0.1


@pytest.mark.parametrize(
    ("quantize", "kinds"), [("none", set()), ("float16", {"float16"}), ("int8", {"int8"})]
)
def test_numbers_are_kept_as_asked(tmp_path: Path, quantize: Quantization, kinds: set[str]) -> None:
    path = tmp_path / "m.tflite"
    export_tflite(path, brightness_model(), FACTS, quantize, CALIBRATION)
    types = {np.dtype(tensor["dtype"]).name for tensor in interpreter(path).get_tensor_details()}
    assert types & {"float16", "int8"} == kinds
    takes, gives = (interpreter(path).get_input_details(), interpreter(path).get_output_details())
    assert [tensor["dtype"] for tensor in (*takes, *gives)] == [np.float32, np.float32]


@pytest.mark.parametrize("quantize", QUANTIZATIONS)
def test_any_number_of_images_goes_in_at_once(tmp_path: Path, quantize: Quantization) -> None:
    path = tmp_path / "m.tflite"
    export_tflite(path, brightness_model(), FACTS, quantize, CALIBRATION)
    network = interpreter(path)
    takes, gives = network.get_input_details()[0], network.get_output_details()[0]
    network.resize_tensor_input(takes["index"], (5, *SIZE, 3))
    network.allocate_tensors()
    network.set_tensor(takes["index"], np.stack(CALIBRATION[-5:]))
    network.invoke()
    assert network.get_tensor(gives["index"]).shape == (5, 2)


def test_the_metadata_are_inside(tmp_path: Path) -> None:
    export_tflite(tmp_path / "m.tflite", brightness_model(), FACTS)
    assert metadata.read(tmp_path / "m.tflite") == FACTS


@pytest.mark.parametrize("quantize", QUANTIZATIONS)
def test_the_converter_prints_nothing(
    tmp_path: Path, quantize: Quantization, capfd: pytest.CaptureFixture[str]
) -> None:
    model = brightness_model()
    capfd.readouterr()
    export_tflite(tmp_path / "m.tflite", model, FACTS, quantize, CALIBRATION)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("calibration", [None, []])
def test_int8_needs_images(tmp_path: Path, calibration: list[np.ndarray] | None) -> None:
    with pytest.raises(FacemaskError, match=r"m.tflite: int8 needs images .* found none"):
        export_tflite(tmp_path / "m.tflite", brightness_model(), FACTS, "int8", calibration)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_be_converted_is_one_line_and_leaves_the_old_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(b"old")
    model = brightness_model()
    capfd.readouterr()
    with pytest.raises(FacemaskError, match=r"m.tflite: the model can't be converted: ") as problem:
        export_tflite(path, model, ModelMetadata(input_size=(16, 16)))
    assert "\n" not in str(problem.value)
    assert capfd.readouterr() == ("", "")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


ON_JAX = """
import sys
from pathlib import Path
import numpy as np
from facemask.detect.metadata import ModelMetadata
from facemask.errors import FacemaskError
from facemask.train.export import export_tflite
from tests.detect.test_classifier import SIZE, brightness_model
inputs = np.load("inputs.npy")
export_tflite(Path("m.tflite"), brightness_model(), ModelMetadata(input_size=SIZE), "int8", inputs)
try:
    export_tflite(Path("x.tflite"), brightness_model(), ModelMetadata(input_size=(16, 16)))
except FacemaskError as error:
    print(error)
"""


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_a_model_on_jax_is_converted_by_a_child_on_tensorflow(tmp_path: Path) -> None:
    np.save(tmp_path / "inputs.npy", CALIBRATION)
    done = subprocess.run(
        [sys.executable, "-c", ON_JAX], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("x.tflite: the model can't be converted: ")
    assert len(done.stdout.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inputs.npy", "m.tflite"]
    export_tflite(tmp_path / "here.tflite", brightness_model(), FACTS, "int8", CALIBRATION)
    rows, expected = (
        MaskClassifier.load(tmp_path / name).predict([crop(red) for red in REDS])
        for name in ("m.tflite", "here.tflite")
    )
    assert rows == pytest.approx(expected, abs=1e-6)
