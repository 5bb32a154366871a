"""Writing the face detector's network as the int8 `.tflite` file that detect.builtin reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facemask.detect.builtin import LONGER_SIDE, input_size
from facemask.files import replacing
from facemask.images import read_image, resize
from facemask.keras_backend import load_keras
from facemask.train.export import convert
from facemask.train_face_detector.network import OUTPUT_LAYERS, calibrated, copy_of
from facemask.train_face_detector.samples import AnnotatedImage

LEAST_RANGE = 1e-3  # of a channel, as a ratio of the widest one's; the others stay wide


def export(
    path: Path, network: Any, scale: float, offset: float, images: Sequence[AnnotatedImage]
) -> None:
    """Write a network as the int8 `.tflite` that detect.builtin reads, with its calibration inside.

    images: those from which the ranges of numbers are taken; some hundred are enough.
    Raises FacemaskError when it can't be converted or written.
    """
    content = quantized(path, calibrated(network, scale, offset), images)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def quantized(
    path: Path,
    network: Any,
    images: Sequence[AnnotatedImage],
    float_layers: Sequence[str] = OUTPUT_LAYERS,
    equalize: bool = True,
) -> bytes:
    """A network in int8, as the bytes of a `.tflite` file; path, float_layers: see convert."""
    size = input_size(LONGER_SIDE * 3 // 4, LONGER_SIDE)
    ranges = [resize(read_image(image.path), size).astype(np.float32) for image in images]
    if equalize:
        network = equalized(network, ranges)
    return convert(path, network, (1, None, None, 3), "int8", ranges, float_layers)


def equalized(network: Any, images: Sequence[np.ndarray]) -> Any:
    """A copy of a network that computes the same, with numbers that suit int8 better.

    All channels between the two convolutions of a unit share one scale in int8, so that of a
    channel with small numbers little is left. Here each is multiplied until its range is that of
    the widest one; the depthwise convolution, which has a scale for each channel, divides again
    (cross-layer equalization: Nagel et al., Data-Free Quantization Through Weight Equalization and
    Bias Correction, 2019; but by ranges of real images).

    images: (height, width, 3) float32, BGR, 0 to 255, of one size.
    """
    copy = copy_of(network)
    units = [layer.name for layer in copy.layers if layer.name.endswith("_pointwise")]
    between = load_keras().Model(copy.input, [copy.get_layer(name).output for name in units])
    largest = [np.zeros(layer.shape[-1]) for layer in between.outputs]
    for image in images:
        for ranges, values in zip(largest, between.predict_on_batch(image[None]), strict=True):
            np.maximum(ranges, np.abs(values).max(axis=(0, 1, 2)), out=ranges)
    for name, ranges in zip(units, largest, strict=True):
        widest = ranges.max() or 1.0
        factors = widest / np.maximum(ranges, LEAST_RANGE * widest)
        pointwise = copy.get_layer(name)
        depthwise = copy.get_layer(name.replace("_pointwise", "_depthwise"))
        kernel, bias = pointwise.get_weights()
        pointwise.set_weights([kernel * factors, bias * factors])
        kernel, bias = depthwise.get_weights()
        depthwise.set_weights([kernel / factors[:, None], bias])
    return copy
