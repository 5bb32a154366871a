import os
from pathlib import Path

import numpy as np
import pytest

from facemask import facts, training
from facemask.backend import load_keras
from facemask.classifier import MaskClassifier
from facemask.dataset import LabelledImages, Split, load_labelled_images, split_images
from facemask.errors import FacemaskError
from facemask.facts import ModelFacts
from facemask.images import read_image, write_image


def tiny_model(classes: int = 2):
    """A model small enough to make in a moment; what it says does not matter."""
    keras = load_keras()
    inputs = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(pooled))


@pytest.fixture(scope="module")
def base_weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Some weights of MobileNetV2 in a file: random ones, which are good enough for shapes."""
    base = load_keras().applications.MobileNetV2(
        input_shape=(224, 224, 3), include_top=False, weights=None
    )
    path = tmp_path_factory.mktemp("weights") / "base.weights.h5"
    base.save_weights(path)
    return str(path)


def test_the_network_is_the_recipes(base_weights: str) -> None:
    keras = load_keras()
    model = training.build_model(3, base_weights)
    assert model.input_shape == (None, 224, 224, 3)
    assert model.output_shape == (None, 3)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds[2:] == ["GlobalAveragePooling2D", "Dense", "Dropout", "Dense"]
    # Only the head learns: two dense layers, each of weights and biases.
    assert [tuple(one.shape) for one in model.trainable_weights] == [
        (1280, 128), (128,), (128, 3), (3,),
    ]  # fmt: skip
    training.unfreeze(model)
    assert len(model.trainable_weights) == 52 + 4  # the base's convolutions, and the head
    base = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    learning = {type(layer).__name__ for layer in base.layers if layer.trainable_weights}
    assert learning == {"Conv2D", "DepthwiseConv2D"}


def test_a_base_without_weights_learns_too() -> None:
    model = training.build_model(2, "none")
    assert len(model.trainable_weights) == 52 + 2 * 52 + 4  # and its batch normalization


def test_the_same_seed_gives_the_same_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "INPUT_SIZE", (8, 8))
    noise = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(12):
            image = noise.integers(0, 255, (8, 8, 3), np.uint8)
            write_image(tmp_path / name / f"{number}.png", image)
    images = load_labelled_images(tmp_path)

    def losses(seed: int) -> list[float]:
        split = split_images(images, 0.25, 0.25, seed)
        training.make_repeatable(seed)
        settings = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-2, "seed": seed}
        curves = training.train(tiny_model(), images, split, **settings)
        return curves["loss"] + curves["val_loss"]

    first = losses(1)
    assert len(first) == 4
    assert losses(1) == pytest.approx(first, abs=1e-6)
    assert losses(2) != pytest.approx(first, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing.h5", None, "can't be read"),
        ("text.h5", b"text", "expected an HDF5 file"),
        ("cut.h5", b"\x89HDF\r\n\x1a\n", "not weights of MobileNetV2"),
    ],
)
def test_weights_that_cannot_be_used_are_one_line(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FacemaskError, match=reason) as problem:
        training.build_model(2, weights=str(tmp_path / name))
    assert str(tmp_path / name) in str(problem.value)
    assert "\n" not in str(problem.value)


def test_a_saved_model_carries_its_facts_and_says_the_same(tmp_path: Path) -> None:
    model = tiny_model(3)
    written = ModelFacts(("a", "b", "c"), (8, 8), training={"seed": 1})
    training.save_model(tmp_path / "m.keras", model, written)
    assert os.listdir(tmp_path) == ["m.keras"]
    assert facts.read(tmp_path / "m.keras") == written
    loaded = MaskClassifier.load(tmp_path / "m.keras")
    crops = [np.full((20, 30, 3), value, np.uint8) for value in (0, 128, 255)]
    batch = np.stack([np.full((8, 8, 3), value / 127.5 - 1, np.float32) for value in (0, 128, 255)])
    assert loaded.class_names == ("a", "b", "c")
    assert loaded.predict(crops) == pytest.approx(model(batch).numpy(), abs=1e-6)


def test_an_interrupted_save_leaves_the_old_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "m.keras"
    target.write_text("old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(facts, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        training.save_model(target, tiny_model(), ModelFacts())
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["m.keras"]


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_plot_shows_as_many_epochs_as_ran(tmp_path: Path, epochs: int) -> None:
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    curves = {name: [0.1 * place] * epochs for place, name in enumerate(names)}
    drawn = [
        (
            line.get_label(),
            np.asarray(line.get_xdata()).tolist(),
            np.asarray(line.get_ydata()).tolist(),
        )
        for axes in training.history_figure(curves).axes
        for line in axes.lines
    ]
    numbers = list(range(1, epochs + 1))
    assert drawn == [
        ("train_loss", numbers, curves["loss"]),
        ("val_loss", numbers, curves["val_loss"]),
        ("train_accuracy", numbers, curves["accuracy"]),
        ("val_accuracy", numbers, curves["val_accuracy"]),
    ]
    training.plot_history(tmp_path / "plot.png", curves)
    assert read_image(tmp_path / "plot.png").shape == (540, 1200, 3)
    assert os.listdir(tmp_path) == ["plot.png"]


def test_an_image_that_goes_missing_while_training_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "INPUT_SIZE", (8, 8))
    gone = LabelledImages(
        tmp_path, (tmp_path / "gone.png",) * 4, np.array([0, 1, 0, 1]), ("a", "b"), "", ()
    )
    split = Split(*(np.arange(4),) * 3)
    with pytest.raises(FacemaskError, match=r"gone\.png: no such image .it could be read"):
        training.train(
            tiny_model(), gone, split,
            epochs=1, batch_size=2, learning_rate=1e-4, seed=0,
        )  # fmt: skip
