"""Matching and average precision, on boxes few enough to work out by hand."""

import numpy as np
import pytest

from facemask.evaluate.crops import Crop
from facemask.evaluate.detection import (
    AveragePrecision,
    ImageBoxes,
    average_precision,
    detection_metrics,
    light_group,
    match_boxes,
    width_group,
)
from facemask.evaluate.metrics import Ratio
from facemask.evaluate.runner import with_labels

MASKED, UNMASKED = NAMES = ("with_mask", "without_mask")


def squares(*lefts: int, side: int = 20) -> np.ndarray:
    """Boxes (N, 4) of one size at these distances from the left."""
    return np.array([(x, 0, x + side, side) for x in lefts], float).reshape(-1, 4)


# --- matching ---


@pytest.mark.parametrize(
    ("faces", "boxes", "scores", "matches"),
    [
        (squares(0, 8), squares(6, 1), [0.9, 0.8], [1, 0]),
        (squares(0), squares(0, 1, 2), [0.7, 0.9, 0.8], [None, 0, None]),
        # Both boxes overlap the first face most; the second box has .6 with the other face.
        (squares(0, 4), squares(0, 1), [0.9, 0.8], [0, 1]),
        (squares(0, 4), squares(0, 1), [0.8, 0.9], [1, 0]),
        (squares(0), np.array([(0, 0, 40, 20)]), [0.9], [0]),
        (squares(0), np.array([(0, 0, 41, 20)]), [0.9], [None]),
        (squares(), squares(0), [0.9], [None]),
        (squares(0), squares(), [], []),
    ],
    ids=[
        "most overlap", "the highest score alone", "the next face", "the next face, other order",
        "half shared", "less shared", "no face", "no box",
    ],
)  # fmt: skip
def test_match_boxes(
    faces: np.ndarray, boxes: np.ndarray, scores: list[float], matches: list[int | None]
) -> None:
    assert match_boxes(faces, boxes, scores) == matches


# --- recall and precision ---


def test_detection_metrics() -> None:
    """Widths on both sides of each limit; the faces of 15, 24 and 60 pixels are found."""
    widths = (15, 16, 23, 24, 31, 32, 59, 60)
    rights = np.cumsum(widths)
    faces = np.array(
        [(right - width, 0, right, 20) for right, width in zip(rights, widths, strict=True)]
    )
    labels = [MASKED if width < 40 else "other" for width in widths]
    boxes = np.vstack([faces[[0, 3, 7]], squares(1000), faces[[1]]])
    scores = np.array([0.9, 0.9, 0.9, 0.9, 0.5])
    images = [
        ImageBoxes(faces, boxes, scores, labels),
        ImageBoxes(squares(), squares(), np.zeros(0), []),
    ]
    metrics = detection_metrics(images, 0.5, NAMES)
    assert metrics["large_iou"] is None
    assert (metrics["images"], metrics["ignored"]) == (2, 2)
    assert (metrics["recall"], metrics["precision"]) == (Ratio(3, 8), Ratio(3, 4))
    assert metrics["by_width"] == {
        "<16": Ratio(1, 1), "16-23": Ratio(0, 2), "24-31": Ratio(1, 2), "32-59": Ratio(0, 2),
        ">=60": Ratio(1, 1),
    }  # fmt: skip
    assert metrics["large"] == Ratio(1, 3)
    assert metrics["by_label"] == {MASKED: Ratio(2, 6), "other": Ratio(1, 2)}


def test_the_fit_of_large_faces_and_the_light_on_faces() -> None:
    """Of three large faces two are found, with IoUs of .9 and .7; a smaller one fits wholly."""
    faces = np.vstack([squares(0, 200, 400, side=100), squares(600, side=99)])
    boxes = faces[[0, 1, 3]]
    boxes[:2, 3] = 90, 70
    lights = ["dark", "usual", "usual", "bright"]
    image = ImageBoxes(faces, boxes, np.ones(3), [MASKED] * 4, face_lights=lights)
    metrics = detection_metrics([image], 0.5, NAMES)
    assert metrics["large_iou"] == pytest.approx(0.8)
    assert metrics["by_light"] == {
        "dark": Ratio(1, 1), "usual": Ratio(1, 2), "bright": Ratio(1, 1)
    }  # fmt: skip


@pytest.mark.parametrize(("grey", "name"), [(59, "dark"), (60, "usual"), (180, "bright")])
def test_light_group(grey: int, name: str) -> None:
    assert light_group(np.full((20, 20, 3), grey, np.uint8)) == name


@pytest.mark.parametrize(
    ("width", "name"), [(1, "<16"), (15, "<16"), (16, "16-23"), (59, "32-59"), (60, ">=60")]
)
def test_width_group(width: int, name: str) -> None:
    assert width_group(width) == name


# --- average precision ---


