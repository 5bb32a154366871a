"""The targets of anchor points, and the loss."""

import numpy as np
import pytest

from facemask.detect.anchor_points import anchor_points
from facemask.train_face_detector.targets import BACKGROUND, FACE, IGNORE, assign_targets, face_loss

from .conftest import NO_BOXES

BOX = np.array([[40, 40, 60, 60]], np.float32)


def test_near_anchor_points_of_the_right_stride_belong_to_a_face() -> None:
    targets = assign_targets(BOX, NO_BOXES, 96, 96)
    points, strides = anchor_points(96, 96)
    face = targets[:, 0] == FACE
    assert set(strides[face]) == {8}
    assert np.abs(points[face] - 50).max() <= 6
    corners = np.concatenate([points - 8 * targets[:, 1:3], points + 8 * targets[:, 3:]], axis=1)
    assert (corners[face] == BOX).all()
    assert targets[0, 0] == BACKGROUND


def test_anchor_points_inside_ignore_boxes_are_ignored() -> None:
    targets = assign_targets(NO_BOXES, np.array([[0, 0, 20, 20]], np.float32), 96, 96)
    points, _ = anchor_points(96, 96)
    assert (targets[:, 0] == np.where((points < 20).all(axis=1), IGNORE, BACKGROUND)).all()


def test_correct_predictions_have_the_lowest_loss() -> None:
    targets = assign_targets(BOX, NO_BOXES, 96, 96)
    correct = np.full((len(targets), 5), -9.0, np.float32)
    face = targets[:, 0] == FACE
    correct[face, 0] = 9.0
    correct[face, 1:] = np.log(targets[face, 1:])
    lowest = float(np.asarray(face_loss(targets[None], correct[None])))
    assert lowest == pytest.approx(0, abs=1e-3)
    missed, moved, false_alarm, ignored = (correct.copy() for _ in range(4))
    missed[face, 0] = -9.0
    moved[face, 1] += 0.5
    false_alarm[0, 0] = 9.0
    for wrong in (missed, moved, false_alarm):
        assert float(np.asarray(face_loss(targets[None], wrong[None]))) > lowest + 0.05
    ignored[targets[:, 0] == IGNORE, 0] = 9.0
    assert float(np.asarray(face_loss(targets[None], ignored[None]))) == pytest.approx(lowest)
