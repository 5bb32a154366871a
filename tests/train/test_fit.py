import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facemask.data.batches import batches
from facemask.data.dataset import LabelledImages, load_labelled_images
from facemask.detect import metadata
from facemask.detect.classifier import MaskClassifier
from facemask.detect.metadata import ModelMetadata
from facemask.errors import HANGUP, FacemaskError
from facemask.evaluate.metrics import expected_calibration_error
from facemask.images import write_image
from facemask.keras_backend import load_keras
from facemask.train import calibrate, fit
from facemask.train import model as model_module
from facemask.train.checkpoint import Checkpoint, State
from facemask.train.distribution import Processes


def tiny_model(classes: int = 2):
    """A model small enough to make in a moment; its predictions do not matter."""
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
    model = model_module.build_model(3, base_weights)
    assert model.input_shape == (None, 224, 224, 3)
    assert model.output_shape == (None, 3)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds[2:] == ["GlobalAveragePooling2D", "Dense", "Dropout", "Dense"]
    # Only the head learns: two dense layers, each of weights and biases.
    assert [tuple(weight.shape) for weight in model.trainable_weights] == [
        (1280, 128), (128,), (128, 3), (3,),
    ]  # fmt: skip
    model_module.unfreeze(model)
    assert len(model.trainable_weights) == 52 + 4  # the base's convolutions, and the head
    base = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    learning = {type(layer).__name__ for layer in base.layers if layer.trainable_weights}
    assert learning == {"Conv2D", "DepthwiseConv2D"}


def test_a_base_without_weights_learns_too() -> None:
    model = model_module.build_model(2, "none")
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
        model_module.set_seed(seed)
        stream = batches(noise, np.arange(16), (8, 8), 4, augmentation="face", seed=seed)
        validation = batches(noise, np.arange(16, 24), (8, 8), 4)
        history = fit.train(tiny_model(), stream, validation, epochs=2, learning_rate=1e-2)
        return history["loss"] + history["val_loss"]

    first = losses(1)
    assert len(first) == 4
    assert losses(1) == pytest.approx(first, abs=1e-6)
    assert losses(2) != pytest.approx(first, abs=1e-3)


def test_several_steps_in_one_call_give_the_same(noise: LabelledImages) -> None:
    def trained(steps: int) -> tuple[dict[str, list[float]], int, int]:
        model_module.set_seed(1)
        stream = batches(noise, np.arange(17), (8, 8), 4, augmentation="face", seed=1)
        validation = batches(noise, np.arange(17, 24), (8, 8), 4)
        model = tiny_model()
        history = fit.train(
            model, stream, validation, epochs=2, learning_rate=1e-2, steps_per_execution=steps
        )
        return history, int(model.optimizer.iterations.numpy()), model.steps_per_execution

    one, several = trained(1), trained(3)
    assert several[1:] == (10, 3)
    assert one[1:] == (10, 1)
    for name, curve in one[0].items():
        assert several[0][name] == pytest.approx(curve, abs=1e-6)


def test_training_ends_early_and_keeps_the_best_weights(noise: LabelledImages) -> None:
    """What the images are called in training is what they are not called in validation."""
    stream = batches(noise, np.arange(24), (8, 8), 4)
    contradicting = batches(replace(noise, labels=1 - noise.labels), np.arange(24), (8, 8), 4)
    model = tiny_model()
    history = fit.train(model, stream, contradicting, epochs=30, learning_rate=0.05)
    best = int(np.argmin(history["val_loss"]))
    assert len(history["loss"]) == best + 1 + fit.PATIENCE < 30
    assert model.evaluate(contradicting, verbose=0)[0] == pytest.approx(
        history["val_loss"][best], abs=1e-4
    )

    whole = fit.train(
        tiny_model(), stream, contradicting, epochs=8, learning_rate=0.05, early_stopping=False
    )
    assert len(whole["loss"]) == 8


@pytest.mark.parametrize(
    ("losses", "ends"),
    [
        ([0.5, 0.4, 0.3, 0.2, 0.1, 0.05], False),
        ([0.5, 0.6, 0.6, 0.6, 0.6], False),  # five epochs, but only four since the lowest loss
        ([0.5, 0.6, 0.6, 0.6, 0.6, 0.6], True),
        ([0.5, 0.4999, 0.4998, 0.4997, 0.4996, 0.4995], True),  # hardly lower
        ([0.5, 0.4999, 0.4998, 0.4997, 0.4996, 0.49], False),
        ([float("nan")] * 9, False),
        ([0.5, float("nan"), 0.6, 0.6, 0.6, 0.6], True),
    ],
)
def test_training_ends_when_five_epochs_have_not_lowered_the_loss(
    losses: list[float], ends: bool
) -> None:
    assert fit.stops_falling(losses, 5) == ends


