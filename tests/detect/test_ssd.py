from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facemask.detect.caffe import read_weights
from facemask.detect.litert import LiteRTModel
from facemask.detect.ssd import (
    MEAN_BGR,
    PORTRAIT_SIDE,
    PROTOTXT,
    WEIGHTS_NAME,
    PortraitSSD,
    SSDFaceDetector,
    decode_boxes,
)
from facemask.detect.ssd_litert import VALUES, ConvertedSSD, convert
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.geometry import FaceBox
from facemask.images import read_image

from ..conftest import FakeDetector

opencv_importer: Any = getattr(cv2.dnn, "readNetFromCaffe", None)
needs_opencv_4 = pytest.mark.skipif(
    opencv_importer is None, reason="OpenCV 5 does not read Caffe's networks"
)


class FakeModel:
    """Gives the boxes and confidences that it was made with, as offsets from their anchors."""

    def __init__(self, *rows: tuple[float, ...]):
        """rows: a confidence, and x1, y1, x2 and y2 as fractions of the image's sides."""
        confidences, corners = np.split(np.array(rows, np.float32).reshape(-1, VALUES), [1], axis=1)
        starts, ends = corners[:, :2], corners[:, 2:]
        self.anchors = np.hstack([(starts + ends) / 2, ends - starts])
        self.rows = np.zeros((1, len(rows), VALUES), np.float32)
        self.rows[0, :, 4:] = np.log(confidences / (1 - confidences))
        self.batch = np.empty(0)

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.batch = batch
        return self.rows


def detector_of(model: FakeModel) -> SSDFaceDetector:
    ones = np.ones(4, np.float32)
    ssd = ConvertedSSD(b"", (30, 40), np.array(MEAN_BGR), model.anchors, ones, 0.45, 400, 200, 0.01)
    return SSDFaceDetector(ssd, model)  # pyright: ignore[reportArgumentType]


def detect(*rows: tuple[float, ...], confidence: float = 0.5) -> list[tuple]:
    """The boxes of a FakeModel's rows in an image 200 pixels wide and 100 high."""
    image = np.zeros((100, 200, 3), np.uint8)
    return [face.corners for face in detector_of(FakeModel(*rows)).detect(image, confidence)]


def test_no_face_is_an_empty_list() -> None:
    assert detect() == []
    assert detect((0.2, 0.1, 0.2, 0.5, 0.6)) == []


def test_corners_become_pixels_clipped_to_the_image() -> None:
    assert detect((0.9, 0.1, 0.2, 0.5, 0.6)) == [(20, 20, 100, 60)]
    assert detect((0.9, -0.1, -0.2, 1.0, 1.3)) == [(0, 0, 200, 100)]


def test_boxes_outside_the_image_or_of_no_size_are_dropped() -> None:
    assert detect((0.9, 1.1, 0.2, 1.5, 0.6), (0.9, 0.5, 0.5, 0.5, 0.5)) == []


def test_confidence_is_strict_and_the_highest_scoring_comes_first() -> None:
    rows = [(0.5, 0, 0, 0.1, 0.1), (0.75, 0, 0, 0.2, 0.2), (0.875, 0, 0, 0.4, 0.4)]
    assert detect(*rows) == [(0, 0, 80, 40), (0, 0, 40, 20)]
    assert detect(*rows, confidence=0.9) == []


def test_of_boxes_on_one_face_the_highest_scoring_stays() -> None:
    assert detect((0.75, 0, 0, 0.4, 0.4), (0.9, 0, 0, 0.4, 0.5)) == [(0, 0, 80, 50)]


def test_the_network_gets_bgr_minus_the_mean() -> None:
    model = FakeModel()
    detector_of(model).detect(np.full((10, 20, 3), (204, 187, 133), np.uint8))
    assert model.batch.shape == (1, 30, 40, 3)
    assert model.batch[0, 0, 0].tolist() == [100, 10, 10]


def test_a_portrait_is_looked_at_whole_where_few_pixels_show_not_one_face() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    sure, unsure, hint, noise = (FaceBox(1, 1, 5, 5, each) for each in (0.8, 0.6, 0.3, 0.2))
    full = [FaceBox(0, 0, 9, 9, 0.6), FaceBox(0, 0, 9, 9, 0.55)]

    def detect(*small: FaceBox) -> list[FaceBox]:
        return PortraitSSD(FakeDetector(*small), FakeDetector(*full)).detect(image, 0.5)

    assert detect(sure) == [sure]
    assert detect(sure, noise) == [sure]
    assert detect() == detect(unsure) == detect(sure, hint) == full


def test_missing_weights_name_the_file_and_the_command(tmp_path: Path) -> None:
    with pytest.raises(FacemaskError, match=r"facemask\.downloads face-detector") as problem:
        SSDFaceDetector.load(tmp_path)
    assert str(problem.value).startswith(f"{tmp_path / WEIGHTS_NAME}: no such file")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "it has no layers"),
        (b"version https://git-lfs.github.com/spec/v1\n", "byte 1 begins no field"),
        (b"<!DOCTYPE html>", "byte 1 begins no field"),
        (bytes(1000), "byte 1 begins no field"),
        (b"\xa2\x06\x00", r"expected \[3, 3, 1\] weights of the layer data_bn, found \[\]"),
        (b"\xa2\x06\x05\x0a", "ends 4 bytes too early"),
    ],
    ids=["empty", "Git LFS pointer", "HTML", "zeros", "a layer without weights", "truncated"],
)
def test_a_file_that_is_not_the_weights_is_one_line(
    tmp_path: Path, content: bytes, found: str
) -> None:
    (tmp_path / WEIGHTS_NAME).write_bytes(content)
    with pytest.raises(FacemaskError, match=f"not the weights of the face detector .*{found}"):
        SSDFaceDetector.load(tmp_path)


