"""The network of the built-in face detector: a pruned MobileNetV2 with a small feature pyramid."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from facemask.detect.anchor_points import STRIDES
from facemask.keras_backend import load_keras

# Blocks of MobileNetV2 (Sandler et al., 2018) without its last one: output channels, stride, and
# how many of the expanded channels are kept (of 6 times the input channels). Small faces need a
# high resolution, so channels are removed instead of pixels: an image of 640x480 pixels takes a
# fifth of the full network's operations.
Block = tuple[int, int, int]
STEM = 16  # channels of the first convolution, of 32
BLOCKS: tuple[Block, ...] = (
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
    (160, 1, 240),
)
LEVELS = (5, 12, 15)  # the blocks whose outputs the pyramid takes: strides of 8, 16 and 32
PYRAMID = 48  # channels of each level of the pyramid

# Most anchor points are background. Unless the first predictions say so, the first steps destroy
# what the backbone has learned (Lin et al., Focal Loss, 2017).
PRIOR = 0.01

# How the names of the last layers begin. They stay float32 in an int8 network: in whole numbers,
# confidences near .5 would be .04 apart.
OUTPUT_LAYERS = ("face_", "box_")

SAMPLES = 64  # positions of an image that a block's projection is fitted to


def build_face_network(blocks: Sequence[Block] = BLOCKS, levels: Sequence[int] = LEVELS) -> Any:
    """A Keras model from images to raw predictions, with random weights.

    Input: (N, height, width, 3) float32, BGR, 0 to 255, both sides multiples of SIZE_MULTIPLE.
    Output: (N, A, 5), a row for each of the A anchor points: the logit of a face, and the
    logarithms of the distances from the anchor point to the left, top, right and bottom side of
    the box, in strides.
    levels: indices of the blocks with strides of 8, 16 and 32.
    """
    keras = load_keras()
    layers = keras.layers
    inputs = keras.Input((None, None, 3))
    outputs = build_backbone(inputs, STEM, blocks)
    level = None
    predictions = []
    for stride, block in zip(STRIDES[-2::-1], levels[::-1], strict=True):
        lateral = _normalized(outputs[block], PYRAMID, f"lateral_{stride}")
        if level is not None:
            lateral = layers.Add(name=f"join_{stride}")([lateral, _upsampled(level)])
        level = _separable(lateral, f"smooth_{stride}")
        if not predictions:  # a face that fills the image exceeds the backbone's receptive field
            coarsest = STRIDES[-1]
            predictions.append(_head(_separable(level, f"smooth_{coarsest}", 2), coarsest))
        predictions.append(_head(level, stride))
    merged = layers.Concatenate(axis=1)(predictions[::-1])
    return keras.Model(inputs, merged, name="face_detector")


def build_backbone(inputs: Any, stem: int, blocks: Sequence[Block]) -> list[Any]:
    """The outputs of MobileNetV2 blocks.

    There is no batch normalization: prune_channels folds it into the convolutions, since computing
    its statistics at each step takes longer than the rest of the training.
    """
    layers = load_keras().layers
    x = _convolution(inputs, stem, 3, 2, "stem")
    outputs = []
    for number, (filters, stride, kept) in enumerate(blocks):
        block_input = x
        if number:
            x = _convolution(x, kept, 1, 1, f"expand_{number}")
        x = layers.DepthwiseConv2D(3, stride, "same", name=f"depthwise_{number}")(x)
        x = layers.ReLU(6.0)(x)
        x = layers.Conv2D(filters, 1, name=f"project_{number}")(x)
        if _has_shortcut(blocks, number):
            x = layers.Add(name=f"shortcut_{number}")([block_input, x])
        outputs.append(x)
    return outputs


def calibrated(network: Any, scale: float, offset: float) -> Any:
    """A copy of a network whose logits of faces are multiplied by scale, plus offset.

    The numbers go into the weights, so that the copy takes no more time.
    """
    keras = load_keras()
    copy = keras.models.clone_model(keras.Model(network.input, network.output))  # not compiled
    copy.set_weights(network.get_weights())
    for stride in STRIDES:
        layer = copy.get_layer(f"face_{stride}")
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel * scale, bias * scale + offset])
    return copy


def _has_shortcut(blocks: Sequence[Block], number: int) -> bool:
    """Whether a block's input is added to its output."""
    filters, stride, _ = blocks[number]
    return number > 0 and stride == 1 and blocks[number - 1][0] == filters


def _upsampled(level: Any) -> Any:
    """A level with both sides doubled, in operations that LiteRT runs on images of any size."""
    ops = load_keras().ops
    return ops.depth_to_space(ops.concatenate([level] * 4, axis=-1), 2)


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


def _convolution(x: Any, filters: int, size: int, stride: int, name: str) -> Any:
    layers = load_keras().layers
    return layers.ReLU(6.0)(layers.Conv2D(filters, size, stride, "same", name=name)(x))


