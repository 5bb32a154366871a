import numpy as np
import pytest

from facemask.geometry import FaceBox, face_boxes, ious, nms, weighted_nms


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


def test_expand_grows_each_side_by_a_ratio_of_the_box() -> None:
    assert box(10, 10, 20, 30).expand(0.5) == box(5, 0, 25, 40)
    assert box(10, 10, 20, 30).expand(0.0) == box(10, 10, 20, 30)


def test_a_box_on_the_way_to_another_one() -> None:
    start, end = FaceBox(0, 10, 20, 30, 0.5), FaceBox(40, 10, 80, 31, 0.9)
    assert [start.towards(end, ratio) for ratio in (0, 1)] == [start, end]
    between = start.towards(end, 0.25)
    assert between.corners == (10, 10, 35, 30)
    assert between.confidence == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("first", "second", "iou"),
    [
        (box(0, 0, 10, 10), box(0, 0, 10, 10), 1.0),
        (box(0, 0, 10, 10), box(5, 0, 15, 10), 50 / 150),
        (box(0, 0, 10, 10), box(10, 0, 20, 10), 0.0),
        (box(0, 0, 0, 0), box(0, 0, 0, 0), 0.0),
    ],
    ids=["same", "half", "touching", "empty"],
)
def test_iou(first: FaceBox, second: FaceBox, iou: float) -> None:
    assert first.iou(second) == pytest.approx(iou)
    assert second.iou(first) == pytest.approx(iou)


def test_ious_broadcast() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [3, 3, 3, 3]])
    assert ious(boxes[0], boxes).tolist() == pytest.approx([1, 1 / 3, 0])
    assert ious(boxes[:, None], boxes[:2]) == pytest.approx(
        np.array([[1, 1 / 3], [1 / 3, 1], [0, 0]])
    )


def test_a_detectors_boxes_are_rounded_clipped_and_all_there() -> None:
    boxes = np.array([[-3.4, 1.6, 8.4, 9.0], [30, 1, 40, 9]], np.float32)
    assert face_boxes(boxes, np.array([0.9, 0.5]), 10, 20) == [
        FaceBox(0, 2, 8, 9, 0.9),
        FaceBox(10, 1, 10, 9, 0.5),
    ]


def test_move() -> None:
    assert box(1, 2, 3, 4).move(10, -2) == box(11, 0, 13, 2)


def test_the_highest_scoring_of_overlapping_boxes_is_kept() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [0, 0, 10, 4]], float)
    assert nms(boxes, 0.45) == [0, 2, 3]
    assert nms(boxes, 0.9) == [0, 1, 2, 3]
    assert nms(boxes, 0.45, max_ios=0.9) == [0, 2]


def test_nms_of_no_boxes() -> None:
    assert nms(np.zeros((0, 4)), 0.45) == []


def test_weighted_nms_gives_the_mean_of_overlapping_boxes() -> None:
    boxes = np.array([[50.0, 0, 60, 10], [0, 0, 10, 10], [0, 2, 10, 12], [80, 0, 90, 10]])
    means, scores = weighted_nms(boxes, np.array([0.7, 0.9, 0.3, 0.4]), min_score=0.5, max_iou=0.5)
    assert means == pytest.approx(np.array([[0, 0.5, 10, 10.5], [50, 0, 60, 10]]))
    assert scores.tolist() == [0.9, 0.7]


def test_weighted_nms_of_no_boxes() -> None:
    means, scores = weighted_nms(np.zeros((0, 4)), np.zeros(0), min_score=0.5, max_iou=0.5)
    assert means.shape == (0, 4)
    assert scores.shape == (0,)
