"""The targets of the built-in face detector for an image, and the loss of its predictions."""

from typing import Any

import numpy as np

from facemask.detect.anchor_points import STRIDES, anchor_points
from facemask.keras_backend import load_keras

# Square root of a face's area, in pixels, that the anchor points of each stride are trained on. The
# ranges overlap, so that a face that grows from frame to frame is not lost between two strides.
SIZE_RANGES = ((0.0, 44.0), (28.0, 110.0), (72.0, 240.0), (160.0, float("inf")))
# An anchor point belongs to a face when it lies this near to its centre: in strides, or as a ratio
# of the box's sides. The larger of the two counts.
CENTRE_RADIUS_STRIDES, CENTRE_RADIUS_SIDES = 0.75, 0.15
# Anchor points further out, up to this ratio of the sides, are ignored.
IGNORE_RADIUS_SIDES = 0.3
BOX_WEIGHT = 2.0  # of the box loss, beside the classification loss

# The kinds of anchor points; the loss leaves IGNORE out.
FACE, BACKGROUND, IGNORE = 1.0, 0.0, -1.0


def assign_targets(
    faces: np.ndarray, ignore_boxes: np.ndarray, height: int, width: int
) -> np.ndarray:
    """The target of each anchor point of an image of height x width pixels, (A, 5) float32.

    The first column is FACE, BACKGROUND or IGNORE. For FACE, the others are the distances from the
    anchor point to the left, top, right and bottom side of the box, in strides.

    faces: (N, 4) boxes, xyxy in pixels; ignore_boxes: (M, 4), where there may be a face or not. An
    anchor point that is near to several faces belongs to the smallest.
    """
    points, strides = anchor_points(height, width)
    targets = np.zeros((len(points), 5), np.float32)
    for box in ignore_boxes:
        inside = (points > box[:2]) & (points < box[2:])
        targets[inside.all(axis=1), 0] = IGNORE
    areas = np.prod(faces[:, 2:] - faces[:, :2], axis=1)
    level = np.searchsorted(STRIDES, strides)
    low, high = np.array(SIZE_RANGES).T[:, level]
    order = np.argsort(-areas)
    for box in faces[order]:  # first, so that FACE replaces IGNORE
        distance = np.abs(points - (box[:2] + box[2:]) / 2)
        ignored = distance < IGNORE_RADIUS_SIDES * (box[2:] - box[:2])
        targets[ignored.all(axis=1), 0] = IGNORE
    for box, area in zip(faces[order], areas[order], strict=True):
        distance = np.abs(points - (box[:2] + box[2:]) / 2)
        radius = np.maximum(
            CENTRE_RADIUS_STRIDES * strides[:, None], CENTRE_RADIUS_SIDES * (box[2:] - box[:2])
        )
        size = np.sqrt(area)
        near = (distance < radius).all(axis=1) & (low <= size) & (size < high)
        targets[near, 0] = FACE
        targets[near, 1:3] = (points[near] - box[:2]) / strides[near, None]
        targets[near, 3:] = (box[2:] - points[near]) / strides[near, None]
    return targets


def face_loss(targets: Any, predictions: Any) -> Any:
    """The loss of a batch, a scalar Keras tensor.

    targets: those of assign_targets, (N, A, 5); predictions: those of build_face_network, of the
    same shape. The sum over a batch is divided by its number of FACE anchor points.

    Quality focal loss (Li et al., Generalized Focal Loss, 2020) trains the score to be the IoU of
    the predicted box; generalized IoU (Rezatofighi et al., 2019) trains the box.
    """
    ops = load_keras().ops
    kind = targets[..., 0]
    is_face = ops.cast(kind == FACE, "float32")
    count = ops.maximum(ops.sum(is_face), 1.0)
    iou, generalized_iou = _ious(predicted_distances(predictions[..., 1:]), targets[..., 1:])

    logit = predictions[..., 0]
    score = ops.stop_gradient(is_face * ops.clip(iou, 0.0, 1.0))
    # Binary cross-entropy from the logit: this form neither overflows nor loses precision.
    entropy = ops.maximum(logit, 0.0) - logit * score + ops.softplus(-ops.absolute(logit))
    focal = ops.square(ops.absolute(score - ops.sigmoid(logit))) * entropy
    focal = ops.sum(focal * ops.cast(kind != IGNORE, "float32"))
    return (focal + BOX_WEIGHT * ops.sum(is_face * (1.0 - generalized_iou))) / count


def predicted_distances(logarithms: Any) -> Any:
    """Distances in strides from the logarithms that the network gives.

    They are limited to e^-4 to e^4 strides: wild first predictions must not overflow.
    """
    ops = load_keras().ops
    return ops.exp(ops.clip(logarithms, -4.0, 4.0))


def _ious(distances: Any, others: Any) -> tuple[Any, Any]:
    """IoU and generalized IoU of boxes, given by distances from one point, (..., 4)."""
    ops = load_keras().ops

    def area(sides: Any) -> Any:
        sizes = ops.maximum(sides[..., :2] + sides[..., 2:], 0.0)
        return sizes[..., 0] * sizes[..., 1]

    intersection = area(ops.minimum(distances, others))
    union = area(distances) + area(others) - intersection
    hull = area(ops.maximum(distances, others))
    iou = intersection / ops.maximum(union, 1e-6)
    return iou, iou - (hull - union) / ops.maximum(hull, 1e-6)
