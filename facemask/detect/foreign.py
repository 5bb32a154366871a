"""Models without metadata, which other scripts made: what they take, and what they give.

The classic model takes RGB in [-1, 1] and gives the probabilities of two classes. Others do the
scaling themselves, take grey images, or end in one sigmoid unit. A few images made by rule show
which of these a model is.
"""

from collections.abc import Callable

import numpy as np

from facemask.detect.metadata import CLASSIC_CLASSES, ENTRY

Forward = Callable[[np.ndarray], np.ndarray]

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luma of RGB, ITU-R BT.601

# A model that divides by 127.5 or 255 sees nearly the same dark image in all of [-1, 1]: outputs of
# one differed by a ninth of what they did in [0, 255], and without its scaling by as much.
SAME_IMAGE = 0.25
# Keras layers that may do that, and the numbers that do it in a .tflite file.
SCALING_LAYERS = {"Rescaling", "Normalization", "TrueDivide", "Divide", "Subtract"}
SCALES = (1 / 127.5, 1 / 255, 127.5, 255.0)


def adapt(
    forward: Forward,
    grey: bool,
    size: tuple[int, int],
    may_scale: bool,
    announce: Callable[[str], None],
) -> Forward:
    """A model's function as MaskClassifier uses it: from RGB in [-1, 1] to two probabilities.

    forward: from (N, height, width, C) float32 to (N, 1) or (N, 2) float32; C is 1 if grey, or 3.
    size: (height, width), pixels. may_scale: whether the model has what SCALING_LAYERS or SCALES
    name; in many networks it does something else. announce: takes a line for each way in which the
    model differs from the classic one.
    Returns a function from (N, height, width, 3) float32 to (N, 2) float32, rows summing to 1.
    """
    remarks = []
    take = forward
    if grey:
        remarks.append("takes grey images")
        take = _grey(take)
    images = probe_images(size)
    outputs = take(images)
    if may_scale and _range(outputs) < SAME_IMAGE * _range(take(_to_255(images))):
        remarks.append("scales its input itself, so that it gets 0 to 255")
        take = _scaled(take)
        outputs = take(images)
    give, remark = _reading(outputs)
    for text in (*remarks, *remark):
        announce(f"a model without {ENTRY}: it {text}")
    return lambda batch: give(take(batch)).astype(np.float32)


def probe_images(size: tuple[int, int]) -> np.ndarray:
    """Images (N, height, width, 3) float32, RGB in [-1, 1]: flat, gradients, stripes, noise."""
    height, width = size
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    noise = np.random.default_rng(0).uniform(-1, 1, (height, width, 3))
    grey = [np.full_like(x, -1), np.full_like(x, 1), x, y, np.sign(np.sin(20 * x)), -np.hypot(x, y)]
    colours = [np.array(colour) for colour in ((1, 0.5, 0.2), (-0.5, 0.2, 1), (0.6, 0.9, 0.9))]
    flat = [np.broadcast_to(colour, (height, width, 3)) for colour in colours]
    images = [np.repeat(image[..., None], 3, axis=2) for image in grey]
    return np.clip(np.stack([*images, *flat, noise]), -1, 1).astype(np.float32)


def _grey(forward: Forward) -> Forward:
    return lambda batch: forward((batch @ GREY)[..., None])


def _scaled(forward: Forward) -> Forward:
    return lambda batch: forward(_to_255(batch))


def _to_255(batch: np.ndarray) -> np.ndarray:
    return (batch + 1) * np.float32(127.5)


def _range(outputs: np.ndarray) -> float:
    return float(np.ptp(outputs, axis=0).max())


def _reading(outputs: np.ndarray) -> tuple[Forward, list[str]]:
    """How outputs (N, 1) or (N, 2) become probabilities (N, 2), and remarks on it."""
    probabilities = bool((outputs >= 0).all() and (outputs <= 1).all())
    if outputs.shape[1] == 1:
        second = CLASSIC_CLASSES[1]
        unit = "sigmoid unit" if probabilities else "unit without a sigmoid"
        remark = f"has one {unit}, read as the class {second}, the second in the alphabet"
        sigmoid = _pass if probabilities else _sigmoid
        return lambda out: np.hstack([1 - sigmoid(out), sigmoid(out)]), [remark]
    if not probabilities:
        return _softmax, ["has no softmax at its end, so that one is applied"]
    if not np.allclose(outputs.sum(axis=1), 1, atol=1e-3):
        remark = "has two sigmoid units, whose answers are scaled to a sum of 1"
        return lambda out: out / np.maximum(out.sum(axis=1, keepdims=True), 1e-7), [remark]
    return _pass, []


def _pass(outputs: np.ndarray) -> np.ndarray:
    return outputs


def _sigmoid(outputs: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(outputs, -80, 80)))


def _softmax(outputs: np.ndarray) -> np.ndarray:
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
