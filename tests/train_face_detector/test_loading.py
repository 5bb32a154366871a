"""Loading of photographs: frames of videos, pseudo-labels, and the split."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from facemask.data.scenes import AnnotatedFace, Scene
from facemask.errors import FacemaskError
from facemask.files import file_digest
from facemask.geometry import FaceBox
from facemask.sample_dataset.mask import points_on_face
from facemask.train_face_detector.loading import images_digest, load_images
from facemask.train_face_detector.pseudo_labels import PseudoLabeler, sampled_frames


def write_video(path: Path) -> None:
    """Two seconds of 10 frames each, grey on the left and white on the right, ever darker."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (64, 32))
    for number in range(20):
        frame = np.full((32, 64, 3), 250 - 10 * number, np.uint8)
        frame[:, :32] //= 2
        writer.write(frame)
    writer.release()


def test_two_frames_of_each_second_are_sampled(tmp_path: Path) -> None:
    write_video(tmp_path / "a:b.mp4")
    frames = list(sampled_frames(tmp_path / "a:b.mp4"))
    assert [frame.shape for frame in frames] == [(32, 64, 3)] * 4
    assert [frame[16, 48, 0] for frame in frames] == pytest.approx([250, 200, 150, 100], abs=8)


def test_frames_are_upright(tmp_path: Path) -> None:
    path = tmp_path / "phone.mp4"
    write_video(path)
    one = 0x10000
    upright = np.array([one, 0, 0, 0, one, 0, 0, 0, 0x4000_0000], ">u4").tobytes()
    turned = np.array([0, one, 0, -one % 2**32, 0, 0, 0, 0, 0x4000_0000], ">u4").tobytes()
    content = path.read_bytes()
    track = content.index(upright, content.index(b"tkhd"))
    path.write_bytes(content[:track] + turned + content[track + len(upright) :])
    capture = cv2.VideoCapture(str(path))
    expected = capture.read()[1]
    frame = next(sampled_frames(path))
    assert frame.shape == expected.shape == (64, 32, 3)
    assert np.abs(frame.astype(int) - expected).mean() < 2


@pytest.mark.parametrize("content", [None, b"", b"no video"])
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FacemaskError, match=r"x\.mp4: expected a video") as refusal:
        list(sampled_frames(path))
    assert "\n" not in str(refusal.value)


class FakeYuNet:
    """Finds the faces it was made with; boxes are in pixels of the image it is given."""

    def __init__(self, *faces: FaceBox):
        self.faces = faces

    def detect_landmarks(
        self, image: np.ndarray, confidence: float
    ) -> list[tuple[FaceBox, np.ndarray]]:
        return [(face, np.zeros((5, 2))) for face in self.faces if face.confidence > confidence]


def scene(folder: Path, label: str, *boxes: tuple[int, int, int, int]) -> Scene:
    path = folder / "scene.png"
    cv2.imwrite(str(path), np.zeros((800, 1600, 3), np.uint8))
    faces = tuple(AnnotatedFace(FaceBox(*box, 1.0), label) for box in boxes)
    return Scene(path, 1600, 800, faces)


def test_boxes_are_brought_to_the_shape_of_the_annotated_ones(tmp_path: Path) -> None:
    annotated = scene(tmp_path, "with_mask", (100, 90, 200, 210))
    found = FaceBox(100, 100, 200, 200, 0.9), FaceBox(600, 600, 700, 800, 0.5)
    labeler = PseudoLabeler(FakeYuNet(*found))  # pyright: ignore[reportArgumentType]
    labeler.fit_offsets([annotated])
    image = labeler.scene(annotated)
    assert image.faces.tolist() == [[100, 90, 200, 210]]
    assert image.ignore_boxes.tolist() == [[600, 580, 700, 820]]
    assert image.repeat == 1
    assert labeler.scene(scene(tmp_path, "without_mask", (1, 1, 9, 9))).repeat == 2


def test_a_portrait_without_a_confident_face_is_left_out(tmp_path: Path) -> None:
    path = scene(tmp_path, "with_mask").path
    unsure, sure = FaceBox(500, 500, 600, 600, 0.7), FaceBox(700, 700, 900, 900, 0.9)
    labeler = PseudoLabeler(FakeYuNet(unsure))  # pyright: ignore[reportArgumentType]
    assert labeler.portrait(path) is None
    labeler = PseudoLabeler(FakeYuNet(unsure, sure))  # pyright: ignore[reportArgumentType]
    image = labeler.portrait(path)
    assert image
    assert image.portrait
    assert image.faces.tolist() == [[220, 220, 420, 420]]  # without the padding of 480 pixels
    assert image.ignore_boxes.tolist() == [[20, 20, 120, 120]]


def test_points_for_a_mask_follow_the_face() -> None:
    points = points_on_face(np.array([[40, 40], [80, 40], [60, 60], [45, 80], [75, 80]]))
    assert points.nose == pytest.approx((60, 50))
    assert points.chin == pytest.approx((60, 110))
    (left, upper), (right, same) = points.cheeks
    assert left + right == pytest.approx(120)
    assert left < 40 < 80 < right
    assert upper == same
    assert 40 < upper < 60
    turned = points_on_face(np.array([[80, 40], [80, 80], [60, 60], [40, 45], [40, 75]]))
    assert turned.chin == pytest.approx((10, 60))


def test_images_are_loaded_by_the_split(tmp_path: Path) -> None:
    """Validation and test images have annotated faces alone; training images, pseudo-labels too."""
    folder = tmp_path / "street"
    folder.mkdir()
    rng = np.random.default_rng(0)
    parts = {}
    for name in ("train", "validation", "test", "unknown"):
        cv2.imwrite(str(folder / f"{name}.png"), rng.integers(0, 256, (64, 64, 3), np.uint8))
        box = "<xmin>10</xmin><ymin>10</ymin><xmax>30</xmax><ymax>30</ymax>"
        face = f"<object><name>with_mask</name><bndbox>{box}</bndbox></object>"
        (folder / f"{name}.xml").write_text(f"<annotation>{face}</annotation>")
        parts[file_digest(folder / f"{name}.png")] = name
    split = tmp_path / "x.split.json"
    split.write_text(json.dumps({"parts": {k: v for k, v in parts.items() if v != "unknown"}}))
    other = FaceBox(80, 80, 120, 120, 0.9)  # in the image that is enlarged to twice its size
    lines: list[str] = []
    images = load_images(
        [folder], [], [],
        split=split,
        labeler=PseudoLabeler(FakeYuNet(other)),  # pyright: ignore[reportArgumentType]
        folder=tmp_path,
        seed=1,
        progress=lambda items, total=0: items,
        log=lines.append,
    )  # fmt: skip
    assert lines[0].startswith("images: 1 for train, 1 for validation, 1 for test; 1 scenes")
    assert {name: [image.path.stem for image in members] for name, members in images.items()} == {
        name: [name] for name in ("train", "validation", "test")
    }
    assert images["train"][0].ignore_boxes.tolist() == [[40, 40, 60, 60]]
    assert images["test"][0].ignore_boxes.tolist() == []
    assert images["test"][0].source == "street"
    digest = images_digest(images)
    moved = [replace(images["train"][0], faces=images["train"][0].faces + 1)]
    assert images_digest({**images, "train": moved}) != digest
