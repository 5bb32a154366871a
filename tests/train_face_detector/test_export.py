"""Equal ranges of channels, for whole numbers."""

from typing import Any

import numpy as np
import pytest

from facemask.keras_backend import load_keras
from facemask.train_face_detector.export import equalized

from .conftest import tiny_network


def test_equal_channels_compute_the_same() -> None:
    network = tiny_network()
    image = np.random.default_rng(0).uniform(0, 255, (64, 96, 3)).astype(np.float32)
    before = network.get_weights()
    predictions = np.array(network(image[None], training=False))
    copy = equalized(network, [image, image / 2])
    assert np.array(copy(image[None], training=False)) == pytest.approx(predictions, abs=1e-3)
    assert all(np.array_equal(a, b) for a, b in zip(before, network.get_weights(), strict=True))


def test_channels_between_the_convolutions_of_a_unit_get_the_widest_range() -> None:
    network = tiny_network()
    image = np.random.default_rng(0).uniform(0, 255, (64, 96, 3)).astype(np.float32)

    def ranges(model: Any, name: str) -> np.ndarray:
        unit = load_keras().Model(model.input, model.get_layer(name).output)
        return np.abs(np.array(unit(image[None], training=False))).max(axis=(0, 1, 2))

    copy = equalized(network, [image])
    for name in ("stage_2_0_pointwise", "shared_8_pointwise"):
        before = ranges(network, name)
        assert before.min() < 0.9 * before.max()
        assert ranges(copy, name) == pytest.approx(np.full_like(before, before.max()), rel=1e-3)


def test_a_channel_without_signal_stays_finite() -> None:
    network = tiny_network()
    layer = network.get_layer("stage_2_0_pointwise")
    kernel, bias = layer.get_weights()
    kernel[..., 1] = 0
    layer.set_weights([kernel, bias])
    copy = equalized(network, [np.zeros((64, 64, 3), np.float32)])
    assert all(np.isfinite(weights).all() for weights in copy.get_weights())
