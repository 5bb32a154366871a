"""What all face detectors have in common, and how one is chosen."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from facemask.detect import registry
from facemask.detect.registry import ensure_weights, load_detector, resolve
from facemask.detect.ssd import WEIGHTS_NAME
from facemask.detect.types import Detector
from facemask.downloads import fetch
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.geometry import FaceBox
from facemask.images import read_image
from facemask.options import DETECTORS

from ..conftest import ASSETS

FETCHED = {"ssd": WEIGHTS_NAME, "yunet": fetch.YUNET.name}
NAMES = [
    pytest.param(name, marks=pytest.mark.assets if name in FETCHED else ())
    for name in DETECTORS[1:]
]
# The face in `portrait`, annotated by hand, from the hair to the chin.
PORTRAIT = FaceBox(168, 104, 360, 372, 1.0)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    if request.param in FETCHED:
        request.getfixturevalue("assets")
    return request.param


@pytest.fixture
def detector(name: str) -> Detector:
    return load_detector(name, ASSETS / "face_detector")


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """Head and shoulders of the second example, (600, 512, 3)."""
    image = read_image(PROJECT / "examples" / "example_02.png")
    return cv2.resize(image[:300, 90:346], None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)


def test_one_face_where_it_is(detector: Detector, portrait: np.ndarray) -> None:
    (face,) = detector.detect(portrait)
    assert face.iou(PORTRAIT) > 0.6
    assert 0.6 < face.confidence <= 1
    assert {type(value) for value in (face.x1, face.y1, face.x2, face.y2)} == {int}
    assert type(face.confidence) is float


def test_two_faces(detector: Detector) -> None:
    image = read_image(PROJECT / "examples" / "example_03.png")
    assert len(detector.detect(image)) == 2


def test_boxes_are_inside_not_empty_and_the_highest_scoring_first(
    detector: Detector, portrait: np.ndarray
) -> None:
    image = np.vstack([np.hstack([portrait, portrait[:, ::-1]]), np.zeros((40, 1024, 3), np.uint8)])
    faces = detector.detect(image[150:], 0.1)  # without the foreheads
    assert len(faces) >= 2
    assert faces == sorted(faces, key=lambda box: -box.confidence)
    assert all(box.clip(1024, len(image) - 150) == box and box.area for box in faces)


def test_confidence_is_strict_and_reaches_down(detector: Detector, portrait: np.ndarray) -> None:
    (face,) = detector.detect(portrait)
    assert detector.detect(portrait, face.confidence) == []
    assert len(detector.detect(portrait, 0.02)) >= 1
    assert detector.detect(portrait) == [face]


def test_a_call_does_not_depend_on_the_one_before(detector: Detector, portrait: np.ndarray) -> None:
    before = detector.detect(portrait)
    detector.detect(cv2.resize(portrait, (97, 333)))
    assert detector.detect(portrait) == before


def test_images_are_not_changed_and_may_be_views(detector: Detector, portrait: np.ndarray) -> None:
    image = portrait[::2, ::2]
    image.flags.writeable = False
    copy = image.copy()
    assert detector.detect(image) == detector.detect(copy)
    assert np.array_equal(image, copy)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (480, 640), (7, 9)])
def test_images_of_one_colour_and_any_shape_have_no_face(
    detector: Detector, shape: tuple[int, int]
) -> None:
    assert detector.detect(np.full((*shape, 3), 127, np.uint8)) == []


def test_a_face_in_a_large_frame(detector: Detector, portrait: np.ndarray) -> None:
    frame = np.full((2160, 3840, 3), 90, np.uint8)
    frame[300:900, 1500:2012] = portrait
    (face,) = detector.detect(frame, 0.3)
    (alone,) = detector.detect(portrait)
    assert face.iou(alone.move(1500, 300)) > 0.4


def test_tiles_find_small_faces_and_find_each_once(name: str, portrait: np.ndarray) -> None:
    detector = load_detector(name, ASSETS / "face_detector")
    tiled = load_detector(name, ASSETS / "face_detector", tiles=3)
    small = cv2.resize(portrait, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    frame = cv2.resize(np.full((108, 192, 3), 120, np.uint8), (1920, 1080))
    rows, columns = small.shape[:2]
    for x in (60, 900, 1700):
        frame[500 : 500 + rows, x : x + columns] = small
    assert len(tiled.detect(frame)) == 3
    assert len(tiled.detect(frame)) >= len(detector.detect(frame))
    large, *others = tiled.detect(portrait)  # YuNet may find one in a medal
    (same,) = detector.detect(portrait)
    assert large.iou(same) > 0.7
    assert all(large.iou(other) == 0 for other in others)


@pytest.mark.parametrize("name", FETCHED)
def test_weights_that_are_missing_or_damaged_are_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(FacemaskError, match="no such file") as problem:
        load_detector(name, tmp_path)
    assert str(problem.value).startswith(str(tmp_path / FETCHED[name]))
    assert "python -m facemask.downloads" in str(problem.value)
    (tmp_path / FETCHED[name]).write_bytes(b"not weights" * 100)
    with pytest.raises(FacemaskError, match="not the weights of") as problem:
        load_detector(name, tmp_path)
    assert "\n" not in str(problem.value)


def test_auto_is_the_ssd_where_its_weights_are(tmp_path: Path) -> None:
    messages: list[str] = []
    assert resolve("auto", tmp_path, messages.append) == "builtin"
    assert messages == ["face detector: the built-in one"]
    (tmp_path / WEIGHTS_NAME).touch()
    assert resolve("auto", tmp_path, messages.append) == "ssd"
    assert messages[1:] == ["face detector: the SSD; --detector builtin finds more faces"]
    assert resolve("builtin", tmp_path, messages.append) == "builtin"
    assert len(messages) == 2


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    assert resolve("auto", tmp_path / "typo", lambda line: None) == "ssd"
    with pytest.raises(FacemaskError, match="typo"):
        load_detector("ssd", tmp_path / "typo")


def test_weights_are_fetched_into_the_projects_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []
    monkeypatch.setattr(
        fetch,
        "ensure_face_detector",
        lambda folder, announce, resource=fetch.FACE_DETECTOR: fetched.append(resource.command),
    )
    monkeypatch.setattr(registry, "PROJECT", tmp_path)
    own = tmp_path / "face_detector"
    own.mkdir()
    for name in DETECTORS:
        ensure_weights(name, own, lambda line: None)
        ensure_weights(name, tmp_path, lambda line: None)
    assert fetched == ["face-detector", "yunet"]


def test_an_example_is_labelled_without_any_download(run_script, tmp_path: Path) -> None:
    done = run_script(
        "detect_mask_image.py", "--image", PROJECT / "examples" / "example_03.png",
        "--face", tmp_path, "--output", tmp_path / "out.png", "--no-display",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "[INFO] face detector: the built-in one\n" in done.stdout
    assert "No Mask: " in done.stdout
    assert (tmp_path / "out.png").is_file()


@pytest.mark.assets
@pytest.mark.parametrize("name", DETECTORS[1:])
def test_the_script_takes_each_detector_and_tiles(
    run_script, assets: Path, tmp_path: Path, name: str
) -> None:
    done = run_script(
        "detect_mask_image.py", "--image", PROJECT / "examples" / "example_03.png", "--tiles", "2",
        "--detector", name, "--face", assets / "face_detector", "--json", tmp_path / "found.json",
        "--no-display",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (record,) = json.loads((tmp_path / "found.json").read_text())
    # Tiles show badges and buttons so large that a detector may take one for a face.
    faces = [face for face in record["faces"] if face["box"][2] - face["box"][0] > 50]
    labels = [face["label"] for face in sorted(faces, key=lambda face: face["box"])]
    assert labels == ["without_mask", "with_mask"]
