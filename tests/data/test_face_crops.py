from pathlib import Path

import numpy as np
import pytest

from facemask.data.dataset import load_labelled_images
from facemask.data.face_crops import cut_faces, face_finder, only_face
from facemask.data.scenes import AnnotatedFace, Scene, Scenes
from facemask.geometry import FaceBox
from facemask.images import crop_face, read_image, resize, write_image

from ..conftest import FakeDetector
from ..data.test_dataset import write_class

CLASSES = ("with_mask", "without_mask")


def test_a_portrait_has_one_face() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    faces = (FaceBox(0, 0, 4, 4, 0.9), FaceBox(4, 4, 8, 8, 0.6))
    assert only_face(image, FakeDetector()) is None
    assert only_face(image, FakeDetector(faces[0])) == faces[0]
    assert only_face(image, FakeDetector(*faces)) is None
    assert only_face(image, FakeDetector(*faces), confidence=0.7) == faces[0]


class BrightnessDetector(FakeDetector):
    """Finds a face in bright images only."""

    def detect(self, image: np.ndarray, confidence: float = 0.5) -> list[FaceBox]:
        return super().detect(image, confidence) if image.mean() > 100 else []


def test_each_image_gets_its_own_face(tmp_path: Path) -> None:
    write_class(tmp_path / "with_mask", 3, 200)
    write_class(tmp_path / "without_mask", 2, 50)
    face = FaceBox(1, 2, 5, 6, 0.9)
    finder = face_finder(lambda: BrightnessDetector(face))
    images = load_labelled_images([tmp_path], make_finder=finder)
    assert images.boxes == (face,) * 3 + (None,) * 2


@pytest.fixture
def scenes(tmp_path: Path) -> Scenes:
    """A scene of 200x100 pixels with four faces, and one that is gone."""
    image = np.random.default_rng(0).integers(0, 255, (100, 200, 3), np.uint8)
    write_image(tmp_path / "street.png", image)
    faces = (
        AnnotatedFace(FaceBox(20, 30, 40, 60, 1.0), "without_mask"),
        AnnotatedFace(FaceBox(180, 0, 200, 20, 1.0), "with_mask"),
        AnnotatedFace(FaceBox(60, 30, 80, 60, 1.0), "mask_weared_incorrect"),
        AnnotatedFace(FaceBox(100, 30, 111, 41, 1.0), "with_mask"),
    )
    found = Scene(tmp_path / "street.png", 200, 100, faces)
    gone = Scene(tmp_path / "gone.png", 200, 100, faces)
    return Scenes(tmp_path, (found, gone), ("one.xml: broken",))


def test_annotated_faces_are_cut_out_with_their_surroundings(
    scenes: Scenes, tmp_path: Path
) -> None:
    cuts = cut_faces(scenes, CLASSES, None, tmp_path / "cuts")
    assert cuts.labels.tolist() == [1, 0]
    assert cuts.originals == (tmp_path / "street.png",) * 2
    assert len(set(cuts.digests)) == 1
    image = read_image(tmp_path / "street.png")
    for index, face in enumerate(scenes.scenes[0].faces[:2]):
        cut, box = read_image(cuts.paths[index]), cuts.boxes[index]
        assert box is not None
        assert np.array_equal(crop_face(cut, box), crop_face(image, face.box))
        assert np.array_equal(crop_face(cut, box, 0.5), crop_face(image, face.box, 0.5))
    assert read_image(cuts.paths[0]).shape == (90, 60, 3)
    name = tmp_path.name
    assert cuts.skipped == (
        "one.xml: broken",
        f"{tmp_path / 'gone.png'}: no such image",
        f"{name}: 1 face of the class mask_weared_incorrect, which is not among the classes",
        f"{name}: 1 face less than 12 pixels wide",
    )


def test_every_other_face_has_the_box_of_the_detector(scenes: Scenes, tmp_path: Path) -> None:
    first, second = FaceBox(22, 32, 42, 62, 0.8), FaceBox(182, 2, 199, 20, 0.9)
    cuts = cut_faces(scenes, CLASSES, lambda: FakeDetector(second, first), tmp_path / "cuts")
    assert cuts.labels.tolist() == [1, 0]
    image = read_image(tmp_path / "street.png")
    expected = scenes.scenes[0].faces[0].box, second
    for path, box, where in zip(cuts.paths, cuts.boxes, expected, strict=True):
        assert box is not None
        assert box.confidence == where.confidence
        assert np.array_equal(crop_face(read_image(path), box), crop_face(image, where))


def test_large_faces_are_made_smaller(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (900, 1000, 3), np.uint8)
    write_image(tmp_path / "near.png", image)
    face = AnnotatedFace(FaceBox(300, 200, 748, 760, 1.0), "with_mask")
    scene = Scene(tmp_path / "near.png", 1000, 900, (face,))
    cuts = cut_faces(Scenes(tmp_path, (scene,), ()), CLASSES, None, tmp_path / "cuts")
    assert read_image(cuts.paths[0]).shape == (450, 500, 3)
    assert cuts.boxes[0] == FaceBox(150, 100, 374, 380, 1.0)
    halved = resize(image, (450, 500))
    assert np.array_equal(read_image(cuts.paths[0]), halved)
