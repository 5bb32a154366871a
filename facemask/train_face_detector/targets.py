"""The targets of the built-in face detector's anchor points, and the loss of its predictions.

Which anchor points a face is trained on depends on what the network predicts there, so that it is
decided anew in each step: task-aligned assignment (Feng et al., TOOD: Task-aligned One-stage Object
Detection, 2021). All is Keras operations, for every backend.
"""

from typing import Any

import numpy as np

from facemask.detect.anchor_points import anchor_points
from facemask.detect.builtin import LARGEST_LOGARITHM
from facemask.geometry import areas
from facemask.keras_backend import load_keras

# Boxes of an image, at most; the rest of a crowd is left out. All images of a batch have as many.
MAX_BOXES = 48
# The kinds of boxes, 0 for none; the loss leaves IGNORE out, where there may be a face or not.
FACE, IGNORE = 1.0, -1.0

# An anchor point inside a face may be trained on it; and one this near to its centre, in strides,
# or a small face could lie between all points.
CENTRE_RADIUS_STRIDES = 0.75
# A face is trained on this many points, those with the highest score^SCORE_POWER * IoU^IOU_POWER.
POINTS_OF_FACE = 7
SCORE_POWER, IOU_POWER = 0.5, 4.0
# Other points are ignored where their boxes have at least this IoU with a face: non-maximum
# suppression removes them, and a small network should not have to (as in YOLOv3).
GOOD_IOU = 0.6
# From this IoU on, a box counts as good, and its face gets the full score. With the IoU itself for
# the score, unmasked faces got lower ones: data sets agree less on where their boxes end.
SCORED_IOU = 0.75
LEAST_IOU = 1e-3  # in its place, where a box does not touch its face yet
BOX_WEIGHT = 2.0  # of the box loss, beside the classification loss


def make_targets(
    faces: np.ndarray, ignore_boxes: np.ndarray, height: int, width: int
) -> np.ndarray:
    """The targets of an image of height x width pixels, (MAX_BOXES + A, 5) float32.

    First the boxes: the kind, and the corners, xyxy in pixels. Of too many, the largest are kept,
    faces first. Then the A anchor points: x, y, the stride, and zeros. The loss needs them, and
    knows the size of the images from the targets alone.

    faces: (N, 4); ignore_boxes: (M, 4).
    """
    points, strides = anchor_points(height, width)
    targets = np.zeros((MAX_BOXES + len(points), 5), np.float32)
    start = 0
    for kind, boxes in ((FACE, faces), (IGNORE, ignore_boxes)):
        order = np.argsort(-areas(boxes), kind="stable")[: MAX_BOXES - start]
        end = start + len(order)
        targets[start:end, 0], targets[start:end, 1:] = kind, boxes[order]
        start = end
    targets[MAX_BOXES:, :2], targets[MAX_BOXES:, 2] = points, strides
    return targets


def face_loss(targets: Any, predictions: Any) -> Any:
    """The loss of a batch, a scalar Keras tensor.

    targets: those of make_targets, (N, MAX_BOXES + A, 5), of images of one size; predictions: those
    of build_face_network, (N, A, 5). The sum is divided by the sum of the boxes' weights.

    Quality focal loss (Li et al., Generalized Focal Loss, 2020) trains the score to be that of
    assign_targets; generalized IoU (Rezatofighi et al., 2019) trains the box.
    """
    ops = load_keras().ops
    anchors, targets = targets[0, MAX_BOXES:], targets[:, :MAX_BOXES]
    points, strides = anchors[:, :2], anchors[:, 2]
    boxes = predicted_boxes(predictions[..., 1:], points, strides)
    logit = predictions[..., 0]
    assigned, weight, score, ignored = (
        ops.stop_gradient(value)
        for value in assign_targets(targets, ops.sigmoid(logit), boxes, points, strides)
    )
    # Binary cross-entropy from the logit: this form neither overflows nor loses precision.
    entropy = ops.maximum(logit, 0.0) - logit * score + ops.softplus(-ops.absolute(logit))
    focal = ops.square(ops.absolute(score - ops.sigmoid(logit))) * entropy * (1.0 - ignored)
    _, generalized_iou = box_ious(boxes, assigned)
    total = ops.sum(focal) + BOX_WEIGHT * ops.sum(weight * (1.0 - generalized_iou))
    return total / ops.maximum(ops.sum(weight), 1.0)