def _normalized(x: Any, filters: int, name: str) -> Any:
    layers = load_keras().layers
    x = layers.Conv2D(filters, 1, use_bias=False, name=name)(x)
    x = layers.BatchNormalization(momentum=0.97, name=f"{name}_bn")(x)
    return layers.ReLU(6.0)(x)


def _separable(x: Any, name: str, stride: int = 1) -> Any:
    layers = load_keras().layers
    x = layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=f"{name}_depthwise")(x)
    return _normalized(x, PYRAMID, name)


def prune_channels(
    network: Any, backbone: Any, images: Sequence[np.ndarray], blocks: Sequence[Block] = BLOCKS
) -> None:
    """Set the backbone weights of a network from those of a full MobileNetV2, in place.

    backbone: keras.applications.MobileNetV2 1.0 without its top; images: some dozens of
    photographs of its input size, (height, width, 3) uint8, BGR; blocks: those of the network.

    Each block keeps the expanded channels whose standard deviation, times the norm of their
    projection weights, is largest. Its projection is then fitted by least squares, so that the
    pruned block gives what the full one gave: one block after the other, as in He, Zhang and Sun,
    Channel Pruning for Accelerating Very Deep Neural Networks, 2017. The pyramid stays random.
    """
    keras = load_keras()
    batch = np.stack(images).astype(np.float32)
    names = [_layer_names(blocks, number) for number in range(len(blocks))]
    ends = [f"{block['depthwise']}_relu" for block in names] + [block["output"] for block in names]
    full = keras.Model(backbone.input, [backbone.get_layer(name).output for name in ends])
    sampled = _sampled_outputs(full, batch[..., ::-1] / 127.5 - 1.0)
    for number, (block, expanded, target) in enumerate(
        zip(names, sampled[: len(blocks)], sampled[len(blocks) :], strict=True)
    ):
        kernel, _ = _folded(backbone, block["project"])
        count = network.get_layer(f"project_{number}").kernel.shape[2]
        importance = expanded.std(axis=0) * np.linalg.norm(kernel[0, 0], axis=1)
        kept = np.argsort(importance)[-count:]
        kernel, bias = _folded(backbone, block["expand"])
        if number:
            network.get_layer(f"expand_{number}").set_weights([kernel[..., kept], bias[kept]])
        else:  # the stem also converts from BGR, 0 to 255, to RGB in [-1, 1]
            offset = kernel[..., kept].sum(axis=(0, 1, 2))
            stem = kernel[:, :, ::-1, kept] / 127.5
            network.get_layer("stem").set_weights([stem, bias[kept] - offset])
        kernel, bias = _folded(backbone, block["depthwise"])
        network.get_layer(f"depthwise_{number}").set_weights([kernel[:, :, kept], bias[kept]])

        projection = network.get_layer(f"project_{number}")
        outputs = [projection.input]
        if _has_shortcut(blocks, number):
            outputs.append(network.get_layer(f"shortcut_{number}").input[0])
        rows, *shortcut = _sampled_outputs(keras.Model(network.input, outputs), batch)
        wanted = target - shortcut[0] if shortcut else target
        rows = np.hstack([rows, np.ones((len(rows), 1))])
        ridge = 1e-3 * len(rows) * np.eye(count + 1)
        fitted = np.linalg.solve(rows.T @ rows + ridge, rows.T @ wanted)
        projection.set_weights([fitted[None, None, :-1], fitted[-1]])


def _layer_names(blocks: Sequence[Block], number: int) -> dict[str, str]:
    """The names of a block's layers in keras.applications.MobileNetV2."""
    prefix = f"block_{number}" if number else "expanded_conv"
    return {
        "expand": f"{prefix}_expand" if number else "Conv1",
        "depthwise": f"{prefix}_depthwise",
        "project": f"{prefix}_project",
        "output": f"{prefix}_{'add' if _has_shortcut(blocks, number) else 'project_BN'}",
    }


def _sampled_outputs(model: Any, images: np.ndarray) -> list[np.ndarray]:
    """A model's outputs at random positions of the images, (samples, channels) float64 for each."""
    samples: list[list[np.ndarray]] = []
    for number, image in enumerate(images):
        outputs = model(image[None], training=False)
        rows = []
        for output in outputs if isinstance(outputs, list) else [outputs]:
            flat = np.asarray(output, np.float64).reshape(-1, output.shape[-1])
            rng = np.random.default_rng(number)  # the same positions at each call
            rows.append(flat[rng.integers(len(flat), size=SAMPLES)])
        samples.append(rows)
    return [np.concatenate(rows) for rows in zip(*samples, strict=True)]


def _folded(backbone: Any, convolution: str) -> tuple[np.ndarray, np.ndarray]:
    """The kernel and bias of a convolution with the batch normalization that follows it."""
    (kernel,) = backbone.get_layer(convolution).get_weights()
    layer = backbone.get_layer("bn_Conv1" if convolution == "Conv1" else f"{convolution}_BN")
    gamma, beta, mean, variance = layer.get_weights()
    scale = gamma / np.sqrt(variance + layer.epsilon)
    shaped = scale[:, None] if "depthwise" in convolution else scale
    return kernel * shaped, beta - mean * scale
