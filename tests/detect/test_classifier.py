import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from facemask.detect import metadata
from facemask.detect.classifier import MAX_BATCH, MaskClassifier, check_model_file, prefer_tflite
from facemask.detect.metadata import ModelMetadata
from facemask.errors import FacemaskError, UsageError
from facemask.files import PROJECT
from facemask.keras_backend import load_keras
from facemask.train.export import convert, export_tflite
from facemask.train.model import save_model

SIZE = (8, 8)


def brightness_model(
    classes: int = 2, size: tuple[int | None, ...] = SIZE, channels: int = 3
) -> Any:
    """A model whose first class is more probable the higher the mean of an image's red is."""
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


RED_OR_DARK = ModelMetadata(("red", "dark"), SIZE, margin=0.25)


@pytest.fixture(params=["keras", "tflite"])
def ours(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"mask_detector.{request.param}"
    write = {"keras": save_model, "tflite": export_tflite}[request.param]
    write(path, brightness_model(), RED_OR_DARK)
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


@pytest.mark.parametrize("suffix", ["keras", "tflite"])
@pytest.mark.parametrize(
    ("names", "into", "left", "summed"),
    [
        (("incorrect", "Mask", "No Mask"), "with_mask", ("Mask", "No Mask"), [[0, 1], [2]]),
        (("incorrect", "Mask", "No Mask"), "without_mask", ("Mask", "No Mask"), [[1], [0, 2]]),
        (("no_mask", "mask", "incorrect"), "with_mask", ("no_mask", "mask"), [[0], [1, 2]]),
    ],
)
def test_the_incorrect_class_is_added_to_another(
    tmp_path: Path,
    suffix: str,
    names: tuple[str, ...],
    into: str,
    left: tuple[str, ...],
    summed: list[list[int]],
) -> None:
    write = {"keras": save_model, "tflite": export_tflite}[suffix]
    path = tmp_path / f"m.{suffix}"
    write(path, brightness_model(3), ModelMetadata(names, SIZE, margin=0.25))
    whole = MaskClassifier.load(path)
    merged = whole.merge_incorrect(into)
    crops = [crop(red) for red in (0, 90, 255)]
    rows = whole.predict(crops)
    expected = np.stack([rows[:, columns].sum(axis=1) for columns in summed], axis=1)
    assert merged.predict(crops) == pytest.approx(expected)
    assert merged.predict(crops).dtype == np.float32
    assert merged.predict([]).shape == (0, 2)
    assert (merged.class_names, merged.margin) == (left, 0.25)
    assert whole.class_names == names


def test_two_classes_can_not_be_merged(tmp_path: Path) -> None:
    save_model(tmp_path / "m.keras", brightness_model(), ModelMetadata(input_size=SIZE))
    with pytest.raises(UsageError, match="found with_mask, without_mask"):
        MaskClassifier.load(tmp_path / "m.keras").merge_incorrect("with_mask")


@pytest.mark.parametrize(
    ("names", "known", "expected"),
    [
        (("Mask", "no mask"), ("without_mask", "with_mask"), ("with_mask", "without_mask")),
        (("Mask", "scarf"), ("with_mask", "without_mask"), ("with_mask", "scarf")),
        (("Mask", "masked"), ("with_mask",), ("Mask", "masked")),  # both would have one name
    ],
)
def test_classes_in_the_words_of_another_model(
    names: tuple[str, ...], known: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    classifier = MaskClassifier(lambda batch: batch[:, 0, 0, :2], ModelMetadata(names, SIZE))
    renamed = classifier.in_terms_of(known)
    assert renamed.class_names == expected
    assert renamed.predict([crop(9)]) == pytest.approx(classifier.predict([crop(9)]))


def test_no_crops_give_no_rows(ours: Path) -> None:
    assert MaskClassifier.load(ours).predict([]).shape == (0, 2)


def test_more_crops_than_a_batch_keep_their_order(ours: Path) -> None:
    crops = [crop(255 * (number % 3 == 0)) for number in range(2 * MAX_BATCH + 5)]
    rows = MaskClassifier.load(ours).predict(crops)
    assert len(rows) == len(crops)
    assert (rows.argmax(axis=1) == [number % 3 != 0 for number in range(len(crops))]).all()


def as_keras_2_wrote_it(path: Path) -> None:
    """Add the key of DepthwiseConv2D that Keras 2 wrote and Keras 3 does not know."""
    with h5py.File(path, "r+") as file:
        config = json.loads(str(file.attrs["model_config"]))
        layers = {layer["class_name"]: layer for layer in config["config"]["layers"]}
        layers["DepthwiseConv2D"]["config"]["groups"] = 1
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


def test_a_model_under_another_name_loads_too(ours: Path) -> None:
    path = ours.rename(ours.with_name("mask_detector.model"))
    check_model_file(path)
    assert MaskClassifier.load(path).class_names == ("red", "dark")


def test_a_classic_model_of_open_input_size_takes_224_pixels(tmp_path: Path) -> None:
    brightness_model(size=(None, None)).save(tmp_path / "m.keras")
    assert MaskClassifier.load(tmp_path / "m.keras").metadata.input_size == (224, 224)


def red_of(scale: Callable[[Any], Any], channels: int = 3, slope: float = 5.0, **head: Any) -> Any:
    """A model like brightness_model, whose input is scaled inside, and with another head."""
    keras = load_keras()
    inputs = keras.Input((*SIZE, channels))
    pooled = keras.layers.GlobalAveragePooling2D()(scale(inputs))
    dense = keras.layers.Dense(**head)
    model = keras.Model(inputs, dense(pooled))
    weights = np.zeros((channels, head["units"]), np.float32)
    weights[0, 0] = slope
    dense.set_weights([weights, np.zeros(head["units"], np.float32)])
    return model


SOFTMAX: dict[str, Any] = {"units": 2, "activation": "softmax"}
FOREIGN: dict[str, tuple[Callable[[], Any], str]] = {
    "scales by a layer": (
        lambda: red_of(load_keras().layers.Rescaling(1 / 127.5, offset=-1), **SOFTMAX),
        "scales its input itself, so that it gets 0 to 255",
    ),
    "scales in its code": (
        lambda: red_of(lambda inputs: inputs / 127.5 - 1, **SOFTMAX),
        "scales its input itself, so that it gets 0 to 255",
    ),
    "has a scaling layer that leaves [-1, 1]": (
        lambda: red_of(load_keras().layers.Rescaling(1.0), **SOFTMAX),
        "",
    ),
    "one sigmoid unit": (
        lambda: red_of(lambda inputs: inputs, slope=-5.0, units=1, activation="sigmoid"),
        "has one sigmoid unit, read as the class without_mask, the second in the alphabet",
    ),
    "one unit without a sigmoid": (
        lambda: red_of(lambda inputs: inputs, slope=-5.0, units=1),
        "has one unit without a sigmoid, read as the class without_mask, the second in the"
        " alphabet",
    ),
    "no softmax": (
        lambda: red_of(lambda inputs: inputs, units=2),
        "has no softmax at its end, so that one is applied",
    ),
}


@pytest.mark.parametrize("suffix", ["keras", "tflite"])
@pytest.mark.parametrize(("make", "remark"), FOREIGN.values(), ids=FOREIGN)
def test_a_model_that_takes_or_gives_something_else_is_understood(
    make: Callable[[], Any], remark: str, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"m.{suffix}"
    if suffix == "keras":
        make().save(path)
    else:
        path.write_bytes(convert(path, make(), (None, *SIZE, 3), "none"))
    lines: list[str] = []
    classifier = MaskClassifier.load(path, announce=lines.append)
    assert lines == ([f"a model without facemask.json: it {remark}"] if remark else [])
    rows = classifier.predict([crop(255), crop(0), crop(191)])
    assert rows.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert rows[:, 0] == pytest.approx(1 / (1 + np.exp([-5, 5, -2.5])), abs=0.02)


def test_a_grey_model_gets_the_brightness(tmp_path: Path) -> None:
    red_of(lambda inputs: inputs, channels=1, **SOFTMAX).save(tmp_path / "m.keras")
    lines: list[str] = []
    classifier = MaskClassifier.load(tmp_path / "m.keras", announce=lines.append)
    assert lines == ["a model without facemask.json: it takes grey images"]
    green, dark = np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9, 3), np.uint8)
    green[..., 1] = 255
    rows = classifier.predict([green, dark])
    brightness = np.array([2 * 0.587 - 1, -1])
    assert rows[:, 0] == pytest.approx(1 / (1 + np.exp(-5 * brightness)), abs=1e-4)


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
        (lambda: brightness_model(channels=4), "expected an image model"),
        (lambda: sequence(4, layer="Dense", units=2), "expected an image model"),
        (lambda: sequence(8, 8, 3, layer="ReLU"), "expected a model that gives classes"),
        (with_lambda, "can't load it"),
    ],
    ids=["three classes", "four channels", "vectors", "image to image", "code inside"],
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
    ("stated", "reason"),
    [
        (ModelMetadata(("a", "b", "c"), SIZE), "names 3 classes, its output has 2"),
        (ModelMetadata(("a", "b"), (16, 16)), r"states input \(16, 16\), the model takes \(8, 8\)"),
    ],
)
def test_metadata_that_contradicts_the_model_is_one_line(
    tmp_path: Path, stated: ModelMetadata, reason: str
) -> None:
    save_model(tmp_path / "m.keras", brightness_model(), stated)
    with pytest.raises(FacemaskError, match=reason):
        MaskClassifier.load(tmp_path / "m.keras")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such model; make one with"),
        (b"", "expected a .keras, .tflite or HDF5 model"),
        (b"TFL3 or anything", "expected a .keras, .tflite or HDF5 model"),
        (b"    TFL3 but no more", "LiteRT can't load it"),
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


