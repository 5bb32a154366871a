"""The built-in face detector: decoding, non-maximum suppression, and the shipped network."""

from pathlib import Path

import numpy as np
import pytest

from facemask.detect.anchor_points import anchor_points
from facemask.detect.builtin import (
    WEIGHTS,
    BuiltinFaceDetector,
    Predict,
    decode_predictions,
    find_faces,
    input_size,
)
from facemask.errors import FacemaskError
from facemask.files import PROJECT


def test_anchor_points_go_row_by_row_and_stride_by_stride() -> None:
    centres, strides = anchor_points(64, 96)
    assert len(centres) == 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2
    assert centres[:2].tolist() == [[4, 4], [12, 4]]
    assert centres[12].tolist() == [4, 12]
    assert centres[-1].tolist() == [96, 32]  # half of its stride is outside
    assert strides[[0, 96, 120, -1]].tolist() == [8, 16, 32, 64]


def test_input_size_keeps_the_shape_in_multiples_of_32() -> None:
    assert input_size(480, 640) == (608, 800)
    assert input_size(1080, 1920) == (448, 800)
    assert input_size(400, 300) == (800, 608)
    assert input_size(320, 160) == (640, 320)
    assert input_size(20, 3000) == (32, 800)


def logit(confidence: float) -> float:
    return float(np.log(confidence / (1 - confidence)))


def test_small_images_are_enlarged_to_twice_their_size_at_most() -> None:
    assert input_size(100, 64) == (192, 128)
    assert input_size(1, 1) == (32, 32)


def predictions_for(box: list[float], confidence: float, height: int, width: int) -> np.ndarray:
    """The predictions of a network whose anchor points inside a face all find it, and no others."""
    points, strides = anchor_points(height, width)
    corners = np.array(box, np.float32)
    distances = np.hstack([points - corners[:2], corners[2:] - points]) / strides[:, None]
    inside = (distances > 0).all(axis=1)
    predictions = np.full((len(points), 5), -20, np.float32)
    predictions[inside, 0] = logit(confidence)
    predictions[inside, 1:] = np.log(distances[inside])
    return predictions


def test_confidences_are_strictly_above() -> None:
    predictions = np.zeros_like(predictions_for([40, 40, 60, 60], 0.9, 320, 320))
    assert len(decode_predictions(predictions, 320, 320, 0.5)[0]) == 0
    assert len(decode_predictions(predictions, 320, 320, 0.49)[0]) > 0


def test_wild_predictions_do_not_overflow() -> None:
    predictions = np.full_like(predictions_for([40, 40, 60, 60], 0.9, 320, 320), 1e9)
    boxes, confidences = decode_predictions(predictions, 320, 320, 0.5)
    assert np.isfinite(boxes).all()
    assert confidences.tolist() == pytest.approx([1.0] * len(boxes))


def network_that_finds(*boxes: list[float]) -> Predict:
    """A network that finds these faces in an image of 400x400 pixels, in any size of it."""

    def predict(batch: np.ndarray) -> np.ndarray:
        height, width = batch.shape[1:3]
        scaled = [[side * width / 400 for side in box] for box in boxes]
        nothing = predictions_for([0, 0, 0, 0], 0.9, height, width)
        found = [predictions_for(box, 0.9, height, width) for box in scaled]
        return np.max([nothing, *found], axis=0)[None]

    return predict


def never(batch: np.ndarray) -> np.ndarray:
    raise AssertionError(f"searched in {batch.shape}")


IMAGE = np.zeros((400, 400, 3), np.uint8)
SMALL, OTHER_SMALL = [10.0, 10.0, 50.0, 60.0], [330.0, 10.0, 370.0, 60.0]
LARGE, ITS_HALF = [100.0, 100.0, 300.0, 350.0], [100.0, 200.0, 290.0, 390.0]


