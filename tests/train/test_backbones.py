import warnings
from pathlib import Path

import numpy as np
import pytest

from facemask.detect.classifier import MaskClassifier
from facemask.detect.metadata import ModelMetadata
from facemask.errors import FacemaskError
from facemask.images import model_input
from facemask.keras_backend import load_keras
from facemask.train import backbones
from facemask.train import model as model_module
from facemask.train.backbones import BACKBONES

# The module of keras.applications that has a backbone's own preprocess_input.
MODULES = {
    "mobilenet_v2": "mobilenet_v2",
    "mobilenet_v3_small": "mobilenet_v3",
    "mobilenet_v3_large": "mobilenet_v3",
    "efficientnet_v2_b0": "efficientnet_v2",
    "resnet50_v2": "resnet_v2",
    "vgg16": "vgg16",
}


@pytest.fixture(scope="module")
def mobilenet_weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Some weights of MobileNetV2 in a file: random ones, which are good enough for shapes."""
    path = tmp_path_factory.mktemp("weights") / "backbone.weights.h5"
    backbones.load_backbone("none").save_weights(path)
    return str(path)


@pytest.mark.parametrize("name", BACKBONES)
def test_each_backbone_gets_the_input_of_its_own_preprocessing(name: str) -> None:
    keras = load_keras()
    image = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)  # BGR
    rescaled = model_input(image, (6, 5))[None]
    if BACKBONES[name].rescales_input:
        layer = backbones.input_rescaling(BACKBONES[name])
        rescaled = keras.ops.convert_to_numpy(layer(rescaled))
    rgb = image[None, ..., ::-1].astype(np.float32)
    own = getattr(keras.applications, MODULES[name]).preprocess_input(rgb.copy())
    assert rescaled == pytest.approx(own, abs=1e-3)


def test_a_model_on_vgg16_is_used_as_any_other(tmp_path: Path) -> None:
    """Nothing but the file is known where it is loaded, and the input is the usual one."""
    keras = load_keras()
    keras.utils.set_random_seed(0)
    model = model_module.build_model(2, "none", (32, 32), backbone="vgg16")
    model_module.save_model(tmp_path / "vgg.keras", model, ModelMetadata(input_size=(32, 32)))
    face = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    (probabilities,) = MaskClassifier.load(tmp_path / "vgg.keras").predict([face])

    own, *head = (model.layers[number] for number in (2, 3, 4, 6))
    assert own.name == "vgg16"
    small = (model_input(face, (32, 32)) + 1) * 127.5
    hidden = own(keras.applications.vgg16.preprocess_input(small.copy())[None])
    for layer in head:
        hidden = layer(hidden)
    assert probabilities == pytest.approx(keras.ops.convert_to_numpy(hidden)[0], abs=1e-5)


def test_the_input_rescaling_is_never_trained() -> None:
    model = model_module.build_model(2, "none", (32, 32), backbone="vgg16")
    model_module.unfreeze(model)
    assert not model.get_layer("input_rescaling").trainable_weights
    assert len(model.trainable_weights) == 2 * 13 + 4  # 13 convolutions and the head


@pytest.mark.parametrize("name", BACKBONES)
def test_the_file_of_imagenet_weights_is_the_one_that_keras_fetches(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keras.src.utils import file_utils

    fetched: list[str] = []

    def refuse(file: str, *_: object, **__: object) -> None:
        fetched.append(file)
        raise OSError("no network")

    monkeypatch.setattr(file_utils, "get_file", refuse)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    path = backbones.imagenet_file(name)
    with pytest.raises(FacemaskError, match=f"^{path}: the ImageNet weights"):
        backbones.load_backbone("imagenet", (32, 32), name)
    assert fetched == [path.name]
    with pytest.raises(FacemaskError, match=f"^{path}: no such file.*a dry run does not fetch"):
        backbones.find_weights("imagenet", name, download=False)
    path.parent.mkdir()
    path.touch()
    assert backbones.find_weights("imagenet", name, download=False) == "imagenet"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing.h5", None, "can't be read"),
        ("text.h5", b"text", "expected an HDF5 file"),
        ("cut.keras", b"PK\x03\x04", "not weights of MobileNetV2"),
        ("cut.h5", b"\x89HDF\r\n\x1a\n", "not weights of MobileNetV2"),
    ],
)
def test_weights_that_cannot_be_used_are_one_line(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FacemaskError, match=reason) as problem:
        backbones.load_backbone(str(tmp_path / name))
    assert str(tmp_path / name) in str(problem.value)
    assert "\n" not in str(problem.value)


def test_weights_of_another_backbone_are_one_line(mobilenet_weights: str) -> None:
    with pytest.raises(FacemaskError, match="not weights of VGG-16 without its top") as problem:
        backbones.load_backbone(mobilenet_weights, (32, 32), "vgg16")
    assert "\n" not in str(problem.value)


def test_weights_fit_any_size(mobilenet_weights: str) -> None:
    full, small = (
        backbones.load_backbone(mobilenet_weights, size) for size in ((224, 224), (96, 96))
    )
    assert small.input_shape == (None, 96, 96, 3)
    pairs = zip(full.get_weights(), small.get_weights(), strict=True)
    assert all(np.array_equal(*pair) for pair in pairs)


def test_a_trained_model_gives_its_backbone(tmp_path: Path) -> None:
    model = model_module.build_model(3, "none", (96, 96))
    path = tmp_path / "trained.model"  # the content decides, not the name
    model_module.save_model(
        tmp_path / "trained.keras", model, ModelMetadata(("a", "b", "c"), (96, 96))
    )
    (tmp_path / "trained.keras").rename(path)
    loaded = backbones.load_backbone(str(path), (128, 128))
    pairs = zip(backbones.backbone_of(model).get_weights(), loaded.get_weights(), strict=True)
    assert all(np.array_equal(*pair) for pair in pairs)
    with pytest.raises(FacemaskError, match="not weights of VGG-16") as problem:
        backbones.load_backbone(str(path), (32, 32), "vgg16")
    assert "\n" not in str(problem.value)


def test_weights_that_fit_in_part_are_refused(
    mobilenet_weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras only warns, and would leave the other layers random."""

    def make(**_: object) -> None:
        warnings.warn("Skipping nested container at 'layers/x': no match", stacklevel=1)

    monkeypatch.setattr(load_keras().applications, "MobileNetV2", make)
    with pytest.raises(FacemaskError, match=r"not weights of MobileNetV2 .*Skipping nested"):
        backbones.load_backbone(mobilenet_weights)
