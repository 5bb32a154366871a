"""The network of the built-in face detector, and how it is pruned."""

import numpy as np
import pytest

from facemask.detect.anchor_points import anchor_points
from facemask.keras_backend import load_keras
from facemask.train_face_detector.network import (
    build_backbone,
    calibrated,
    prune_channels,
)

from .conftest import tiny_network


def test_the_network_gives_a_row_for_each_anchor_point() -> None:
    network = tiny_network()
    image = np.zeros((2, 64, 96, 3), np.float32)
    predictions = np.array(network(image, training=False))
    assert predictions.shape == (2, len(anchor_points(64, 96)[0]), 5)
    other = np.array(calibrated(network, 2.0, -1.0)(image, training=False))
    assert other[..., 0] == pytest.approx(2.0 * predictions[..., 0] - 1.0, rel=1e-4)
    assert other[..., 1:] == pytest.approx(predictions[..., 1:], rel=1e-4)
    assert np.array(network(image, training=False)) == pytest.approx(predictions)


def test_pruning_keeps_the_output_of_the_backbone() -> None:
    """With as many channels as the full network has, nothing may be lost."""
    keras = load_keras()
    blocks = ((16, 1, 32), (24, 2, 96), (24, 1, 144))
    keras.utils.set_random_seed(1)
    backbone = keras.applications.MobileNetV2((96, 96, 3), include_top=False, weights=None)
    for layer in backbone.layers:  # trained weights keep the size of a signal; random ones do not
        if len(layer.weights) == 1:
            layer.set_weights([3 * layer.get_weights()[0]])
    inputs = keras.Input((None, None, 3))
    network = keras.Model(inputs, build_backbone(inputs, 32, blocks)[-1])
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (96, 96, 3), np.uint8) for _ in range(8)]
    prune_channels(network, backbone, images, blocks)
    full = keras.Model(backbone.input, backbone.get_layer("block_2_add").output)
    image = images[0][None].astype(np.float32)
    expected = np.asarray(full(image[..., ::-1] / 127.5 - 1, training=False))
    pruned = np.asarray(network(image, training=False))
    inner = (slice(None), slice(4, -4), slice(4, -4))  # the border is padded with black, not grey
    error = np.square(expected[inner] - pruned[inner]).mean() / expected[inner].var()
    assert error < 0.05