@pytest.mark.parametrize(
    ("correct", "faces", "ap50"),
    [
        ([1, 1], 2, 1.0),
        ([1, 1], 4, 51 / 101),  # what is never found has no precision; of 101 recalls 0 to .5
        ([0, 1], 1, 0.5),
        ([1, 0, 1], 2, (51 + 50 * 2 / 3) / 101),
        ([1, 0, 0, 1, 1], 3, (34 + 67 * 0.6) / 101),  # the envelope lifts 2/4 to 3/5
        ([0, 0], 2, 0.0),
        ([], 2, 0.0),
    ],
)
def test_average_precision_of_one_class(correct: list[int], faces: int, ap50: float) -> None:
    """The detections are spread over two images, and stand in no order."""
    lefts = [100 * index for index in range(faces)]
    positions = iter(lefts)
    boxes = [next(positions) if is_correct else 5000 for is_correct in correct]
    order = np.random.default_rng(0).permutation(len(correct))
    scores = np.linspace(0.9, 0.1, len(correct))
    image = ImageBoxes(squares(*lefts), squares(*boxes)[order], scores[order])
    empty = ImageBoxes(squares(), squares(), np.zeros(0))
    found = average_precision([image, empty])
    assert found.ap50 == pytest.approx(ap50)
    assert found.ap50_by_class == {"face": pytest.approx(ap50)}
    assert found.ap == pytest.approx(ap50)  # of boxes that fit to the pixel


def test_ap_is_the_mean_over_thresholds() -> None:
    """An IoU of .8 reaches seven of the ten thresholds from .5 to .95."""
    image = ImageBoxes(squares(0), np.array([(0, 0, 25, 20)]), np.array([0.9]))
    found = average_precision([image])
    assert (found.ap50, found.ap) == (1.0, pytest.approx(0.7))


def test_average_precision_of_each_class() -> None:
    """An unmasked face taken for a masked one is false there and missed here."""
    images = [
        ImageBoxes(squares(0, 100), squares(0, 100), np.array([0.6, 0.9]), NAMES, [MASKED, MASKED]),
        ImageBoxes(squares(0), squares(), np.zeros(0), [MASKED], []),
    ]
    found = average_precision(images, (*NAMES, "absent"))
    masked = pytest.approx(0.5 * 51 / 101)
    assert found.ap50_by_class == {MASKED: masked, UNMASKED: 0.0, "absent": None}
    assert found.ap50 == pytest.approx(0.25 * 51 / 101)


def test_a_detection_on_a_face_of_another_class_is_neither_true_nor_false() -> None:
    """Two boxes are on the scarf, one of each class; a third, beside it, is false."""
    faces, labels = squares(0, 100), ["scarf", MASKED]
    scores = np.array([0.95, 0.9, 0.8, 0.85])
    on_it = ImageBoxes(faces, squares(0, 1, 100), scores[:3], labels, [MASKED, UNMASKED, MASKED])
    assert average_precision([on_it], NAMES).ap50_by_class == {MASKED: 1.0, UNMASKED: None}
    beside = ImageBoxes(faces, squares(0, 1, 100, 300), scores, labels, [MASKED] * 4)
    assert average_precision([beside], NAMES).ap50_by_class[MASKED] == 0.5


def test_a_detection_of_another_class_is_left_out() -> None:
    image = ImageBoxes(
        squares(0), squares(0, 50), np.array([0.8, 0.9]), [MASKED], [MASKED, "scarf"]
    )
    assert average_precision([image], NAMES).ap50 == 1.0


def test_precision_with_the_labels_of_a_classifier() -> None:
    """The false box has more confidence and less score: .9 x .6 < .7 x 1."""
    scene = ImageBoxes(squares(0, 200), squares(100, 0), np.array([0.9, 0.7]), [MASKED, "scarf"])
    empty = ImageBoxes(squares(), squares(), np.zeros(0), [])
    crops = [
        Crop(
            None, "", True, 20, None, "usual", {"m": np.array([1 - masked, masked])}, {"m": MASKED}
        )
        for masked in (0.6, 1.0)
    ]
    found = average_precision(with_labels([empty, scene], crops, "m"), NAMES)
    assert found.ap50_by_class == {MASKED: 1.0, UNMASKED: None}


def test_more_detections_than_coco_counts() -> None:
    """COCO itself stops at a hundred detections an image."""
    lefts = [30 * index for index in range(150)]
    image = ImageBoxes(squares(*lefts), squares(*lefts), np.full(150, 0.9))
    assert average_precision([image]).ap50 == pytest.approx(1.0)


def test_no_faces() -> None:
    image = ImageBoxes(squares(), squares(0), np.array([0.9]))
    assert average_precision([image]) == AveragePrecision(
        None, None, {"face": None}, {"face": None}
    )
