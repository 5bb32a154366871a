"""What the built-in face detector is to answer for an image, and how far off an answer is."""

from typing import Any

import numpy as np

from facemask.detect.anchor_points import STRIDES, anchor_points
from facemask.keras_backend import load_keras

# Square root of a box's area, pixels, for the anchor points of each stride. Where two ranges
# overlap, both answer: a face that grows from frame to frame must not get lost in between.
SIZE_RANGES = ((0.0, 44.0), (28.0, 110.0), (72.0, 240.0), (160.0, float("inf")))
# A cell answers for a box when it is so near to its centre: in strides, or in parts of its sides.
CENTRE_RADIUS_STRIDES, CENTRE_RADIUS_SIDES = 0.75, 0.15
# From there on to this part of the sides a cell may say what it likes.
MAYBE_SIDES = 0.3

# What assign_targets says of a cell.
FACE, BACKGROUND, IGNORE = 1.0, 0.0, -1.0


def assign_targets(boxes: np.ndarray, ignored: np.ndarray, height: int, width: int) -> np.ndarray:
    """What each cell is to answer, (anchor_points, 5) float32.

    That is FACE, BACKGROUND or IGNORE, and for FACE the distances left, top, right and bottom from
    the cell's centre to the box's sides, in strides.

    boxes: (N, 4), xyxy in pixels, of the faces; ignored: (M, 4), of places where there may be one
    or not. A cell that is near to several faces gets the smallest.
    """
    centres, strides = anchor_points(height, width)
    answers = np.zeros((len(centres), 5), np.float32)
    for box in ignored:
        inside = (centres > box[:2]) & (centres < box[2:])
        answers[inside.all(axis=1), 0] = IGNORE
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    level = np.searchsorted(STRIDES, strides)
    low, high = np.array(SIZE_RANGES).T[:, level]
    order = np.argsort(-areas)
    for box in boxes[order]:  # what may be said, before what must be
        away = np.abs(centres - (box[:2] + box[2:]) / 2)
        answers[(away < MAYBE_SIDES * (box[2:] - box[:2])).all(axis=1), 0] = IGNORE
    for box, area in zip(boxes[order], areas[order], strict=True):
        away = np.abs(centres - (box[:2] + box[2:]) / 2)
        reach = np.maximum(
            CENTRE_RADIUS_STRIDES * strides[:, None], CENTRE_RADIUS_SIDES * (box[2:] - box[:2])
        )
        size = np.sqrt(area)
        near = (away < reach).all(axis=1) & (low <= size) & (size < high)
        answers[near, 0] = FACE
        answers[near, 1:3] = (centres[near] - box[:2]) / strides[near, None]
        answers[near, 3:] = (box[2:] - centres[near]) / strides[near, None]
    return answers


def face_loss(truth: Any, answers: Any) -> Any:
    """A Keras loss of assign_targets's rows and build_face_network's, (N, anchor points, 5).

    Quality focal loss (Li et al., Generalized Focal Loss, 2020) makes the probability of a face
    that of its box being right, by the IoU; generalized IoU (Rezatofighi et al., 2019) brings the
    box there. Both are sums over a batch for each cell that sees a face.
    """
    ops = load_keras().ops
    kind = truth[..., 0]
    face = ops.cast(kind == FACE, "float32")
    count = ops.maximum(ops.sum(face), 1.0)
    iou, general = _ious(ops.exp(ops.clip(answers[..., 1:], -4.0, 4.0)), truth[..., 1:])

    logit = answers[..., 0]
    target = ops.stop_gradient(face * ops.clip(iou, 0.0, 1.0))
    probability = ops.sigmoid(logit)
    # Binary cross-entropy of a logit, written so that it neither overflows nor loses digits.
    entropy = ops.maximum(logit, 0.0) - logit * target + ops.softplus(-ops.absolute(logit))
    focal = ops.square(ops.absolute(target - probability)) * entropy
    focal = ops.sum(focal * ops.cast(kind != IGNORE, "float32"))
    return (focal + 2.0 * ops.sum(face * (1.0 - general))) / count


def _ious(found: Any, box: Any) -> tuple[Any, Any]:
    """IoU and generalized IoU of boxes with boxes, (..., 4): how far they reach from one point."""
    ops = load_keras().ops

    def area(reach: Any) -> Any:
        sides = ops.maximum(reach[..., :2] + reach[..., 2:], 0.0)
        return sides[..., 0] * sides[..., 1]

    both = area(ops.minimum(found, box))
    union = area(found) + area(box) - both
    hull = area(ops.maximum(found, box))
    iou = both / ops.maximum(union, 1e-6)
    return iou, iou - (hull - union) / ops.maximum(hull, 1e-6)