def test_the_rate_decays_to_nothing_and_the_last_weights_are_kept(noise: LabelledImages) -> None:
    stream = batches(noise, np.arange(24), (8, 8), 4)
    model = tiny_model()
    contradicting = batches(replace(noise, labels=1 - noise.labels), np.arange(24), (8, 8), 4)
    epochs = fit.PATIENCE + 4
    history = fit.train(model, stream, contradicting, epochs=epochs, learning_rate=0.05, decay=True)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.0, abs=1e-6)
    # Nothing ends early then, however the validation loss rises.
    assert len(history["val_loss"]) == epochs
    last = history["val_loss"][-1]
    assert min(history["val_loss"]) < last
    assert model.evaluate(contradicting, verbose=0)[0] == pytest.approx(last, abs=1e-4)


def sure_model():
    """Predicts 99.99 % for one class or of the other, by the brightness of the image."""
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
    before = calibrate.predict(model, stream)
    assert expected_calibration_error(images.labels, before) == pytest.approx(0.2, abs=1e-3)

    temperature = calibrate.calibrate(model, stream, images.labels)
    after = calibrate.predict(model, stream)
    # Two logits 10 / T apart are 80 to 20 when 10 / T = log 4; but T stays within its limits.
    assert temperature == pytest.approx(min(10 / np.log(4), calibrate.TEMPERATURES[1]), rel=1e-3)
    assert (after.argmax(axis=1) == before.argmax(axis=1)).all()
    assert expected_calibration_error(images.labels, after) < 0.1


def test_the_report_names_every_class() -> None:
    report = calibrate.report(np.array([0, 0, 1]), np.array([0, 1, 1]), ("a", "b", "c"))
    rows = {line.split()[0]: line.split()[1:] for line in report.splitlines() if line.strip()}
    assert rows["a"] == ["1.00", "0.50", "0.67", "2"]
    assert rows["b"] == ["0.50", "1.00", "0.67", "1"]
    assert rows["c"][-1] == "0"


def test_a_saved_model_has_its_metadata_and_predicts_the_same(tmp_path: Path) -> None:
    model = tiny_model(3)
    written = ModelMetadata(("a", "b", "c"), (8, 8), training={"seed": 1})
    model_module.save_model(tmp_path / "m.keras", model, written)
    assert os.listdir(tmp_path) == ["m.keras"]
    assert metadata.read(tmp_path / "m.keras") == written
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

    monkeypatch.setattr(metadata, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model_module.save_model(target, tiny_model(), ModelMetadata())
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["m.keras"]


def test_an_image_that_goes_missing_while_training_is_one_line(noise: LabelledImages) -> None:
    (noise.paths[0].parent / "5.png").unlink()
    stream = batches(noise, np.arange(24), (8, 8), 4)
    with pytest.raises(FacemaskError, match=r"5\.png: no such image"):
        fit.train(tiny_model(), stream, stream, epochs=1, learning_rate=1e-4)


def weights_differ(before: list[np.ndarray], after: list[np.ndarray]) -> bool:
    return any((first != last).any() for first, last in zip(before, after, strict=True))


class KillAfter(Checkpoint):
    """Ends the training, as if the process were killed, once so many states are written."""

    def __init__(self, path: Path, epochs: int, error: BaseException | None = None):
        super().__init__(path, {"data": "noise"})
        self._left, self._error = epochs, error or RuntimeError("killed")

    def save(self, stage: str, state: State) -> None:
        super().save(stage, state)
        self._left -= 1
        if not self._left:
            raise self._error


def dropping_model():
    """A model whose dropout draws random numbers, which a resumed training has to draw again."""
    keras = load_keras()
    inputs = keras.Input((8, 8, 3))
    hidden = keras.layers.Flatten()(inputs)
    hidden = keras.layers.Dropout(0.5)(hidden)
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(hidden))


@pytest.mark.parametrize("decay", [False, True])
def test_a_killed_training_goes_on_as_if_nothing_had_been(
    noise: LabelledImages, tmp_path: Path, decay: bool
) -> None:
    def trained(checkpoint: Checkpoint | None):
        model_module.set_seed(3)
        stream = batches(noise, np.arange(16), (8, 8), 4, augmentation="face", seed=3)
        validation = batches(noise, np.arange(16, 24), (8, 8), 4)
        model = dropping_model()
        history = fit.train(
            model, stream, validation, epochs=5, learning_rate=0.01, decay=decay,
            checkpoint=checkpoint,
        )  # fmt: skip
        return history, model.get_weights()

    whole, weights = trained(None)
    path = tmp_path / "x.npz"
    with pytest.raises(RuntimeError, match="killed"):
        trained(KillAfter(path, 2))
    checkpoint = Checkpoint(path, {"data": "noise"})
    assert checkpoint.resume()
    assert checkpoint.stages["head"] == {name: curve[:2] for name, curve in whole.items()}
    resumed, again = trained(checkpoint)
    for name, curve in whole.items():
        assert resumed[name] == pytest.approx(curve, abs=1e-6)
    for expected, weight in zip(weights, again, strict=True):
        assert expected == pytest.approx(weight, abs=1e-6)
    # Killed behind the last epoch, there is nothing left to train.
    done = Checkpoint(path, {"data": "noise"})
    assert done.resume()
    before = path.stat().st_mtime_ns
    assert trained(done)[0] == resumed
    assert path.stat().st_mtime_ns == before


