"""The built-in face detector: decoding, non-maximum suppression, and the shipped network."""

from pathlib import Path

import numpy as np
import pytest

from facemask.detect.anchor_points import anchor_points
from facemask.detect.builtin import WEIGHTS, BuiltinFaceDetector, decode_predictions, input_size
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.train_face_detector.targets import FACE, assign_targets


def test_anchor_points_go_row_by_row_and_stride_by_stride() -> None:
    centres, strides = anchor_points(64, 96)
    assert len(centres) == 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2
    assert centres[:2].tolist() == [[4, 4], [12, 4]]
    assert centres[12].tolist() == [4, 12]
    assert centres[-1].tolist() == [96, 32]  # half of its stride is outside
    assert strides[[0, 96, 120, -1]].tolist() == [8, 16, 32, 64]


def test_input_size_keeps_the_shape_in_multiples_of_32() -> None:
    assert input_size(480, 640) == (480, 640)
    assert input_size(1080, 1920) == (352, 640)
    assert input_size(400, 300) == (640, 480)
    assert input_size(1, 1) == (640, 640)
    assert input_size(20, 3000) == (32, 640)


def predictions_for(boxes: list[list[float]], height: int, width: int) -> np.ndarray:
    """The predictions of a perfect network for faces: a confidence of 0.9 where there is one."""
    centres, _ = anchor_points(height, width)
    truth = assign_targets(
        np.array(boxes, np.float32).reshape(-1, 4), np.zeros((0, 4)), height, width
    )
    predictions = np.zeros((len(centres), 5), np.float32)
    predictions[truth[:, 0] == FACE, 0] = 0.9
    predictions[:, 1:] = truth[:, 1:]
    return predictions


@pytest.mark.parametrize(
    "box", [[40, 40, 52, 56], [100, 60, 200, 190], [60, 70, 280, 250], [10, 20, 310, 300]]
)
def test_decoding_undoes_the_assignment_of_targets(box: list[float]) -> None:
    boxes, confidences = decode_predictions(predictions_for([box], 320, 320), 320, 320, 0.5)
    assert boxes.round(3).tolist() == [box]
    assert confidences.tolist() == pytest.approx([0.9])


def test_confidences_are_strictly_above() -> None:
    predictions = predictions_for([[40, 40, 60, 60]], 320, 320)
    boxes, _ = decode_predictions(predictions, 320, 320, float(np.float32(0.9)))
    assert len(boxes) == 0


@pytest.mark.parametrize(
    ("large", "small", "kept"), [(0.95, 0.7, 1), (0.95, 0.95, 2), (0.8, 0.7, 2)]
)
def test_a_small_box_beside_a_large_face_needs_high_confidence(
    large: float, small: float, kept: int
) -> None:
    large_box, small_box = [40.0, 40.0, 240.0, 280.0], [280.0, 20.0, 300.0, 44.0]
    predictions = predictions_for([large_box, small_box], 320, 320)
    is_small = predictions_for([small_box], 320, 320)[:, 0] > 0
    predictions[:, 0] = np.where(is_small, small, np.where(predictions[:, 0] > 0, large, 0))
    boxes, _ = decode_predictions(predictions, 320, 320, 0.5)
    assert len(boxes) == kept


def test_a_missing_and_a_damaged_file_are_named(tmp_path: Path) -> None:
    damaged = tmp_path / "builtin.tflite"
    with pytest.raises(FacemaskError, match=r"builtin\.tflite: can't be read"):
        BuiltinFaceDetector.load(damaged)
    damaged.write_bytes(WEIGHTS.read_bytes()[:1000])
    with pytest.raises(FacemaskError, match=r"builtin\.tflite"):
        BuiltinFaceDetector.load(damaged)


def test_another_model_is_no_face_detector() -> None:
    with pytest.raises(FacemaskError, match=r"mask_detector\.tflite: expected a face detector"):
        BuiltinFaceDetector.load(PROJECT / "mask_detector.tflite")


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
