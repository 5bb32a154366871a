import numpy as np
import pytest

from facemask.geometry import FaceBox
from facemask.output.blurring import BLUR_MARGIN, COLOURS_A_SIDE, blur_faces


def face(x1: int, y1: int, x2: int, y2: int) -> FaceBox:
    return FaceBox(x1, y1, x2, y2, 0.9)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_without_faces_nothing_changes() -> None:
    image = noise(60, 80)
    blurred = image.copy()
    blur_faces(blurred, [])
    assert np.array_equal(image, blurred)


@pytest.mark.parametrize("side", [4, 12, 40, 400])
def test_little_is_left_of_a_face(side: int) -> None:
    image = noise(3 * side, 3 * side)
    blur_faces(image, [face(side, side, 2 * side, 2 * side)])
    hidden = image[side : 2 * side, side : 2 * side].astype(float)
    assert hidden.std() < 80 / min(COLOURS_A_SIDE, side)  # 74 in the noise itself
    assert 90 < hidden.mean() < 165


def test_stripes_that_tell_faces_apart_are_gone() -> None:
    image = np.zeros((300, 300, 3), np.uint8)
    image[:, ::20] = image[:, 1::20] = 255
    blur_faces(image, [face(100, 100, 200, 200)])
    assert np.abs(np.diff(image[100:200, 100:200].astype(int), axis=1)).max() <= 3


def test_a_margin_is_blurred_too_and_nothing_else() -> None:
    image = noise(300, 300)
    blurred = image.copy()
    blur_faces(blurred, [face(100, 120, 200, 200)])
    rows, columns = np.nonzero((image != blurred).any(axis=2))
    across, down = round(100 * BLUR_MARGIN), round(80 * BLUR_MARGIN)
    assert (columns.min(), columns.max() + 1) == (100 - across, 200 + across)
    assert (rows.min(), rows.max() + 1) == (120 - down, 200 + down)


@pytest.mark.parametrize(
    "box", [(-20, -20, 30, 30), (50, 40, 200, 200), (0, 0, 80, 60), (30, 30, 32, 32)]
)
def test_faces_at_the_edges(box: tuple[int, int, int, int]) -> None:
    image = noise(60, 80)
    blurred = image.copy()
    blur_faces(blurred, [face(*box)])
    assert not np.array_equal(image, blurred)


def test_a_face_outside_is_none() -> None:
    image = noise(60, 80)
    blurred = image.copy()
    blur_faces(blurred, [face(200, 200, 220, 220), face(10, 10, 10, 10)])
    assert np.array_equal(image, blurred)
