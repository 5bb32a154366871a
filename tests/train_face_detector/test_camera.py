"""What light and cameras do to a sample."""

import numpy as np

from facemask.train_face_detector.camera import backlit, out_of_focus

from .conftest import NO_BOXES


def test_a_backlit_face_is_darker_than_its_background() -> None:
    grey = np.full((100, 100, 3), 120, np.uint8)
    lit = backlit(grey, np.array([40, 40, 60, 60], np.float32), np.random.default_rng(0))
    assert lit[50, 50, 0] < 90
    assert lit[0, 0, 0] > 130


def test_faces_that_a_blur_makes_unrecognisable_are_ignored() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, 50:] = 200
    large, small = [10, 10, 50, 50], [60, 60, 68, 70]
    blurred, faces, ignored = out_of_focus(
        image, np.array([large, small], np.float32), NO_BOXES, sigma=3.0
    )
    assert faces.tolist() == [large]
    assert ignored.tolist() == [small]
    assert 90 <= blurred[50, 50, 0] <= 130