@pytest.mark.parametrize(
    "box",
    [[40.0, 40, 52, 56], [100.0, 60, 200, 190], [60.0, 70, 280, 250], [10.0, 20, 390, 380]],
)
def test_a_face_gets_one_box(box: list[float]) -> None:
    network = network_that_finds(box)
    boxes, confidences = find_faces(IMAGE, 0.5, network, network)
    assert boxes == pytest.approx(np.array([box]), abs=0.01)
    assert confidences.tolist() == pytest.approx([0.9])


def test_a_child_beside_a_large_face_is_found() -> None:
    """A small box is no less a face because there is a large one."""
    network = network_that_finds(LARGE, [350.0, 20.0, 375.0, 50.0])
    assert len(find_faces(IMAGE, 0.5, network, network)[0]) == 2


def test_boxes_below_the_confidence_count_in_the_mean_and_make_no_face() -> None:
    sure, unsure = [100.0, 100.0, 148.0, 148.0], [104.0, 104.0, 152.0, 152.0]

    def network(batch: np.ndarray) -> np.ndarray:
        height, width = batch.shape[1:3]
        scale = width / 400
        fine = predictions_for([side * scale for side in sure], 0.6, height, width)
        coarse = predictions_for([side * scale for side in unsure], 0.3, height, width)
        strides = anchor_points(height, width)[1]
        return np.where(strides[:, None] == 8, fine, coarse)[None]

    boxes, confidences = find_faces(IMAGE, 0.5, network, never)
    assert confidences.tolist() == pytest.approx([0.6])
    assert (sure < boxes).all()
    assert (boxes < unsure).all()


def test_small_faces_need_no_second_search() -> None:
    boxes, _ = find_faces(IMAGE, 0.5, network_that_finds(SMALL, OTHER_SMALL), never)
    assert sorted(boxes.tolist()) == pytest.approx(np.array([SMALL, OTHER_SMALL]), abs=0.01)


def test_where_no_face_is_found_large_ones_are_searched_once_more() -> None:
    boxes, confidences = find_faces(IMAGE, 0.5, network_that_finds(), network_that_finds(LARGE))
    assert boxes == pytest.approx(np.array([LARGE]), abs=0.01)
    assert confidences.tolist() == pytest.approx([0.9])


def test_each_search_is_heard_on_the_sizes_it_is_good_at() -> None:
    fine, coarse = network_that_finds(SMALL, ITS_HALF), network_that_finds(LARGE, OTHER_SMALL)
    boxes, _ = find_faces(IMAGE, 0.5, fine, coarse)
    assert sorted(boxes.tolist()) == pytest.approx(np.array([SMALL, LARGE]), abs=0.01)


def test_a_face_that_both_searches_find_gets_one_box() -> None:
    middle = [100.0, 100.0, 200.0, 220.0]
    boxes, _ = find_faces(IMAGE, 0.5, network_that_finds(middle), network_that_finds(middle))
    assert boxes == pytest.approx(np.array([middle]), abs=0.01)


def test_a_missing_and_a_damaged_file_are_named(tmp_path: Path) -> None:
    damaged = tmp_path / "builtin.tflite"
    with pytest.raises(FacemaskError, match=r"builtin\.tflite: can't be read"):
        BuiltinFaceDetector.load(damaged)
    damaged.write_bytes(WEIGHTS.read_bytes()[:1000])
    with pytest.raises(FacemaskError, match=r"builtin\.tflite"):
        BuiltinFaceDetector.load(damaged)


def test_another_model_is_no_face_detector() -> None:
    with pytest.raises(FacemaskError, match=r"mask_detector\.tflite: expected a face detector"):
        BuiltinFaceDetector.load(PROJECT / "pretrained" / "mask_detector.tflite")


@pytest.fixture(scope="module")
def builtin() -> BuiltinFaceDetector:
    return BuiltinFaceDetector.load()


def test_it_is_small() -> None:
    assert WEIGHTS.stat().st_size < 2_000_000


@pytest.mark.parametrize("shape", [(480, 640), (1, 1), (20, 3000), (900, 16)])
def test_images_of_one_colour_have_no_face(
    builtin: BuiltinFaceDetector, shape: tuple[int, int]
) -> None:
    assert builtin.detect(np.full((*shape, 3), 127, np.uint8)) == []