@pytest.fixture(scope="module")
def detector(assets: Path) -> SSDFaceDetector:
    return SSDFaceDetector.load(assets / "face_detector")


@pytest.mark.assets
def test_truncated_weights_are_one_line(assets: Path, tmp_path: Path) -> None:
    whole = (assets / "face_detector" / WEIGHTS_NAME).read_bytes()
    (tmp_path / WEIGHTS_NAME).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FacemaskError, match="not the weights of the face detector") as problem:
        SSDFaceDetector.load(tmp_path)
    assert "\n" not in str(problem.value)


def test_boxes_are_decoded_from_their_anchors() -> None:
    anchors = np.array([[0.5, 0.4, 0.2, 0.1]], np.float32)
    assert decode_boxes(np.zeros((1, 4)), anchors) == pytest.approx(
        np.array([[0.4, 0.35, 0.6, 0.45]])
    )
    moved = decode_boxes(np.array([[0.5, -1.0, np.log(2), 0.0]]), anchors)
    assert moved == pytest.approx(np.array([[0.4, 0.25, 0.8, 0.35]]))


@pytest.mark.assets
@needs_opencv_4
def test_the_weights_are_those_that_opencv_reads(assets: Path) -> None:
    path = assets / "face_detector" / WEIGHTS_NAME
    network, weights = opencv_importer(str(PROTOTXT), str(path)), read_weights(path)
    for name in network.getLayerNames():
        blobs = network.getLayer(name).blobs
        np.testing.assert_equal(weights.pop(name, []), [blob.ravel() for blob in blobs])
    assert not weights


@pytest.mark.assets
@needs_opencv_4
def test_the_boxes_are_those_that_opencv_finds(assets: Path, detector: SSDFaceDetector) -> None:
    path = assets / "face_detector" / WEIGHTS_NAME
    network = opencv_importer(str(PROTOTXT), str(path))
    paths = sorted((assets / "scenes" / "images").iterdir())[:40]
    paths += sorted((assets / "dataset" / "with_mask").iterdir())[::30]
    count = 0
    for path in paths:
        image = read_image(path)
        # A row of Caffe's DetectionOutput: the image's number, the class, the confidence, the box.
        network.setInput(cv2.dnn.blobFromImage(image, 1.0, (300, 300), MEAN_BGR))
        rows = network.forward()[0, 0]
        rows = rows[rows[:, 2] > 0.1]
        faces = detector.detect(image, 0.1)
        sides = np.tile(image.shape[1::-1], 2)
        expected = np.clip(rows[:, 3:] * sides, 0, sides)
        expected = expected[np.argsort(-rows[:, 2], kind="stable")]
        assert np.array([face.corners for face in faces]).reshape(-1, 4) == pytest.approx(
            expected, abs=1
        )
        assert [face.confidence for face in faces] == pytest.approx(
            sorted(rows[:, 2], reverse=True), abs=1e-5
        )
        count += len(faces)
    assert count > 100


@pytest.mark.assets
def test_the_one_face_of_grace_hopper(detector: SSDFaceDetector) -> None:
    faces = detector.detect(read_image(PROJECT / "examples" / "example_01.png"))
    assert len(faces) == 1
    assert faces[0].confidence > 0.99
    middle = ((faces[0].x1 + faces[0].x2) / 2, (faces[0].y1 + faces[0].y2) / 2)
    assert middle == pytest.approx((266, 226), abs=15)


@pytest.mark.assets
@pytest.mark.parametrize(("example", "count"), [("example_02.png", 1), ("example_03.png", 2)])
def test_the_other_examples_faces(detector: SSDFaceDetector, example: str, count: int) -> None:
    assert len(detector.detect(read_image(PROJECT / "examples" / example))) == count


@pytest.mark.assets
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 5000, 3), (5000, 1, 3)])
def test_images_of_odd_shapes_have_no_face(detector: SSDFaceDetector, shape: tuple) -> None:
    assert detector.detect(np.zeros(shape, np.uint8)) == []


@pytest.mark.assets
def test_one_box_where_the_circulated_description_gives_several(
    assets: Path, detector: SSDFaceDetector
) -> None:
    """It pads conv8_2_h and conv9_2_h, which were trained without padding."""
    folder = assets / "face_detector"
    weights = folder / WEIGHTS_NAME
    ssd = convert(weights, folder / "deploy.prototxt", MEAN_BGR)
    circulated = SSDFaceDetector(ssd, LiteRTModel.from_bytes(weights, ssd.content))
    portraits = sorted((assets / "dataset" / "without_mask").glob("*.jpg"))[::25]
    images = [read_image(path) for path in portraits]
    assert len(images) == 28
    assert sum(len(circulated.detect(image)) > 1 for image in images) >= 14
    assert sum(len(detector.detect(image)) == 1 for image in images) >= 26


@pytest.mark.assets
def test_few_pixels_show_the_face_of_a_portrait(assets: Path, detector: SSDFaceDetector) -> None:
    small = SSDFaceDetector.load(assets / "face_detector", int8=True, side=PORTRAIT_SIDE)
    image = read_image(PROJECT / "examples" / "example_01.png")
    (expected,), (face,) = detector.detect(image), small.detect(image)
    assert face.iou(expected) > 0.8
    assert face.confidence > 0.9
