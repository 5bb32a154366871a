from pathlib import Path

import numpy as np
import pytest

from facemask.data.batches import batches, read_uncached
from facemask.data.dataset import LabelledImages, load_labelled_images
from facemask.errors import FacemaskError
from facemask.keras_backend import load_keras
from facemask.train import calibrate, feature_cache, fit
from facemask.train.feature_cache import (
    Features,
    cached_head,
    compute_features,
    feature_batches,
    split_model,
)

from ..data.test_dataset import write_class


@pytest.fixture
def images(tmp_path: Path) -> LabelledImages:
    """Bright and dark images of 8x8 pixels."""
    write_class(tmp_path / "with_mask", 12, 250)
    write_class(tmp_path / "without_mask", 8, 5)
    return load_labelled_images([tmp_path])


def small_classifier():
    """One convolution as the backbone; the head as in the recipe."""
    keras = load_keras()
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    hidden = keras.layers.Conv2D(6, 3, trainable=False)(inputs)
    hidden = keras.layers.GlobalAveragePooling2D()(hidden)
    hidden = keras.layers.Dense(4, activation="relu")(hidden)
    hidden = keras.layers.Dropout(0.5)(hidden)
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(hidden))


ALL = np.arange(20)


def test_the_two_parts_are_the_model() -> None:
    model = small_classifier()
    frozen, head = split_model(model)
    batch = np.random.default_rng(0).uniform(-1, 1, (5, 8, 8, 3)).astype(np.float32)
    assert frozen.output_shape == (None, 6)
    assert head(frozen(batch)).numpy() == pytest.approx(model(batch).numpy(), abs=1e-6)
    assert [id(weight) for weight in head.trainable_weights] == [
        id(weight) for weight in model.trainable_weights
    ]


@pytest.mark.parametrize("litert", [True, False])
def test_features_are_the_output_of_the_frozen_part(
    images: LabelledImages, monkeypatch: pytest.MonkeyPatch, litert: bool
) -> None:
    def refuse():
        raise ImportError

    if not litert:
        monkeypatch.setattr(feature_cache, "load_interpreter", refuse)
    frozen, _ = split_model(small_classifier())
    weights = np.arange(20) / 10
    plain = batches(images, ALL, (8, 8), 6, weights=weights)
    turned = batches(images, ALL[::-1], (8, 8), 7)
    (first,), (second,) = compute_features(frozen, [[plain], [turned]])
    inputs = np.concatenate([plain[number][0] for number in range(4)])
    expected = frozen(inputs).numpy()
    assert first.values[ALL].dtype == np.float16
    assert first.values[ALL] == pytest.approx(expected, abs=2e-3)
    assert first.labels.tolist() == images.labels.tolist()
    assert first.weights == pytest.approx(weights)
    assert second.values[ALL] == pytest.approx(expected[::-1], abs=2e-3)
    assert second.labels.tolist() == images.labels[::-1].tolist()
    assert second.weights is None


def test_an_image_is_decoded_once_for_all_its_views(images: LabelledImages) -> None:
    decoded: list[int] = []

    def read(images: LabelledImages, index: int) -> np.ndarray:
        decoded.append(index)
        return read_uncached(images, index)

    frozen, _ = split_model(small_classifier())
    views = [batches(images, ALL, (8, 8), 6, read=read)]
    for seed in (1, 2):
        views.append(batches(images, ALL, (8, 8), 6, read=read, augmentation="face", seed=seed))
    (features,) = compute_features(frozen, [views])
    assert sorted(decoded) == ALL.tolist()
    for view, computed in zip(views, features, strict=True):
        batch = [view[number] for number in range(len(view))]
        inputs, labels = (np.concatenate(part) for part in zip(*batch, strict=True))
        assert computed.labels.tolist() == labels.tolist()
        assert computed.values[ALL] == pytest.approx(frozen(inputs).numpy(), abs=2e-3)


def test_batches_of_features_hold_every_row_once_and_keep_rows_together() -> None:
    features = Features(
        np.arange(10, dtype=np.float16)[:, None], np.arange(10), np.arange(10, dtype=np.float32)
    )
    stream = feature_batches(features, 4, seed=3)
    orders = []
    for _ in range(2):
        epoch = [stream[number] for number in range(len(stream))]
        assert [len(labels) for _, labels, _ in epoch] == [4, 4, 2]
        values, labels, weights = (np.concatenate(column) for column in zip(*epoch, strict=True))
        assert values[:, 0].tolist() == labels.tolist() == weights.tolist()
        assert sorted(labels.tolist()) == list(range(10))
        orders.append(labels.tolist())
        stream.on_epoch_end()
    assert orders[0] != orders[1]
    again = feature_batches(features, 10, seed=3)
    assert again[0][1].tolist() == orders[0]
    plain = feature_batches(features, 10)
    assert plain[0][1].tolist() == list(range(10))


def test_training_the_head_on_features_trains_the_model(images: LabelledImages) -> None:
    model = small_classifier()
    frozen = model.layers[1].get_weights()[0].copy()
    views = [batches(images, ALL, (8, 8), 8)]
    views += [batches(images, ALL, (8, 8), 8, augmentation="classic", seed=1)]
    head, training, validation = cached_head(model, views, views[:1], batch_size=8, seed=0)
    assert (len(training), len(validation)) == (5, 3)
    history = fit.train(head, training, validation, epochs=60, learning_rate=0.02)
    assert history["val_accuracy"][-1] == 1.0
    assert (calibrate.predict(model, views[0]).argmax(axis=1) == images.labels).all()
    assert np.array_equal(model.layers[1].get_weights()[0], frozen)


def test_an_image_that_goes_missing_is_one_line(images: LabelledImages) -> None:
    images.paths[3].unlink()
    frozen, _ = split_model(small_classifier())
    with pytest.raises(FacemaskError, match=r"003\.png: no such image"):
        compute_features(frozen, [[batches(images, ALL, (8, 8), 6)]])