def test_ctrl_c_keeps_the_best_weights_so_far(noise: LabelledImages, tmp_path: Path) -> None:
    stream = batches(noise, np.arange(24), (8, 8), 4)
    contradicting = batches(replace(noise, labels=1 - noise.labels), np.arange(24), (8, 8), 4)
    model = tiny_model()
    with pytest.raises(fit.Interrupted) as stopped:
        fit.train(
            model, stream, contradicting, epochs=9, learning_rate=0.05, early_stopping=False,
            checkpoint=KillAfter(tmp_path / "x.npz", 4, KeyboardInterrupt()),
        )  # fmt: skip
    losses = stopped.value.history["val_loss"]
    assert len(losses) == 4
    assert min(losses) < losses[-1]  # the last weights are not the best
    assert model.evaluate(contradicting, verbose=0)[0] == pytest.approx(min(losses), abs=1e-4)


def test_ctrl_c_before_there_is_anything_to_keep(noise: LabelledImages) -> None:
    """It may come while TensorFlow calls back for a batch, and then comes out as its error."""
    stream = batches(noise, np.arange(24), (8, 8), 4)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    type(stream).__getitem__ = interrupt
    stream.workers = 1
    with pytest.raises(KeyboardInterrupt):
        fit.train(tiny_model(), stream, stream, epochs=2, learning_rate=0.05)


def test_ctrl_c_in_fine_tuning_may_keep_what_the_head_had(
    noise: LabelledImages, tmp_path: Path
) -> None:
    stream = batches(noise, np.arange(24), (8, 8), 4)
    contradicting = batches(replace(noise, labels=1 - noise.labels), np.arange(24), (8, 8), 4)
    model = tiny_model()
    before = model.get_weights()
    with pytest.raises(fit.Interrupted) as stopped:
        fit.train(
            model, stream, contradicting, epochs=9, learning_rate=0.05, decay=True, best_before=0.0,
            checkpoint=KillAfter(tmp_path / "x.npz", 1, KeyboardInterrupt()),
        )  # fmt: skip
    assert len(stopped.value.history["loss"]) == 1
    assert not weights_differ(before, model.get_weights())


def test_float16_is_for_the_training_alone(noise: LabelledImages) -> None:
    keras = load_keras()
    inputs = keras.Input((8, 8, 3))
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    hidden = keras.layers.GlobalAveragePooling2D()(inner(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(hidden))
    stream = batches(noise, np.arange(24), (8, 8), 4)
    seen = []
    inner.layers[0].call = watched(inner.layers[0].call, seen)
    before = model.get_weights()
    fit.train(model, stream, stream, epochs=1, learning_rate=0.05, mixed_precision=True)
    assert set(seen) == {"float16"}
    assert weights_differ(before, model.get_weights())
    seen.clear()
    calibrate.predict(model, stream)
    assert set(seen) == {"float32"}
    assert {str(variable.dtype) for variable in model.variables} == {"float32"}


def watched(call, seen: list[str]):
    """The call of a layer, with the types that it is given noted down."""

    def watching(batch):
        seen.append(batch.dtype.name)
        return call(batch)

    return watching


def test_curves_are_written_for_tensorboard(noise: LabelledImages, tmp_path: Path) -> None:
    stream = batches(noise, np.arange(24), (8, 8), 4)
    fit.train(
        tiny_model(), stream, stream, epochs=1, learning_rate=0.05, stage="head",
        tensorboard=tmp_path / "logs",
    )  # fmt: skip
    assert list((tmp_path / "logs" / "head").glob("*/events.*"))


def test_one_step_trains_on_one_batch(noise: LabelledImages) -> None:
    model = tiny_model()
    before = model.get_weights()
    assert fit.train_one_batch(model, batches(noise, np.arange(24), (8, 8), 4)) > 0
    assert weights_differ(before, model.get_weights())


@pytest.mark.parametrize(
    ("devices", "count", "lines"), [(1, 0, 0), (1, 1, 0), (1, 4, 1), (4, 4, 0)]
)
def test_gpus_that_stay_unused_are_a_line(
    devices: int, count: int, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "gpu_count", lambda: count)
    assert len(fit.unused_gpus(Processes(devices=devices))) == lines


def test_a_closed_terminal_ends_a_training_between_two_batches() -> None:
    """It may say so twice."""
    if HANGUP is None:
        pytest.skip("no SIGHUP here")
    before = signal.signal(HANGUP, signal.default_int_handler)
    try:
        with fit._noted_interrupts() as noted:
            for _ in range(2):
                os.kill(os.getpid(), HANGUP)
            assert noted == [HANGUP, HANGUP]
        assert signal.getsignal(HANGUP) is signal.default_int_handler
    finally:
        signal.signal(HANGUP, before)
