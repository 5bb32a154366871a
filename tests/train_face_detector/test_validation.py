"""Matching, calibration and the figures of the card, on boxes made by hand."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from facemask.evaluate.detection import ImageBoxes, detection_metrics
from facemask.train_face_detector import card, validation
from facemask.train_face_detector.samples import AnnotatedImage
from facemask.train_face_detector.validation import calibrate

from .conftest import NO_BOXES

FACES = np.array([[10, 10, 50, 50], [100, 10, 120, 30]], np.float32)


def photograph(folder: Path) -> AnnotatedImage:
    path = folder / "street.png"
    cv2.imwrite(str(path), np.zeros((200, 200, 3), np.uint8))
    return AnnotatedImage(path, FACES, NO_BOXES, portrait=False)


def test_calibration_moves_the_best_confidence_to_one_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = np.array([*FACES, [150, 150, 190, 190], [150, 10, 190, 50]], np.float32)
    confidences = np.array([0.3, 0.25, 0.15, 0.1])
    monkeypatch.setattr(
        validation, "network_detector", lambda network: lambda image: (boxes, confidences)
    )
    scale, offset = calibrate(None, [photograph(tmp_path)])
    assert scale > 0
    logits = scale * np.log(confidences / (1 - confidences)) + offset
    assert (logits > 0).tolist() == [True, True, False, False]


@pytest.mark.parametrize("boxes", [FACES, NO_BOXES, FACES + 60])
def test_without_both_kinds_of_boxes_nothing_is_calibrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boxes: np.ndarray
) -> None:
    confidences = np.full(len(boxes), 0.5)
    monkeypatch.setattr(
        validation, "network_detector", lambda network: lambda image: (boxes, confidences)
    )
    assert calibrate(None, [photograph(tmp_path)]) == (1.0, 0.0)


def test_a_row_counts_what_the_scripts_show_and_takes_precision_from_all() -> None:
    boxes = np.array([FACES[0], [150, 150, 190, 190], FACES[1]], np.float32)
    images = [ImageBoxes(FACES, boxes, np.array([0.9, 0.6, 0.2]), ["with_mask", "without_mask"])]
    row = card._row("street", "new", images, detection_metrics(images, 0.5, []))
    # At a confidence of .5, one of two faces is found, and one of two boxes is a face.
    names = ("faces", "found", "precision", ">= 32 px", "with_mask", "without_mask")
    assert [row[name] for name in names] == [2, 0.5, 0.5, 1.0, 1.0, 0.0]
    # Average precision: the third box counts too, whatever the class of its face.
    assert row["mAP@.5"] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101, abs=0.001)
    empty = [ImageBoxes(NO_BOXES, NO_BOXES, np.zeros(0), [])]
    row = card._row("none", "new", empty, detection_metrics(empty, 0.5, []))
    assert [row[name] for name in names[:4]] == [0, None, None, None]
