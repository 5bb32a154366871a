import numpy as np
import pytest

from facemask.geometry import FaceBox, nms


def box(x1: int, y1: int, x2: int, y2: int) -> FaceBox:
    return FaceBox(x1, y1, x2, y2, 0.9)


@pytest.mark.parametrize(
    ("given", "inside", "area"),
    [
        (box(2, 3, 8, 9), box(2, 3, 8, 9), 36),
        (box(-5, -5, 4, 4), box(0, 0, 4, 4), 16),
        (box(6, 7, 99, 99), box(6, 7, 10, 20), 52),
        (box(-9, -9, -1, -1), box(0, 0, 0, 0), 0),
        (box(50, 60, 70, 80), box(10, 20, 10, 20), 0),
        (box(8, 8, 2, 2), box(8, 8, 2, 2), 0),
    ],
    ids=["inside", "top left", "bottom right", "outside before", "outside after", "inverted"],
)
def test_clip_to_an_image_10_wide_and_20_high(given: FaceBox, inside: FaceBox, area: int) -> None:
    assert given.clip(10, 20) == inside
    assert inside.area == area


def test_expand_grows_each_side_by_a_share_of_the_box() -> None:
    assert box(10, 10, 20, 30).expand(0.5) == box(5, 0, 25, 40)
    assert box(10, 10, 20, 30).expand(0.0) == box(10, 10, 20, 30)


@pytest.mark.parametrize(
    ("one", "other", "iou"),
    [
        (box(0, 0, 10, 10), box(0, 0, 10, 10), 1.0),
        (box(0, 0, 10, 10), box(5, 0, 15, 10), 50 / 150),
        (box(0, 0, 10, 10), box(10, 0, 20, 10), 0.0),
        (box(0, 0, 0, 0), box(0, 0, 0, 0), 0.0),
    ],
    ids=["same", "half", "touching", "empty"],
)
def test_iou(one: FaceBox, other: FaceBox, iou: float) -> None:
    assert one.iou(other) == pytest.approx(iou)
    assert other.iou(one) == pytest.approx(iou)


def test_the_surest_of_overlapping_boxes_is_kept() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [0, 0, 10, 4]], float)
    assert nms(boxes, 0.45) == [0, 2, 3]
    assert nms(boxes, 0.9) == [0, 1, 2, 3]
    assert nms(boxes, 0.45, inside=0.9) == [0, 2]


def test_of_no_boxes_none_is_kept() -> None:
    assert nms(np.zeros((0, 4)), 0.45) == []
