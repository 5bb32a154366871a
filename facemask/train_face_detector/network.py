"""The built-in face detector's network: a slimmed MobileNetV2 under a small feature pyramid."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from facemask.detect.anchor_points import STRIDES
from facemask.keras_backend import load_keras

PYRAMID = 48  # channels of each level

# The base has no batch normalization: what MobileNetV2 learnt is folded into its convolutions, and
# measuring it anew at each step would take more time than all the rest.
#
# MobileNetV2's blocks (Sandler et al., 2018) up to its last but two: channels out, stride, and how
# many of its expanded channels are kept (of 6 times those that come in). Small faces need pixels,
# so it is the channels that have to go: 640x480 pixels take a fifth of the full network's work.
STEM = 16  # channels of the first convolution that are kept, of 32
BLOCKS = (
    (16, 1, 16),
    (24, 2, 40),
    (24, 1, 48),
    (32, 2, 64),
    (32, 1, 80),
    (32, 1, 80),
    (64, 2, 96),
    (64, 1, 128),
    (64, 1, 128),
    (64, 1, 128),
    (96, 1, 160),
    (96, 1, 192),
    (96, 1, 192),
    (160, 2, 240),
    (160, 1, 240),
)
LEVELS = (5, 12, 14)  # the blocks whose outputs the pyramid takes: strides of 8, 16 and 32

# Faces are rare among the cells: at first each is as good as certain that it sees none (Lin et
# al., Focal Loss, 2017), or the first steps would undo what the base knows.
PRIOR = 0.01

SAMPLES = 64  # places of an image that a block's projection is fitted to


def build_face_network() -> Any:
    """A Keras model from images to raw answers, with random weights.

    (N, height, width, 3) float32, BGR, 0 to 255, both sides multiples of SIZE_MULTIPLE, to
    (N, cells, 5):
    for each cell of the strides in turn, row by row, the logit of its being a face's centre, and
    the logarithms of the distances left, top, right and bottom from its own centre to the box's
    sides, in units of the stride.
    """
    keras = load_keras()
    layers = keras.layers
    inputs = keras.Input((None, None, 3))
    x = _convolution(inputs, STEM, 3, 2, "stem")
    outputs = []
    for number, (filters, stride, kept) in enumerate(BLOCKS):
        before = x
        if number:
            x = _convolution(x, kept, 1, 1, f"expand_{number}")
        x = _depthwise(x, stride, f"depthwise_{number}")
        x = _convolution(x, filters, 1, 1, f"project_{number}", cap=False)
        if stride == 1 and before.shape[-1] == filters and number:
            x = layers.Add(name=f"add_{number}")([before, x])
        outputs.append(x)
    level = None
    answers = []
    for stride, block in zip(STRIDES[-2::-1], LEVELS[::-1], strict=True):
        lateral = _normalized(outputs[block], PYRAMID, f"lateral_{stride}")
        if level is not None:
            lateral = layers.Add(name=f"join_{stride}")([lateral, _doubled(level)])
        level = _separable(lateral, f"smooth_{stride}")
        if not answers:  # faces that fill the image are wider than what a cell of the base sees
            coarsest = STRIDES[-1]
            answers.append(_head(_separable(level, f"smooth_{coarsest}", 2), coarsest))
        answers.append(_head(level, stride))
    return keras.Model(inputs, layers.Concatenate(axis=1)(answers[::-1]), name="face_detector")


def _doubled(level: Any) -> Any:
    """Each cell four times; written so that LiteRT can run it on images of any size."""
    keras = load_keras()
    return keras.ops.depth_to_space(keras.ops.concatenate([level] * 4, axis=-1), 2)


def _head(level: Any, stride: int) -> Any:
    keras = load_keras()
    x = _separable(level, f"head_{stride}_0")
    x = _separable(x, f"head_{stride}_1")
    bias = keras.initializers.Constant(np.log(PRIOR / (1 - PRIOR)))
    small = keras.initializers.RandomNormal(stddev=0.01)
    face = keras.layers.Conv2D(
        1, 1, kernel_initializer=small, bias_initializer=bias, name=f"face_{stride}"
    )(x)
    box = keras.layers.Conv2D(4, 1, kernel_initializer=small, name=f"box_{stride}")(x)
    return keras.layers.Reshape((-1, 5))(keras.layers.Concatenate()([face, box]))


def _convolution(x: Any, filters: int, size: int, stride: int, name: str, cap: bool = True) -> Any:
    layers = load_keras().layers
    x = layers.Conv2D(filters, size, stride, "same", name=name)(x)
    return layers.ReLU(6.0)(x) if cap else x


def _depthwise(x: Any, stride: int, name: str) -> Any:
    layers = load_keras().layers
    x = layers.DepthwiseConv2D(3, stride, "same", name=name)(x)
    return layers.ReLU(6.0)(x)


def _normalized(x: Any, filters: int, name: str) -> Any:
    layers = load_keras().layers
    x = layers.Conv2D(filters, 1, use_bias=False, name=name)(x)
    x = layers.BatchNormalization(momentum=0.97, name=f"{name}_bn")(x)
    return layers.ReLU(6.0)(x)


def _separable(x: Any, name: str, stride: int = 1) -> Any:
    layers = load_keras().layers
    x = layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=f"{name}_depthwise")(x)
    return _normalized(x, PYRAMID, name)


def prune_channels(network: Any, base: Any, images: Sequence[np.ndarray]) -> None:
    """Give a network of build_face_network the knowledge of a full MobileNetV2.

    base: keras.applications.MobileNetV2 1.0 without its top; images: some dozens of real ones, of
    its input's size, (height, width, 3) uint8, BGR.

    Of a block's expanded channels those are kept that vary most and weigh most in what the block
    gives, and the projection is fitted anew, so that the pruned network gives from them what the
    full one gave from all: a least-squares problem for each block in turn, as in He, Zhang and
    Sun, Channel Pruning for Accelerating Very Deep Neural Networks, 2017. What the pyramid adds
    stays random.
    """
    keras = load_keras()
    batch = np.stack(images).astype(np.float32)
    full = keras.Model(
        base.input, [base.get_layer(_names(n)["depthwise"] + "_relu").output for n in _BLOCKS]
    )
    wanted = keras.Model(base.input, [base.get_layer(_names(n)["output"]).output for n in _BLOCKS])
    normal = batch[..., ::-1] / 127.5 - 1.0
    worth = [rows.std(axis=0) for rows in _samples(full, normal)]
    targets = _samples(wanted, normal)
    for number, target, deviation in zip(_BLOCKS, targets, worth, strict=True):
        names = _names(number)
        kernel, _ = _folded(base, names["project"])
        count = network.get_layer(f"project_{number}").kernel.shape[2]
        kept = np.argsort(deviation * np.linalg.norm(kernel[0, 0], axis=1))[-count:]
        kernel, bias = _folded(base, names["expand"])
        if number:
            network.get_layer(f"expand_{number}").set_weights([kernel[..., kept], bias[kept]])
        else:  # the image's scale and channel order become the first convolution's business
            offset = kernel[..., kept].sum(axis=(0, 1, 2))
            stem = kernel[:, :, ::-1, kept] / 127.5
            network.get_layer("stem").set_weights([stem, bias[kept] - offset])
        kernel, bias = _folded(base, names["depthwise"])
        network.get_layer(f"depthwise_{number}").set_weights([kernel[:, :, kept], bias[kept]])

        added = network.get_layer(f"project_{number}")
        outputs = [added.input]
        if names["output"].endswith("_add"):  # what comes in is added to what the block gives
            outputs.append(network.get_layer(f"add_{number}").input[0])
        rows, *before = _samples(keras.Model(network.input, outputs), batch)
        wanted_rows = target - before[0] if before else target
        rows = np.hstack([rows, np.ones((len(rows), 1))])
        ridge = 1e-3 * len(rows) * np.eye(count + 1)
        fitted = np.linalg.solve(rows.T @ rows + ridge, rows.T @ wanted_rows)
        added.set_weights([fitted[None, None, :-1], fitted[-1]])


_BLOCKS = range(len(BLOCKS))


def _names(number: int) -> dict[str, str]:
    """What Keras calls the layers of a block of MobileNetV2."""
    prefix = f"block_{number}" if number else "expanded_conv"
    filters, stride, _ = BLOCKS[number]
    adds = number and stride == 1 and BLOCKS[number - 1][0] == filters
    return {
        "expand": f"{prefix}_expand" if number else "Conv1",
        "depthwise": f"{prefix}_depthwise",
        "project": f"{prefix}_project",
        "output": f"{prefix}_add" if adds else f"{prefix}_project_BN",
    }


def _samples(model: Any, batch: np.ndarray) -> list[np.ndarray]:
    """What a model gives at some places of the images, (samples, channels) for each output."""
    found: list[list[np.ndarray]] = []
    for number, image in enumerate(batch):
        outputs = model(image[None], training=False)
        rows = []
        for output in outputs if isinstance(outputs, list) else [outputs]:
            flat = np.asarray(output, np.float64).reshape(-1, output.shape[-1])
            rng = np.random.default_rng(number)  # the same places at each call
            rows.append(flat[rng.integers(len(flat), size=SAMPLES)])
        found.append(rows)
    return [np.concatenate(rows) for rows in zip(*found, strict=True)]


def _folded(base: Any, convolution: str) -> tuple[np.ndarray, np.ndarray]:
    """The kernel and bias of a convolution with the batch normalization behind it."""
    (kernel,) = base.get_layer(convolution).get_weights()
    layer = base.get_layer("bn_Conv1" if convolution == "Conv1" else f"{convolution}_BN")
    gamma, beta, mean, variance = layer.get_weights()
    scale = gamma / np.sqrt(variance + layer.epsilon)
    shaped = scale[:, None] if "depthwise" in convolution else scale
    return kernel * shaped, beta - mean * scale