def assign_targets(
    targets: Any, scores: Any, boxes: Any, points: Any, strides: Any
) -> tuple[Any, Any, Any, Any]:
    """Of each anchor point: the box to predict (N, A, 4), its weight, the score, and the ignored.

    The weight (N, A) is 0 for background, 1 at the best point of a face, and less at its other
    points. The score (N, A) is the weight where the best point's box is good; where it is not, it
    is less by the ratio of its IoU to SCORED_IOU. Ignored (N, A): 1 inside a box to ignore, and
    where a face is found that the point is not trained on.

    targets: the boxes of make_targets, (N, MAX_BOXES, 5). scores (N, A) and boxes (N, A, 4): the
    network's, at points (A, 2) of strides (A,).
    """
    ops = load_keras().ops
    kinds, truth = targets[..., :1], targets[..., 1:]  # (N, G, 1), (N, G, 4)
    is_face = ops.cast(kinds == FACE, "float32")
    x, y = points[:, 0], points[:, 1]
    x1, y1, x2, y2 = (truth[..., side : side + 1] for side in range(4))
    inside = (x > x1) & (x < x2) & (y > y1) & (y < y2)  # (N, G, A)
    radius = CENTRE_RADIUS_STRIDES * strides
    near = ops.absolute(x - (x1 + x2) / 2) < radius
    near = near & (ops.absolute(y - (y1 + y2) / 2) < radius)
    candidates = ops.cast(inside | near, "float32") * is_face

    iou, _ = box_ious(boxes[:, None], truth[:, :, None])  # (N, G, A)
    quality = ops.power(ops.maximum(iou, LEAST_IOU), IOU_POWER) * candidates
    quality = quality * ops.power(scores[:, None] + 1e-6, SCORE_POWER)
    least = ops.top_k(quality, POINTS_OF_FACE)[0][..., -1:]
    chosen = ops.cast(quality >= least, "float32") * candidates
    # A point that several faces want is trained on the one that it fits best.
    quality = quality * chosen
    best = ops.max(quality, axis=1, keepdims=True)
    chosen = chosen * ops.cast(quality >= best, "float32")

    highest = ops.max(quality, axis=2, keepdims=True)
    best_iou = ops.max(iou * chosen, axis=2, keepdims=True)
    relative = chosen * quality / ops.maximum(highest, 1e-12)
    weight = ops.max(relative, axis=1)
    score = ops.max(relative * ops.minimum(best_iou / SCORED_IOU, 1.0), axis=1)
    index = ops.argmax(chosen, axis=1)  # (N, A)
    assigned = ops.take_along_axis(truth, index[..., None], axis=1)
    is_good = (iou >= GOOD_IOU) & (kinds == FACE)
    is_ignored = ops.any((inside & (kinds == IGNORE)) | is_good, axis=1)
    is_background = ops.max(chosen, axis=1) == 0.0
    return assigned, weight, score, ops.cast(is_ignored & is_background, "float32")


def predicted_boxes(logarithms: Any, points: Any, strides: Any) -> Any:
    """Boxes (N, A, 4), xyxy in pixels, from the network's logarithms of distances (N, A, 4)."""
    ops = load_keras().ops
    distances = predicted_distances(logarithms) * strides[:, None]
    return ops.concatenate([points - distances[..., :2], points + distances[..., 2:]], axis=-1)


def predicted_distances(logarithms: Any) -> Any:
    """Distances in strides from the logarithms that the network gives, limited as in detection."""
    ops = load_keras().ops
    return ops.exp(ops.clip(logarithms, -LARGEST_LOGARITHM, LARGEST_LOGARITHM))


def box_ious(boxes: Any, others: Any) -> tuple[Any, Any]:
    """IoU and generalized IoU of boxes (..., 4), xyxy, whose shapes broadcast."""
    ops = load_keras().ops

    def area(starts: Any, ends: Any) -> Any:
        sides = ops.maximum(ends - starts, 0.0)
        return sides[..., 0] * sides[..., 1]

    start, end, other_start, other_end = (
        boxes[..., :2],
        boxes[..., 2:],
        others[..., :2],
        others[..., 2:],
    )
    intersection = area(ops.maximum(start, other_start), ops.minimum(end, other_end))
    union = area(start, end) + area(other_start, other_end) - intersection
    hull = area(ops.minimum(start, other_start), ops.maximum(end, other_end))
    iou = intersection / ops.maximum(union, 1e-6)
    return iou, iou - (hull - union) / ops.maximum(hull, 1e-6)
