"""The assignment of anchor points to faces, and the loss."""

import numpy as np
import pytest

from facemask.detect.anchor_points import anchor_points
from facemask.keras_backend import load_keras
from facemask.train_face_detector.targets import (
    FACE,
    IGNORE,
    MAX_BOXES,
    POINTS_OF_FACE,
    SCORED_IOU,
    assign_targets,
    face_loss,
    make_targets,
)

from .conftest import NO_BOXES

BOX = np.array([[40, 40, 60, 60]], np.float32)
POINTS, STRIDES = anchor_points(96, 96)


def logarithms_of(box: np.ndarray) -> np.ndarray:
    """(A, 4): what each anchor point predicts for this box, as far as it can."""
    distances = np.hstack([POINTS - box[:2], box[2:] - POINTS]) / STRIDES[:, None]
    return np.log(np.maximum(distances, np.exp(-4)))


def assigned(faces: np.ndarray, ignored: np.ndarray, predicted: np.ndarray, scores: np.ndarray):
    """assign_targets for one image whose anchor points predict these boxes with these scores."""
    boxes = np.broadcast_to(predicted.astype(np.float32), (1, len(POINTS), 4))
    targets = make_targets(faces, ignored, 96, 96)[None, :MAX_BOXES]
    given = scores.astype(np.float32)[None]
    convert = load_keras().ops.convert_to_tensor
    arguments = map(convert, (targets, given, boxes, POINTS, STRIDES))
    return [np.asarray(value)[0] for value in assign_targets(*arguments)]


def test_targets_list_boxes_and_anchor_points() -> None:
    targets = make_targets(np.concatenate([BOX, BOX * 1.5]), BOX + 9, 96, 96)
    assert targets[:3, 0].tolist() == [FACE, FACE, IGNORE]
    assert targets[:3, 1:].tolist() == [[60, 60, 90, 90], [40, 40, 60, 60], [49, 49, 69, 69]]
    assert not targets[3:MAX_BOXES].any()
    assert (targets[MAX_BOXES:, :2] == POINTS).all()
    assert (targets[MAX_BOXES:, 2] == STRIDES).all()


def test_of_a_crowd_the_largest_faces_are_kept() -> None:
    sides = np.arange(1, MAX_BOXES + 3, dtype=np.float32)
    crowd = np.stack([0 * sides, 0 * sides, sides, sides], axis=1)
    targets = make_targets(crowd, BOX, 96, 96)
    assert targets[:MAX_BOXES, 0].tolist() == [FACE] * MAX_BOXES
    assert targets[:MAX_BOXES, 3].min() == 3


def test_the_best_points_inside_a_face_are_trained_on_it() -> None:
    """All predict the same box, of an IoU of .7; those with the highest scores are taken."""
    face = np.array([[16, 16, 80, 80]], np.float32)
    scores = np.linspace(0.1, 0.9, len(POINTS))  # the last points have the largest strides
    boxes, weight, score, ignored = assigned(face, NO_BOXES, np.array([16, 16, 80, 60.8]), scores)
    chosen = score > 0
    inside = ((POINTS > 16) & (POINTS < 80)).all(axis=1)
    assert chosen.sum() == POINTS_OF_FACE
    assert chosen[np.flatnonzero(inside)[-POINTS_OF_FACE:]].all()
    assert (boxes[chosen] == face).all()
    assert weight.max() == pytest.approx(1.0)
    assert score.max() == pytest.approx(0.7 / SCORED_IOU)
    assert (score[chosen] < 0.93).sum() == POINTS_OF_FACE - 1
    # Their boxes are good as well, so that they are no background.
    assert ignored[~chosen].all()


def test_a_bad_box_inside_a_face_is_background() -> None:
    """As of an eye, which must not become a second face."""
    face = np.array([[16, 16, 80, 80]], np.float32)
    scores = np.where(STRIDES == 8, 0.1, 0.9)
    predicted = np.where((STRIDES == 8)[:, None], [[30, 30, 50, 50]], face)
    _, _, score, ignored = assigned(face, NO_BOXES, predicted, scores)
    bad = (STRIDES == 8) & (score < 0.01)
    assert bad.sum() > 100
    assert not ignored[bad].any()


def test_a_small_face_between_anchor_points_has_one() -> None:
    tiny = np.array([[46, 46, 50, 50]], np.float32)  # the nearest points are at 44 and 52
    _, _, score, _ = assigned(tiny, NO_BOXES, tiny[0], np.full(len(POINTS), 0.01))
    assert (score > 0).any()


def test_a_point_inside_two_faces_belongs_to_the_one_that_it_predicts() -> None:
    outer = np.array([[10, 10, 90, 90]], np.float32)
    faces = np.concatenate([BOX, outer])
    boxes, _, score, _ = assigned(faces, NO_BOXES, BOX[0], np.full(len(POINTS), 0.5))
    assert (score > 0.99).any()
    assert (boxes[score > 0.99] == BOX).all()


def test_points_inside_ignore_boxes_are_ignored_unless_there_is_a_face() -> None:
    around = np.array([[0, 0, 64, 64]], np.float32)
    _, _, score, ignored = assigned(BOX, around, BOX[0], np.full(len(POINTS), 0.5))
    inside = ((POINTS > 0) & (POINTS < 64)).all(axis=1)
    assert ignored[inside & (score == 0)].all()
    assert not ignored[inside & (score > 0)].any()
    assert (score > 0).any()


def loss_of(predictions: np.ndarray, ignored: np.ndarray = NO_BOXES) -> float:
    targets = make_targets(BOX, ignored, 96, 96)[None]
    ops = load_keras().ops
    loss = face_loss(
        ops.convert_to_tensor(targets), ops.convert_to_tensor(predictions[None].astype("float32"))
    )
    return float(np.asarray(loss))


def test_correct_predictions_have_the_lowest_loss() -> None:
    correct = np.hstack([np.full((len(POINTS), 1), -9.0), logarithms_of(BOX[0])])
    best = ((POINTS > 48) & (POINTS < 52.1)).all(axis=1) & (STRIDES == 8)
    assert best.sum() == 1
    correct[best, 0] = 9.0
    lowest = loss_of(correct)
    missed, moved, false_alarm = (correct.copy() for _ in range(3))
    missed[best, 0] = -9.0
    moved[:, 1] += 0.5
    false_alarm[0, 0] = 9.0
    for wrong in (missed, moved, false_alarm):
        assert loss_of(wrong) > lowest + 0.05
    corner = np.array([[0, 0, 8, 8]], np.float32)
    assert loss_of(false_alarm, corner) == pytest.approx(loss_of(correct, corner))