def test_a_keras_model_has_run_once_when_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path / "m.keras", brightness_model(), RED_OR_DARK)
    import tensorflow as tf

    function, shapes = tf.function, []

    def watched(body: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        traced = function(body, **options)
        return lambda batch: shapes.append(batch.shape) or traced(batch)

    monkeypatch.setattr(tf, "function", watched)
    MaskClassifier.load(tmp_path / "m.keras")
    assert shapes == [(1, *SIZE, 3)]


# LiteRT


def converted(body: Callable[..., Any], *inputs: tuple[tuple[int | None, ...], str]) -> bytes:
    """A `.tflite` file of a TensorFlow function; inputs: the shape and type of each."""
    load_keras()
    import tensorflow as tf

    specs = [tf.TensorSpec(shape, tf.as_dtype(kind)) for shape, kind in inputs]
    function = tf.function(body, input_signature=specs).get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()


def first_classes(count: int) -> Callable[..., Any]:
    """Rows of `count` numbers from a batch of images."""

    def body(batch: Any) -> Any:
        import tensorflow as tf

        return tf.cast(batch, tf.float32)[:, 0, 0, :1] * tf.ones((1, count))

    return body


def test_a_litert_model_without_metadata_has_the_classic_classes(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(converted(first_classes(2), ((1, *SIZE, 3), "float32")))
    classifier = MaskClassifier.load(path)
    assert classifier.metadata == ModelMetadata(input_size=SIZE)
    rows = classifier.predict([crop(255), crop(0), crop(255)])  # more than the model's batch of one
    assert rows.tolist() == [[0.5, 0.5]] * 3  # its outputs are equal, and no probabilities


SHAPE = (None, *SIZE, 3)


@pytest.mark.parametrize(
    ("body", "inputs", "reason"),
    [
        (first_classes(3), [(SHAPE, "float32")], "3 classes without their names"),
        (first_classes(2), [((None, 8, 8, 4), "float32")], "expected an image model"),
        (first_classes(2), [(SHAPE, "uint8")], "expected a model of float32 input, found uint8"),
        (lambda x: x, [(SHAPE, "float32")], "expected a model that gives classes"),
        (lambda x, y: x + y, [(SHAPE, "float32")] * 2, "one input and one output, found 2 and 1"),
    ],
    ids=["three classes", "four channels", "whole numbers", "image to image", "two inputs"],
)
def test_litert_models_of_something_else_are_one_line(
    tmp_path: Path, body: Callable[..., Any], inputs: list[Any], reason: str
) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(converted(body, *inputs))
    with pytest.raises(FacemaskError, match=reason) as problem:
        MaskClassifier.load(path)
    assert str(problem.value).startswith(f"{path}: ")


def test_litert_metadata_that_contradicts_the_model_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    export_tflite(path, brightness_model(), ModelMetadata(("a", "b", "c"), SIZE))
    with pytest.raises(FacemaskError, match="names 3 classes, its output has 2"):
        MaskClassifier.load(path)


def test_a_truncated_litert_model_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.tflite"
    export_tflite(path, brightness_model(), RED_OR_DARK)
    capfd.readouterr()
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(FacemaskError, match=r"m.tflite: LiteRT can't load it as a .tflite model: "):
        MaskClassifier.load(path)
    assert capfd.readouterr().err == ""


def test_a_litert_model_needs_no_tensorflow_and_prints_nothing(run_script, tmp_path: Path) -> None:
    export_tflite(tmp_path / "m.tflite", brightness_model(), RED_OR_DARK)
    code = (
        "import sys, numpy\n"
        "from facemask.detect.classifier import MaskClassifier\n"
        "crops = [numpy.full((9, 9, 3), red, numpy.uint8) for red in (255, 0)]\n"
        "print(MaskClassifier.load('m.tflite').predict(crops).argmax(axis=1).tolist())\n"
        "print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    done = run_script("-c", code, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("[0, 1]\n[]\n", "")


def without_litert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)


def test_without_litert_the_error_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_tflite(tmp_path / "m.tflite", brightness_model(), RED_OR_DARK)
    without_litert(monkeypatch)
    with pytest.raises(FacemaskError, match=r"m.tflite: .*`pip install ai-edge-litert`") as problem:
        MaskClassifier.load(tmp_path / "m.tflite")
    assert "\n" not in str(problem.value)


# The TFLite export


def export_metadata(path: Path) -> ModelMetadata:
    """The metadata of a `.keras` file's TFLite export."""
    return replace(metadata.read(path) or ModelMetadata(), twin_of=metadata.weights_digest(path))


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A folder of m.keras and its TFLite export."""
    model = brightness_model()
    save_model(tmp_path / "m.keras", model, RED_OR_DARK)
    export_tflite(tmp_path / "m.tflite", model, export_metadata(tmp_path / "m.keras"))
    return tmp_path


def test_an_export_of_the_same_weights_is_used_and_announced(pair: Path) -> None:
    messages: list[str] = []
    assert prefer_tflite(pair / "m.keras", messages.append) == pair / "m.tflite"
    assert messages == ["using m.tflite, the TFLite export of m.keras"]
    export, original = (MaskClassifier.load(pair / name) for name in ("m.tflite", "m.keras"))
    assert replace(export.metadata, twin_of=None) == original.metadata


def retrain(pair: Path) -> None:
    model = brightness_model()
    model.set_weights([weights + 1 for weights in model.get_weights()])
    save_model(pair / "m.keras", model, RED_OR_DARK)


def rename_the_classes(pair: Path) -> None:
    with zipfile.ZipFile(pair / "m.keras") as archive:
        entries = {
            name: archive.read(name) for name in archive.namelist() if name != metadata.ENTRY
        }
    with zipfile.ZipFile(pair / "m.keras", "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    metadata.write(pair / "m.keras", replace(RED_OR_DARK, class_names=("a", "b")))


def export_without_digest(pair: Path) -> None:
    export_tflite(pair / "m.tflite", brightness_model(), RED_OR_DARK)


def truncate_the_export(pair: Path) -> None:
    (pair / "m.tflite").write_bytes((pair / "m.tflite").read_bytes()[:900])


def damage_the_metadata(pair: Path) -> None:
    content = (pair / "m.tflite").read_bytes()
    (pair / "m.tflite").write_bytes(content.replace(b'"class_names"', b'"class_names,'))


def put_something_else_there(pair: Path) -> None:
    (pair / "m.tflite").write_bytes((pair / "m.keras").read_bytes())


@pytest.mark.parametrize(
    "change",
    [
        retrain,
        rename_the_classes,
        export_without_digest,
        truncate_the_export,
        damage_the_metadata,
        put_something_else_there,
        lambda pair: (pair / "m.tflite").unlink(),
    ],
)
def test_anything_but_an_export_of_the_same_weights_is_ignored(
    pair: Path, change: Callable[[Path], None]
) -> None:
    change(pair)
    messages: list[str] = []
    assert prefer_tflite(pair / "m.keras", messages.append) == pair / "m.keras"
    assert messages == []


def test_without_litert_the_keras_model_is_used(
    pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_litert(monkeypatch)
    assert prefer_tflite(pair / "m.keras", print) == pair / "m.keras"


def test_a_tflite_file_and_a_missing_file_are_returned_unchanged(pair: Path) -> None:
    messages: list[str] = []
    assert prefer_tflite(pair / "m.tflite", messages.append) == pair / "m.tflite"
    assert prefer_tflite(pair / "missing.keras", messages.append) == pair / "missing.keras"
    assert messages == []


def test_a_keras_model_predicts_the_same_on_jax(tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="jax is not installed")
    code = (
        "import numpy as np; from facemask.detect.classifier import MaskClassifier\n"
        f"model = MaskClassifier.load({str(PROJECT / 'pretrained' / 'mask_detector.keras')!r})\n"
        "crop = np.arange(48 * 48 * 3, dtype=np.uint8).reshape(48, 48, 3)\n"
        "print(*model.predict([crop])[0].tolist())"
    )
    rows = []
    for backend in ("jax", "tensorflow"):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True,
            env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        rows.append([float(number) for number in done.stdout.split()])
    assert rows[0] == pytest.approx(rows[1], abs=1e-3)
