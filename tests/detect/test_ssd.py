from pathlib import Path

import cv2
import numpy as np
import pytest

from facemask.detect import litert as litert_module
from facemask.detect.ssd import (
    INPUT_SIZE,
    MEAN_BGR,
    WEIGHTS_NAME,
    LiteRTNetwork,
    OpenCVNetwork,
    SSDFaceDetector,
    decode_boxes,
)
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.images import read_image


class FakeNetwork:
    """Gives the rows that it was made with, as cv2.dnn does; see the end of deploy.prototxt."""

    def __init__(self, *rows: tuple[float, ...]):
        self.rows = np.array(rows, np.float32).reshape(1, 1, -1, 7)
        self.blob = np.empty(0)

    def setInput(self, blob: np.ndarray) -> None:
        self.blob = blob

    def forward(self) -> np.ndarray:
        return self.rows


def detect(*rows: tuple[float, ...], confidence: float = 0.5) -> list[tuple]:
    """The boxes of the rows in an image 200 pixels wide and 100 high."""
    network = OpenCVNetwork(FakeNetwork(*rows))  # pyright: ignore[reportArgumentType]
    faces = SSDFaceDetector(network).detect(np.zeros((100, 200, 3), np.uint8), confidence)
    return [face.corners for face in faces]


def test_no_face_is_an_empty_list() -> None:
    assert detect() == []
    assert detect((0, 0, 0, 0, 0, 0, 0)) == []  # OpenCV's result without any box


def test_corners_become_pixels_clipped_to_the_image() -> None:
    assert detect((0, 1, 0.9, 0.1, 0.2, 0.5, 0.6)) == [(20, 20, 100, 60)]
    assert detect((0, 1, 0.9, -0.1, -0.2, 1.0, 1.3)) == [(0, 0, 200, 100)]


def test_boxes_outside_the_image_or_of_no_size_are_dropped() -> None:
    assert detect((0, 1, 0.9, 1.1, 0.2, 1.5, 0.6), (0, 1, 0.9, 0.5, 0.5, 0.5, 0.5)) == []


def test_confidence_is_strict_and_the_highest_scoring_comes_first() -> None:
    rows = [(0, 1, 0.5, 0, 0, 0.1, 0.1), (0, 1, 0.75, 0, 0, 0.2, 0.2), (0, 1, 1.0, 0, 0, 0.3, 0.3)]
    assert detect(*rows) == [(0, 0, 60, 30), (0, 0, 40, 20)]
    assert detect(*rows, confidence=1.0) == []


def test_the_network_gets_bgr_minus_the_mean() -> None:
    network = FakeNetwork()
    image = np.full((10, 20, 3), (204, 187, 133), np.uint8)
    OpenCVNetwork(network).boxes(image, 0.5)  # pyright: ignore[reportArgumentType]
    assert network.blob.shape == (1, 3, 300, 300)
    assert network.blob[0, :, 0, 0].tolist() == [100, 10, 10]


def test_missing_weights_name_the_file_and_the_command(tmp_path: Path) -> None:
    with pytest.raises(FacemaskError, match=r"facemask\.downloads face-detector") as problem:
        SSDFaceDetector.load(tmp_path)
    assert str(problem.value).startswith(f"{tmp_path / WEIGHTS_NAME}: no such file")


@pytest.mark.parametrize("content", [b"", b"not a caffemodel", bytes(1000)])
def test_a_file_that_is_not_the_weights_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / WEIGHTS_NAME).write_bytes(content)
    with pytest.raises(FacemaskError, match="not the weights of the face detector") as problem:
        SSDFaceDetector.load(tmp_path)
    assert "\n" not in str(problem.value)


@pytest.fixture(scope="module")
def detector(assets: Path) -> SSDFaceDetector:
    return SSDFaceDetector.load(assets / "face_detector")


@pytest.mark.assets
@pytest.mark.parametrize("bulk", [False, True])
def test_truncated_weights_are_one_line(assets: Path, tmp_path: Path, bulk: bool) -> None:
    whole = (assets / "face_detector" / WEIGHTS_NAME).read_bytes()
    (tmp_path / WEIGHTS_NAME).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FacemaskError, match="not the weights of the face detector") as problem:
        SSDFaceDetector.load(tmp_path, bulk=bulk)
    assert "\n" not in str(problem.value)


def test_boxes_are_decoded_from_their_anchors() -> None:
    anchors = np.array([[0.5, 0.4, 0.2, 0.1]], np.float32)
    assert decode_boxes(np.zeros((1, 4)), anchors) == pytest.approx(
        np.array([[0.4, 0.35, 0.6, 0.45]])
    )
    moved = decode_boxes(np.array([[0.5, -1.0, np.log(2), 0.0]]), anchors)
    assert moved == pytest.approx(np.array([[0.4, 0.25, 0.8, 0.35]]))


@pytest.mark.assets
def test_litert_finds_what_opencv_finds(assets: Path) -> None:
    folder = assets / "face_detector"
    opencv = SSDFaceDetector.load(folder)
    litert = SSDFaceDetector.load(folder, threads=1, bulk=True)
    assert isinstance(litert._network, LiteRTNetwork)
    paths = sorted((assets / "scenes" / "images").iterdir())[:40]
    paths += sorted((assets / "dataset" / "with_mask").iterdir())[::30]
    count = 0
    for path in paths:
        image = read_image(path)
        expected, faces = opencv.detect(image, 0.1), litert.detect(image, 0.1)
        assert [face.corners for face in faces] == [face.corners for face in expected]
        assert [face.confidence for face in faces] == pytest.approx(
            [face.confidence for face in expected], abs=1e-4
        )
        count += len(faces)
    assert count > 100


@pytest.mark.assets
def test_without_litert_opencv_runs_the_network(
    assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise ImportError("no LiteRT")

    monkeypatch.setattr(litert_module, "load_interpreter", missing)
    detector = SSDFaceDetector.load(assets / "face_detector", bulk=True)
    assert isinstance(detector._network, OpenCVNetwork)
    assert len(detector.detect(read_image(PROJECT / "examples" / "example_03.png"))) == 2


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
    circulated = cv2.dnn.readNetFromCaffe(
        str(folder / "deploy.prototxt"), str(folder / WEIGHTS_NAME)
    )
    portraits = sorted((assets / "dataset" / "without_mask").glob("*.jpg"))[::25]
    ours, theirs, outside = [], [], 0
    for path in portraits:
        image = read_image(path)
        ours.append(len(detector.detect(image)))
        circulated.setInput(cv2.dnn.blobFromImage(image, 1.0, INPUT_SIZE, MEAN_BGR))
        rows = circulated.forward()[0, 0]
        rows = rows[rows[:, 2] > 0.5]
        theirs.append(len(rows))
        outside += int(np.any((rows[:, 3:5] >= 1) | (rows[:, 5:7] <= 0)))
    assert len(portraits) == 28
    assert sum(count > 1 for count in theirs) >= 14
    assert outside >= 1
    assert sum(count == 1 for count in ours) >= 26
