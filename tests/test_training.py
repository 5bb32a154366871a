import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facemask import facts, training
from facemask.backend import load_keras
from facemask.classifier import MaskClassifier
from facemask.dataset import LabelledImages, load_labelled_images
from facemask.errors import FacemaskError
from facemask.evaluation import expected_calibration_error
from facemask.facts import ModelFacts
from facemask.images import read_image, write_image
from facemask.stream import batches


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


@pytest.fixture
def noise(tmp_path: Path) -> LabelledImages:
    """Images that say nothing of their classes."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(12):
            image = rng.integers(0, 255, (8, 8, 3), np.uint8)
            write_image(tmp_path / name / f"{number}.png", image)
    return load_labelled_images([tmp_path])


def test_the_same_seed_gives_the_same_curves(noise: LabelledImages) -> None:
    def losses(seed: int) -> list[float]:
        training.make_repeatable(seed)
        stream = batches(noise, np.arange(16), (8, 8), 4, augmentation="face", seed=seed)
        validation = batches(noise, np.arange(16, 24), (8, 8), 4)
        curves = training.train(tiny_model(), stream, validation, epochs=2, learning_rate=1e-2)
        return curves["loss"] + curves["val_loss"]

    first = losses(1)
    assert len(first) == 4
    assert losses(1) == pytest.approx(first, abs=1e-6)
    assert losses(2) != pytest.approx(first, abs=1e-3)


def test_training_ends_early_and_keeps_the_best_weights(noise: LabelledImages) -> None:
    """What the images are called in training is what they are not called in validation."""
    stream = batches(noise, np.arange(24), (8, 8), 4)
    turned = batches(replace(noise, labels=1 - noise.labels), np.arange(24), (8, 8), 4)
    model = tiny_model()
    curves = training.train(model, stream, turned, epochs=30, learning_rate=0.05)
    best = int(np.argmin(curves["val_loss"]))
    assert len(curves["loss"]) == best + 1 + training.PATIENCE < 30
    assert model.evaluate(turned, verbose=0)[0] == pytest.approx(curves["val_loss"][best], abs=1e-4)

    every = training.train(
        tiny_model(), stream, turned, epochs=8, learning_rate=0.05, early_stopping=False
    )
    assert len(every["loss"]) == 8


def test_the_rate_decays_to_nothing_and_the_last_weights_are_kept(noise: LabelledImages) -> None:
    stream = batches(noise, np.arange(24), (8, 8), 4)
    model = tiny_model()
    turned = batches(replace(noise, labels=1 - noise.labels), np.arange(24), (8, 8), 4)
    epochs = training.PATIENCE + 4
    curves = training.train(model, stream, turned, epochs=epochs, learning_rate=0.05, decay=True)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.0, abs=1e-6)
    # Nothing ends early then, however the validation loss rises.
    assert len(curves["val_loss"]) == epochs
    last = curves["val_loss"][-1]
    assert min(curves["val_loss"]) < last
    assert model.evaluate(turned, verbose=0)[0] == pytest.approx(last, abs=1e-4)


def sure_model():
    """Says 99.99 % of one class or of the other, by the brightness of the image."""
    keras = load_keras()
    inputs = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(pooled))
    model.layers[-1].set_weights([np.array([[5.0, -5.0], [0, 0], [0, 0]]), np.zeros(2)])
    return model


def test_calibration_makes_a_model_as_sure_as_it_is_right(tmp_path: Path) -> None:
    """A model that is always all but certain, and right of 8 of 10 images."""
    for name, brightness in (("a", 255), ("b", 0)):
        (tmp_path / name).mkdir()
        for number in range(10):
            value = brightness if number < 8 else 255 - brightness
            write_image(tmp_path / name / f"{number}.png", np.full((8, 8, 3), value, np.uint8))
    images = load_labelled_images([tmp_path])
    model, stream = sure_model(), batches(images, np.arange(20), (8, 8), 4)
    before = training.predict(model, stream)
    assert expected_calibration_error(images.labels, before) == pytest.approx(0.2, abs=1e-3)

    temperature = training.calibrate(model, stream, images.labels)
    after = training.predict(model, stream)
    # Two logits 10 / T apart are 80 to 20 when 10 / T = log 4; but T stays within its limits.
    assert temperature == pytest.approx(min(10 / np.log(4), training.TEMPERATURES[1]), rel=1e-3)
    assert (after.argmax(axis=1) == before.argmax(axis=1)).all()
    assert expected_calibration_error(images.labels, after) < 0.1


def test_the_report_names_every_class() -> None:
    report = training.report(np.array([0, 0, 1]), np.array([0, 1, 1]), ("a", "b", "c"))
    rows = {line.split()[0]: line.split()[1:] for line in report.splitlines() if line.strip()}
    assert rows["a"] == ["1.00", "0.50", "0.67", "2"]
    assert rows["b"] == ["0.50", "1.00", "0.67", "1"]
    assert rows["c"][-1] == "0"


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


def test_an_image_that_goes_missing_while_training_is_one_line(noise: LabelledImages) -> None:
    (noise.paths[0].parent / "5.png").unlink()
    stream = batches(noise, np.arange(24), (8, 8), 4)
    with pytest.raises(FacemaskError, match=r"5\.png: no such image .it could be read"):
        training.train(tiny_model(), stream, stream, epochs=1, learning_rate=1e-4)
