"""The network of the built-in face detector, and how it takes over YuNet's weights."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from facemask.detect import yunet
from facemask.detect.anchor_points import STRIDES, anchor_points
from facemask.detect.builtin import decode_predictions
from facemask.errors import FacemaskError
from facemask.geometry import as_array, ious, weighted_nms
from facemask.images import read_image
from facemask.train_face_detector.network import build_face_network, calibrated, load_yunet

from .conftest import tiny_network


def test_the_network_gives_a_row_for_each_anchor_point() -> None:
    network = tiny_network()
    image = np.zeros((2, 64, 96, 3), np.float32)
    predictions = np.array(network(image, training=False))
    assert predictions.shape == (2, len(anchor_points(64, 96)[0]), 5)
    other = np.array(calibrated(network, 2.0, -1.0)(image, training=False))
    assert other[..., 0] == pytest.approx(2.0 * predictions[..., 0] - 1.0, rel=1e-4, abs=1e-5)
    assert other[..., 1:] == pytest.approx(predictions[..., 1:], rel=1e-4)
    assert np.array(network(image, training=False)) == pytest.approx(predictions)


@pytest.mark.assets
def test_with_yunets_weights_the_network_finds_yunets_faces(assets: Path) -> None:
    weights = assets / "face_detector" / yunet.WEIGHTS_NAME
    network = build_face_network()
    load_yunet(network, weights)
    image = read_image(assets / "scenes3" / "images" / "photo0006.jpg")
    image = cv2.resize(image, (640, 416))
    detector = yunet.YuNetFaceDetector.load(assets / "face_detector")
    predictions = np.array(network(image[None].astype(np.float32), training=False))[0]
    of_level_64 = anchor_points(416, 640)[1] == STRIDES[-1]
    predictions[of_level_64, 0] = -9.0  # which YuNet does not have
    candidates = decode_predictions(predictions, 416, 640, 0.5)
    boxes, _ = weighted_nms(*candidates, min_score=0.5, max_iou=yunet.YUNET_NMS_IOU)
    expected = detector.detect(image, 0.5)
    overlaps = np.array([ious(box, as_array(expected)) for box in boxes])
    assert len(boxes) >= 3
    assert overlaps.max(axis=1).min() > 0.6


@pytest.mark.parametrize("content", [b"", b"no network", b"\x3a\x08\x0a\x06\x22\x04Conv"])
def test_weights_of_another_network_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(FacemaskError, match=r"other\.onnx: expected the weights of YuNet"):
        load_yunet(tiny_network(), path)


def test_missing_weights_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(FacemaskError, match=r"none\.onnx: can't be read: No such file"):
        load_yunet(tiny_network(), tmp_path / "none.onnx")
