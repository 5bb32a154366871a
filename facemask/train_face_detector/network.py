"""The network of the built-in face detector: YuNet's, with a coarser level and more depth.

YuNet: Wu et al., YuNet: A Tiny Millisecond-level Face Detector, 2023.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from facemask.detect.anchor_points import STRIDES
from facemask.errors import FacemaskError
from facemask.files import reason
from facemask.keras_backend import load_keras
from facemask.protobuf import floats, integers, read_fields, text

STEM = 16  # channels at strides of 2 and 4
CHANNELS = 64  # of all other layers
# More units in the levels' stages than YuNet has. They cost a fifth of the multiplications; at
# strides of 2 and 4, one alone would cost that.
EXTRA_UNITS = {8: 2, 16: 2, 32: 2, 64: 1}
# The numbers that YuNet predicts at an anchor point: the logits of class and objectness, the
# position of the box's centre, and the logarithms of its sides.
YUNET_OUTPUTS = 6
# How the names of the last layers begin. They stay float32 in an int8 network: in whole numbers,
# confidences near .5 would be .04 apart.
OUTPUT_LAYERS = ("head_", "face_", "box_")

# YuNet's layers in the order of its file, by the names of ours; last come, by the level, the layers
# that predict. The landmarks are left out.
YUNET_STRIDES = STRIDES[:3]
YUNET_UNITS = (
    "stage_2_0",
    *(f"stage_4_{number}" for number in range(4)),
    *(f"stage_{stride}_{number}" for stride in YUNET_STRIDES for number in range(2)),
    *(f"neck_{stride}" for stride in YUNET_STRIDES[::-1]),
    *(f"shared_{stride}" for stride in YUNET_STRIDES),
)
YUNET_HEADS = ("class", "box", "object")
# The numbers of fields in an ONNX file: of the model its graph; of the graph its nodes and tensors;
# of a node its inputs and operator; of a tensor its dimensions, name and numbers, as bytes.
# Source: onnx.proto in github.com/onnx/onnx.
GRAPH, NODES, TENSORS, INPUTS, OPERATOR, DIMENSIONS, NAME, NUMBERS = 7, 1, 5, 1, 4, 1, 8, 9

# From YuNet's outputs to those of this network. The face's logit is the mean of two logits; their
# geometric mean as confidences, which YuNet takes, is near. The logarithm of the distance to a
# side, log(w / 2 - x), is about log(w) - log(2) - 2 x / w; w is 3 strides in most boxes.
TO_FACE = ((0.5,), (0.5,), (0.0,), (0.0,), (0.0,), (0.0,))
SLOPE = 2 / 3
TO_BOX = (
    (0.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 0.0),
    (-SLOPE, 0.0, SLOPE, 0.0),
    (0.0, -SLOPE, 0.0, SLOPE),
    (1.0, 0.0, 1.0, 0.0),
    (0.0, 1.0, 0.0, 1.0),
)


def build_face_network(stem: int = STEM, channels: int = CHANNELS) -> Any:
    """A Keras model from images to raw predictions, with random weights.

    Input: (N, height, width, 3) float32, BGR, 0 to 255, both sides multiples of SIZE_MULTIPLE.
    Output: (N, A, 5), a row for each of the A anchor points: the logit of a face, and the
    logarithms of the distances from the anchor point to the left, top, right and bottom side of
    the box, in strides.
    """
    keras = load_keras()
    layers = keras.layers
    inputs = keras.Input((None, None, 3))
    x = layers.ReLU()(layers.Conv2D(stem, 3, 2, "same", name="stem")(inputs))
    x = _halved(_unit(x, stem, "stage_2_0"))
    x = _unit(x, stem, "stage_4_0")
    for number in (1, 2, 3):
        x = _unit(x, channels, f"stage_4_{number}")
    levels = {}
    for stride in STRIDES:
        x = _halved(x)
        for number in range(2):
            x = _unit(x, channels, f"stage_{stride}_{number}")
        for number in range(EXTRA_UNITS[stride]):
            x = _residual_unit(x, channels, f"extra_{stride}_{number}")
        levels[stride] = x
    predictions = []
    coarser = None
    for stride in STRIDES[::-1]:
        x = levels[stride]
        if coarser is not None and stride < STRIDES[-2]:  # YuNet has no level of 64
            x = layers.Add(name=f"join_{stride}")([x, _upsampled(coarser)])
        coarser = _unit(x, channels, f"neck_{stride}")
        predictions.append(_head(_unit(coarser, channels, f"shared_{stride}"), stride))
    merged = layers.Concatenate(axis=1)(predictions[::-1])
    return keras.Model(inputs, merged, name="face_detector")


def load_yunet(network: Any, path: str | os.PathLike[str]) -> None:
    """Give a network the weights of YuNet, in place: it finds about the faces that YuNet does.

    path: yunet_n_640_640.onnx. The units that YuNet lacks begin as the identity,
    and the level with a stride of 64 as a copy of that with 32. Raises FacemaskError for a file
    that is missing or another network.
    """
    try:
        blobs = _convolutions(Path(path))
        for name in ("stem", *(name for unit in YUNET_UNITS for name in _unit_layers(unit))):
            _set_weights(network, name, next(blobs))
        parts = {name: [(next(blobs), next(blobs)) for _ in YUNET_STRIDES] for name in YUNET_HEADS}
        for level, stride in enumerate(YUNET_STRIDES):
            layers = zip(*(parts[name][level] for name in ("class", "object", "box")), strict=True)
            for name, layer in zip(_unit_layers(f"head_{stride}"), layers, strict=True):
                kernels, biases = zip(*layer, strict=True)
                _set_weights(network, name, (np.concatenate(kernels), np.concatenate(biases)))
    except OSError as error:
        raise FacemaskError(f"{path}: can't be read: {reason(error)}") from error
    except (KeyError, StopIteration, ValueError) as error:
        problem = " ".join(str(error).split())[:200] or "too few layers"
        raise FacemaskError(f"{path}: expected the weights of YuNet: {problem}") from error
    finest, coarsest = (f"_{stride}" for stride in STRIDES[-2:])
    for layer in network.layers:
        if layer.weights and coarsest in layer.name and not layer.name.startswith("extra_"):
            twin = network.get_layer(layer.name.replace(coarsest, finest))
            layer.set_weights(twin.get_weights())


def _convolutions(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The kernels, (outputs, inputs, height, width), and biases of an ONNX file's convolutions.

    They come in the file's order. Raises OSError, and ValueError for a file that is no such model.
    """
    for graph in map(read_fields, read_fields(memoryview(path.read_bytes()))[GRAPH]):
        tensors = {text(tensor[NAME]): tensor for tensor in map(read_fields, graph[TENSORS])}
        for node in map(read_fields, graph[NODES]):
            if text(node[OPERATOR]) == "Conv":
                kernels, biases = (
                    floats(tensor[NUMBERS]).reshape(integers(tensor[DIMENSIONS]))
                    for tensor in (tensors[text([name])] for name in node[INPUTS][1:])
                )
                yield kernels, biases


