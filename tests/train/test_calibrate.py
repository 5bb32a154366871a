"""The calibration of a classifier's probabilities, on numbers written by hand."""

import numpy as np
import pytest

from facemask.train.calibrate import incorrect_offset


def test_a_class_that_is_called_too_often_is_called_less() -> None:
    # Five faces with a mask whose logit is .95 below that of the rare class, five far above it,
    # and two of the rare class, which are 2 above.
    logits = np.zeros((12, 3))
    logits[:5, 2], logits[5:10, 0], logits[10:, 2] = 0.95, 5.0, 2.0
    labels = np.array([0] * 10 + [2] * 2)
    assert incorrect_offset(logits, labels, 2) == pytest.approx(-1.0)


def test_a_good_class_stays_as_it_is() -> None:
    logits = np.eye(3)[[0, 1, 2]] * 4.0
    assert incorrect_offset(logits, np.array([0, 1, 2]), 2) == 0.0
