import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from facemask.backend import load_keras
from facemask.classifier import MAX_BATCH, MaskClassifier, check_model_file
from facemask.errors import FacemaskError
from facemask.facts import ModelFacts
from facemask.training import save_model

SIZE = (8, 8)


def brightness_model(
    classes: int = 2, size: tuple[int | None, ...] = SIZE, channels: int = 3
) -> Any:
    """The first class is the likelier the brighter the red of an image is on average."""
    keras = load_keras()
    inputs = keras.Input((*size, channels))
    kept = keras.layers.DepthwiseConv2D(1, depthwise_initializer="ones", use_bias=False)(inputs)
    pooled = keras.layers.GlobalAveragePooling2D()(kept)
    dense = keras.layers.Dense(classes, activation="softmax")
    model = keras.Model(inputs, dense(pooled))
    weights = np.zeros((channels, classes), np.float32)
    weights[0, 0] = 5.0
    dense.set_weights([weights, np.zeros(classes, np.float32)])
    return model


def crop(red: int, shape: tuple[int, int] = (10, 12)) -> np.ndarray:
    return np.full((*shape, 3), (128, 128, red), np.uint8)


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    path = tmp_path / "mask_detector.keras"
    save_model(path, brightness_model(), ModelFacts(("red", "dark"), SIZE, margin=0.25))
    return path


def test_names_margin_and_probabilities_come_from_the_file(ours: Path) -> None:
    classifier = MaskClassifier.load(ours)
    assert classifier.class_names == ("red", "dark")
    assert classifier.margin == 0.25
    rows = classifier.predict([crop(255), crop(0, (1, 1)), crop(255, (300, 2))])
    assert rows.shape == (3, 2)
    assert rows.dtype == np.float32
    assert rows.sum(axis=1) == pytest.approx(1.0, abs=1e-6)
    assert rows.argmax(axis=1).tolist() == [0, 1, 0]
    assert rows[0, 0] == pytest.approx(1 / (1 + np.exp(-5)), abs=1e-5)


def test_no_crops_give_no_rows(ours: Path) -> None:
    assert MaskClassifier.load(ours).predict([]).shape == (0, 2)


def test_more_crops_than_a_batch_keep_their_order(ours: Path) -> None:
    crops = [crop(255 * (number % 3 == 0)) for number in range(2 * MAX_BATCH + 5)]
    rows = MaskClassifier.load(ours).predict(crops)
    assert len(rows) == len(crops)
    assert (rows.argmax(axis=1) == [number % 3 != 0 for number in range(len(crops))]).all()


def as_keras_2_wrote_it(path: Path) -> None:
    """Put back the key of DepthwiseConv2D that Keras 2 wrote and Keras 3 does not know."""
    with h5py.File(path, "r+") as file:
        config = json.loads(str(file.attrs["model_config"]))
        layers = [one for one in config["config"]["layers"] if "Depthwise" in one["class_name"]]
        layers[0]["config"]["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)


@pytest.mark.parametrize("name", ["mask_detector.model", "mask_detector.h5", "mask_detector"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_models_of_the_classic_scripts_load_by_content(tmp_path: Path, name: str) -> None:
    brightness_model().save(tmp_path / "saved.h5")
    as_keras_2_wrote_it(tmp_path / "saved.h5")
    path = (tmp_path / "saved.h5").rename(tmp_path / name)
    check_model_file(path)
    classifier = MaskClassifier.load(path)
    assert classifier.class_names == ("with_mask", "without_mask")
    assert classifier.margin == 0.0
    assert classifier.predict([crop(255), crop(0)]).argmax(axis=1).tolist() == [0, 1]


def test_a_keras_file_under_another_name_loads_too(ours: Path) -> None:
    path = ours.rename(ours.with_name("mask_detector.model"))
    assert MaskClassifier.load(path).class_names == ("red", "dark")


def test_a_classic_model_of_open_input_size_takes_224_pixels(tmp_path: Path) -> None:
    brightness_model(size=(None, None)).save(tmp_path / "m.keras")
    assert MaskClassifier.load(tmp_path / "m.keras").facts.input_size == (224, 224)


def with_lambda() -> Any:
    keras = load_keras()
    inputs = keras.Input((*SIZE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, keras.layers.Lambda(lambda x: x[:, :2])(pooled))


def sequence(*shape: int, layer: str, **options: Any) -> Any:
    keras = load_keras()
    return keras.Sequential([keras.Input(shape), getattr(keras.layers, layer)(**options)])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: brightness_model(classes=3), "3 classes without their names"),
        (lambda: brightness_model(classes=1), "1 classes without their names"),
        (lambda: brightness_model(channels=1), "expected a model of colour images"),
        (lambda: sequence(4, layer="Dense", units=2), "expected a model of colour images"),
        (lambda: sequence(8, 8, 3, layer="ReLU"), "expected a model that gives classes"),
        (with_lambda, "can't load it"),
    ],
    ids=["three classes", "one class", "grey", "vectors", "image to image", "code inside"],
)
def test_models_of_something_else_are_one_line(
    tmp_path: Path, make: Callable[[], Any], reason: str
) -> None:
    make().save(tmp_path / "m.keras")
    with pytest.raises(FacemaskError, match=reason) as problem:
        MaskClassifier.load(tmp_path / "m.keras")
    assert str(problem.value).startswith(f"{tmp_path / 'm.keras'}: ")
    assert "\n" not in str(problem.value)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_code_inside_an_hdf5_model_is_not_run(tmp_path: Path) -> None:
    with_lambda().save(tmp_path / "m.h5")
    with pytest.raises(FacemaskError, match="can't load it"):
        MaskClassifier.load(tmp_path / "m.h5")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (ModelFacts(("a", "b", "c"), SIZE), "names 3 classes, its output has 2"),
        (ModelFacts(("a", "b"), (16, 16)), r"states input \(16, 16\), the model takes \(8, 8\)"),
    ],
)
def test_facts_that_contradict_the_model_are_one_line(
    tmp_path: Path, facts: ModelFacts, reason: str
) -> None:
    save_model(tmp_path / "m.keras", brightness_model(), facts)
    with pytest.raises(FacemaskError, match=reason):
        MaskClassifier.load(tmp_path / "m.keras")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such model; make one with"),
        (b"", "expected a .keras or HDF5 model"),
        (b"TFL3 or anything", "expected a .keras or HDF5 model"),
        (b"PK\x03\x04 but no archive", "can't load it"),
        (b"\x89HDF\r\n\x1a\n but no more", "can't load it"),
    ],
)
def test_files_that_are_no_models_are_one_line(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "m.keras"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FacemaskError, match=reason) as problem:
        MaskClassifier.load(path)
    assert str(problem.value).startswith(f"{path}: ")


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(FacemaskError, match="found a folder"):
        check_model_file(tmp_path)