def _set_weights(network: Any, name: str, weights: tuple[np.ndarray, np.ndarray]) -> None:
    kernel, bias = weights
    if name.startswith("head_") and name.endswith("_depthwise"):
        # YuNet's boxes start at a cell's corner, ours at its centre.
        bias = bias - (0.0, 0.0, 0.5, 0.5, 0.0, 0.0)
    order = (2, 3, 0, 1) if name.endswith("_depthwise") else (2, 3, 1, 0)
    network.get_layer(name).set_weights([kernel.transpose(order), bias])


def calibrated(network: Any, scale: float, offset: float) -> Any:
    """A copy of a network whose logits of faces are multiplied by scale, plus offset.

    The numbers go into the weights, so that the copy takes no more time.
    """
    copy = copy_of(network)
    for stride in STRIDES:
        layer = copy.get_layer(f"face_{stride}")
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel * scale, bias * scale + offset])
    return copy


def copy_of(network: Any) -> Any:
    """A copy of a network that is not compiled."""
    keras = load_keras()
    copy = keras.models.clone_model(keras.Model(network.input, network.output))
    copy.set_weights(network.get_weights())
    return copy


def _upsampled(level: Any) -> Any:
    """A level with both sides doubled, in operations that LiteRT runs on images of any size."""
    ops = load_keras().ops
    return ops.depth_to_space(ops.concatenate([level] * 4, axis=-1), 2)


def _halved(x: Any) -> Any:
    return load_keras().layers.MaxPooling2D(2, padding="same")(x)


def _unit(x: Any, channels: int, name: str) -> Any:
    return load_keras().layers.ReLU()(_separable(x, channels, name))


def _residual_unit(x: Any, channels: int, name: str) -> Any:
    layers = load_keras().layers
    added = _separable(x, channels, name, depthwise_initializer="zeros")
    return layers.ReLU()(layers.Add(name=f"{name}_add")([x, added]))


def _separable(x: Any, channels: int, name: str, **depthwise: Any) -> Any:
    layers = load_keras().layers
    pointwise, last = _unit_layers(name)
    x = layers.Conv2D(channels, 1, name=pointwise)(x)
    return layers.DepthwiseConv2D(3, padding="same", name=last, **depthwise)(x)


def _unit_layers(name: str) -> tuple[str, str]:
    """The names of a unit's two convolutions."""
    return f"{name}_pointwise", f"{name}_depthwise"


def _head(x: Any, stride: int) -> Any:
    keras = load_keras()
    x = _separable(x, YUNET_OUTPUTS, f"head_{stride}")
    outputs = []
    for name, kernel, bias in (("face", TO_FACE, 0.0), ("box", TO_BOX, -np.log(2))):
        layer = keras.layers.Conv2D(
            len(kernel[0]),
            1,
            kernel_initializer=keras.initializers.Constant([[kernel]]),
            bias_initializer=keras.initializers.Constant(bias),
            name=f"{name}_{stride}",
        )
        outputs.append(layer(x))
    return keras.layers.Reshape((-1, 5))(keras.layers.Concatenate()(outputs))
