"""Files that people give as a model: each labels a face, or is refused in one line."""

import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest

import detect_mask_image
from facemask.detect import metadata
from facemask.detect.metadata import ModelMetadata
from facemask.files import PROJECT
from facemask.images import read_image
from facemask.keras_backend import load_keras
from facemask.train.export import convert
from facemask.train.model import save_model

from .harness import check, run_command

SIZE = (8, 8)
TWO = ModelMetadata(input_size=SIZE)


def network(
    units: int = 2,
    activation: str | None = "softmax",
    shape: tuple[int | None, ...] = (*SIZE, 3),
    scale: Callable[[Any], Any] = lambda inputs: inputs,
) -> Any:
    keras = load_keras()
    inputs = keras.Input(shape)
    pooled = keras.layers.GlobalAveragePooling2D()(scale(inputs))
    return keras.Model(inputs, keras.layers.Dense(units, activation=activation)(pooled))


def two_inputs() -> Any:
    keras = load_keras()
    first, second = keras.Input((*SIZE, 3)), keras.Input((*SIZE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([first, second]))
    return keras.Model([first, second], keras.layers.Dense(2)(pooled))


def with_code() -> Any:
    keras = load_keras()
    return network(scale=keras.layers.Lambda(lambda x: x * 2))


def saved(model: Callable[[], Any], name: str = "m.keras") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        model().save(folder / name)
        return folder / name

    return write


def with_metadata(changes: dict[str, Any]) -> Callable[[Path], Path]:
    """A model whose facemask.json has other entries than it should."""

    def write(folder: Path) -> Path:
        network().save(folder / "m.keras")
        entries = {"class_names": ["with_mask", "without_mask"], "input_size": SIZE, **changes}
        with zipfile.ZipFile(folder / "m.keras", "a") as archive:
            archive.writestr(metadata.ENTRY, json.dumps(entries))
        return folder / "m.keras"

    return write


def tflite(folder: Path) -> Path:
    path = folder / "m.tflite"
    path.write_bytes(convert(path, network(), (None, *SIZE, 3), "none"))
    return path


def content(data: bytes, name: str = "m.keras") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return write


def truncated(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = make(folder)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        return path

    return write


def keras_2(folder: Path) -> Path:
    """HDF5 with what Keras 2 wrote and Keras 3 does not know."""
    keras = load_keras()
    path = folder / "mask_detector.h5"
    network(scale=keras.layers.DepthwiseConv2D(1)).save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(str(file.attrs["model_config"]))
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "DepthwiseConv2D":
                layer["config"]["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)
    return path.rename(folder / "mask_detector.model")


def saved_model(folder: Path) -> Path:
    network().export(folder / "saved", verbose=False)
    return folder / "saved"


class Harmful:
    """Unpickling it would write a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("unpickled"),)


def five_classes(folder: Path) -> Path:
    names = ("with_mask", "without_mask", "mask_weared_incorrect", "beard", "hand")
    save_model(folder / "m.keras", network(5), replace(TWO, class_names=names))
    return folder / "m.keras"


def rescaling(**options: Any) -> Any:
    return network(scale=load_keras().layers.Rescaling(**options))


# What the model is: how it is written, and the line of its error, "" where it works.
MODELS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "Keras 3": (saved(network), ""),
    "Keras 2, HDF5": (keras_2, ""),
    "one sigmoid unit": (saved(lambda: network(1, "sigmoid")), ""),
    "no softmax": (saved(lambda: network(2, None)), ""),
    "scaling inside": (saved(lambda: rescaling(scale=1 / 127.5, offset=-1)), ""),
    "another input size": (saved(lambda: network(shape=(20, 12, 3))), ""),
    "any input size": (saved(lambda: network(shape=(None, None, 3))), ""),
    "one channel": (saved(lambda: network(shape=(*SIZE, 1))), ""),
    "five classes": (five_classes, ""),
    "LiteRT": (tflite, ""),
    "no suffix": (lambda folder: tflite(folder).rename(folder / "m"), ""),
    "three classes without names": (saved(lambda: network(3)), "3 classes without their names"),
    "four channels": (saved(lambda: network(shape=(*SIZE, 4))), "expected an image model"),
    "channels first": (saved(lambda: network(shape=(3, *SIZE))), "expected an image model"),
    "two inputs": (saved(two_inputs), "expected an image model"),
    "code inside": (saved(with_code), "can't load it as a .keras model"),
    "code inside, HDF5": (saved(with_code, "m.h5"), "can't load it as a .h5 model"),
    "truncated .keras": (truncated(saved(network)), "can't load it as a .keras model"),
    "truncated HDF5": (truncated(saved(network, "m.h5")), "can't load it as a .h5 model"),
    "truncated .tflite": (truncated(tflite), "LiteRT can't load it"),
    "SavedModel": (saved_model, "expected a .keras, .tflite or HDF5 model, found a folder"),
    "weights alone": (
        lambda folder: _weights(folder),
        "can't load it as a .h5 model",
    ),
    "ONNX": (content(b"\x08\x07\x12\x07pytorch", "m.onnx"), "found none of them"),
    "pickle": (content(pickle.dumps(Harmful()), "m.pkl"), "found none of them"),
    "PyTorch": (content(b"PK\x03\x04" + bytes(40), "m.pt"), "can't load it as a .keras model"),
    "text": (content(b"a mask detector"), "found none of them"),
    "nothing": (content(b""), "found none of them"),
    "missing": (lambda folder: folder / "m.keras", "no such model; make one with"),
    "a face detector": (
        lambda folder: PROJECT / "face_detector" / "builtin.tflite",
        "expected a model that gives classes",
    ),
    "metadata: margin": (with_metadata({"margin": -1}), "facemask.json can't be used: margin"),
    "metadata: size": (with_metadata({"input_size": ["8", "8"]}), "can't be used: input_size"),
    "metadata: classes": (with_metadata({"class_names": ["a", "b", "c"]}), "names 3 classes"),
    "metadata: null": (with_metadata({"class_names": None}), "facemask.json can't be used"),
    "metadata: other size": (with_metadata({"input_size": [9, 9]}), "states input (9, 9)"),
}


def _weights(folder: Path) -> Path:
    network().save_weights(folder / "m.weights.h5")
    return folder / "m.weights.h5"


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "face.png"
    image = read_image(PROJECT / "examples" / "example_01.png")
    cv2.imwrite(str(path), cv2.resize(image, None, fx=0.5, fy=0.5))
    return path


@pytest.mark.parametrize(("make", "error"), MODELS.values(), ids=MODELS)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_model_works_or_is_refused_in_one_line(
    make: Callable[[Path], Path],
    error: str,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make(tmp_path)
    monkeypatch.chdir(tmp_path)
    arguments = ["--image", photo, "--detector", "builtin", "--no-display", "--json", "faces.json"]
    outcome = run_command(detect_mask_image.main, *arguments, "--model", model)
    if error:
        check(outcome, 1, error)
        assert outcome.errors[0].startswith(f"{model}: ")
        assert not Path("faces.json").exists()
    else:
        check(outcome, 0)
        (record,) = json.loads(Path("faces.json").read_text())
        (face,) = record["faces"]
        assert 0 <= face["probability"] <= 1
    assert not Path("unpickled").exists()


@pytest.mark.parametrize(
    ("into", "probability", "word"),
    [(None, 0.5, "Incorrect Mask"), ("with_mask", 0.7, "Mask"), ("without_mask", 0.8, "No Mask")],
)
def test_three_answers_or_two(
    into: str | None,
    probability: float,
    word: str,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The model says .2, .3 and .5 of every face; its folders were named in the user's words."""
    model = network(3)
    names = ("Mask", "no_mask", "incorrect")
    model.layers[-1].set_weights([np.zeros((3, 3)), np.log([0.2, 0.3, 0.5])])
    save_model(tmp_path / "m.keras", model, replace(TWO, class_names=names))
    monkeypatch.chdir(tmp_path)
    merging = ["--merge-incorrect", into] if into else []
    outcome = run_command(
        detect_mask_image.main,
        *("--image", photo, "--detector", "builtin", "--no-display", "--json", "faces.json"),
        *("--model", "m.keras", *merging),
    )
    check(outcome, 0)
    ((face,),) = [record["faces"] for record in json.loads(Path("faces.json").read_text())]
    label = names[("Mask", "No Mask", "Incorrect Mask").index(word)]
    assert (face["label"], face["probability"]) == (label, pytest.approx(probability))
    assert f": {word}: {probability:.2%}\n" in outcome.out
