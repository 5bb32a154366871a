"""Loading of photographs: frames of videos, pseudo-labels, and the split."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facemask.data.scenes import AnnotatedFace, Scene
from facemask.data.splits import GROUPED, read_split, write_parts
from facemask.errors import FacemaskError
from facemask.files import file_digest
from facemask.geometry import FaceBox
from facemask.images import read_image
from facemask.train_face_detector import loading
from facemask.train_face_detector.label_store import LabelStore, find_labels
from facemask.train_face_detector.loading import (
    Sources,
    extended_split,
    images_digest,
    load_images,
)
from facemask.train_face_detector.pseudo_labels import (
    MEASURED_FACES,
    Annotator,
    Labels,
    balanced,
    measure_conventions,
    sampled_frames,
)
from facemask.train_face_detector.samples import AnnotatedImage


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
        self.faces, self.calls = faces, 0

    def detect_landmarks(
        self, image: np.ndarray, confidence: float
    ) -> list[tuple[FaceBox, np.ndarray]]:
        self.calls += 1
        landmarks = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
        return [
            (face, landmarks * (face.width, face.height) + (face.x1, face.y1))
            for face in self.faces
            if face.confidence > confidence
        ]


def labels_of(*faces: FaceBox) -> Labels:
    """What a store with this YuNet gives, without a disk."""
    yunet: Any = FakeYuNet(*faces)
    return lambda path, portrait: find_labels(yunet, read_image(path), portrait)


def scene(folder: Path, label: str, *boxes: tuple[int, int, int, int]) -> Scene:
    path = folder / "scene.png"
    cv2.imwrite(str(path), np.zeros((800, 1600, 3), np.uint8))
    faces = tuple(AnnotatedFace(FaceBox(*box, 1.0), label) for box in boxes)
    return Scene(path, 1600, 800, faces)


def test_labels_are_computed_once_for_each_content(tmp_path: Path) -> None:
    path = scene(tmp_path, "with_mask").path
    yunet: Any = FakeYuNet(FaceBox(100, 100, 150, 160, 0.9))
    first = LabelStore(tmp_path / "labels", yunet).labels(path, False)
    copy = path.rename(tmp_path / "another name.png")
    again = LabelStore(tmp_path / "labels", yunet).labels(copy, False)
    assert yunet.calls == 1
    for label in first + again:
        assert label.box.tolist() == [100, 100, 150, 160]
        assert label.confidence == pytest.approx(0.9)
        assert label.landmarks[0].tolist() == [115, 124]
    LabelStore(tmp_path / "labels", yunet).labels(copy, True)  # with a border, and so other labels
    assert yunet.calls == 2
    for stored in (tmp_path / "labels").iterdir():
        stored.write_text("[{}]")
    with pytest.raises(FacemaskError, match=r"json: expected the faces of a photograph"):
        LabelStore(tmp_path / "labels", yunet).labels(copy, True)


def test_a_store_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("")
    with pytest.raises(FacemaskError, match="labels: can't be made"):
        LabelStore(tmp_path / "labels", FakeYuNet())  # pyright: ignore[reportArgumentType]


def test_boxes_are_brought_to_the_mean_convention(tmp_path: Path) -> None:
    """YuNet's box has a side of 100; in one folder boxes are higher by 20, in the other wider."""
    labels = labels_of(*(FaceBox(x, 100, x + 100, 200, 0.9) for x in range(0, 1600, 200)))
    high = [(x, 80, x + 100, 200) for x in range(0, 1600, 200)]
    wide = [(x, 100, x + 110, 200) for x in range(0, 1600, 200)]
    many = MEASURED_FACES // len(high) + 1
    scenes = [(scene(tmp_path, "with_mask", *high), "first")] * many
    scenes += [(scene(tmp_path, "with_mask", *wide), "second")] * many
    scenes += [(scene(tmp_path, "without_mask", *wide), "rare")]
    conventions = measure_conventions(scenes, labels)
    assert conventions.keys() == {("first", False), ("second", False)}
    assert conventions["first", False].tolist() == pytest.approx([0, -0.2, 0, 0])
    assert conventions["second", False].tolist() == pytest.approx([0, 0, 0.1, 0])
    annotator = Annotator(labels, conventions, {"first"})
    image = annotator.scene(*scenes[0], detected=False)
    assert image.faces.tolist() == [list(box) for box in high]
    assert image.labels == ("with_mask",) * len(high)
    converted = annotator.scene(*scenes[many], detected=False).faces
    # The change is a ratio of the annotated sides, 110 and 100.
    assert converted[0].tolist() == pytest.approx([0, 80, 99, 200])
    mean = Annotator(labels, conventions, {"first", "second"})
    portrait = mean.pseudo_labelled(scenes[0][0].path, False, "with_mask")
    assert portrait
    assert portrait.faces[1].tolist() == pytest.approx([200, 90, 305, 200])


def test_what_only_one_sees_is_ignored(tmp_path: Path) -> None:
    """YuNet's other face, and a detector's box that YuNet does not have; not YuNet's guesses."""
    both, annotated, yunet = (100, 100, 200, 200), (600, 100, 700, 200), (900, 100, 950, 150)
    labels = labels_of(
        FaceBox(*both, 0.9), FaceBox(*yunet, 0.7), FaceBox(1200, 100, 1250, 150, 0.45)
    )
    street = scene(tmp_path, "with_mask", both, annotated)
    annotator = Annotator(labels, {}, {"street"})
    image = annotator.scene(street, "street", detected=False)
    assert image.faces.tolist() == [list(both), list(annotated)]
    assert image.ignore_boxes.tolist() == [list(yunet)]
    image = annotator.scene(street, "web", detected=True)
    assert image.faces.tolist() == [list(both)]
    assert image.ignore_boxes.tolist() == [list(yunet), list(annotated)]


def test_a_portrait_without_a_confident_face_is_left_out(tmp_path: Path) -> None:
    path = scene(tmp_path, "with_mask").path
    unsure, sure = FaceBox(500, 500, 600, 600, 0.7), FaceBox(700, 400, 900, 900, 0.9)
    annotator = Annotator(labels_of(unsure), {}, {"street"})
    assert annotator.pseudo_labelled(path, True, "with_mask") is None
    annotator = Annotator(labels_of(unsure, sure), {}, {"street"})
    image = annotator.pseudo_labelled(path, True, "with_mask")
    assert image
    assert image.portrait
    # Without the border of 480 pixels, and inside the photograph.
    assert image.faces.tolist() == [[220, 0, 420, 420]]
    assert image.ignore_boxes.tolist() == [[20, 20, 120, 120]]
    assert image.labels == ("with_mask",)


def test_masks_are_drawn_on_the_faces_that_yunet_is_sure_of(tmp_path: Path) -> None:
    sure, unsure = (100, 100, 200, 220), (600, 100, 700, 220)
    street = scene(tmp_path, "without_mask", sure, unsure)
    annotator = Annotator(labels_of(FaceBox(*sure, 0.9), FaceBox(*unsure, 0.6)), {}, {"street"})
    image = annotator.scene(street, "street", detected=False)
    rng = np.random.default_rng(0)
    masked = annotator.with_masks(image, tmp_path / "copy.png", rng)
    assert masked
    assert masked.labels == ("with_mask", "without_mask")
    pixels = read_image(tmp_path / "copy.png")
    assert pixels[190, 150].any()
    assert pixels[100:220, 600:700].max() == 0
    nobody = Annotator(labels_of(), {}, {"street"})
    assert nobody.with_masks(image, tmp_path / "none.png", rng) is None
    assert not (tmp_path / "none.png").exists()


def test_rare_kinds_and_crowds_weigh_more() -> None:
    def image(*labels: str, width: int = 40) -> AnnotatedImage:
        boxes = np.array([[0, 0, width, width]] * len(labels), np.float32).reshape(-1, 4)
        return AnnotatedImage(Path("x"), boxes, boxes[:0], portrait=False, labels=labels)

    common = [image("with_mask")] * 16
    images = [*common, image("without_mask"), image(*["with_mask"] * 4), image()]
    weights = [image.weight for image in balanced(images)]
    assert weights[0] < weights[-2] < weights[-3]
    assert weights[-1] == 0.5
    assert weights[-2] == pytest.approx(2 * weights[0])  # four faces


def write_scene(folder: Path, name: str, rng: np.random.Generator) -> str:
    """A picture of noise with an annotated face; its digest."""
    cv2.imwrite(str(folder / f"{name}.png"), rng.integers(0, 256, (64, 64, 3), np.uint8))
    box = "<xmin>10</xmin><ymin>10</ymin><xmax>30</xmax><ymax>30</ymax>"
    face = f"<object><name>with_mask</name><bndbox>{box}</bndbox></object>"
    (folder / f"{name}.xml").write_text(f"<annotation>{face}</annotation>")
    return file_digest(folder / f"{name}.png")


def test_images_are_loaded_by_the_split(tmp_path: Path) -> None:
    """Validation and test images have annotated faces alone; training images, pseudo-labels too."""
    street, people = tmp_path / "street", tmp_path / "people"
    (people / "with_mask").mkdir(parents=True)
    street.mkdir()
    rng = np.random.default_rng(0)
    split = {write_scene(street, name, rng): name for name in ("train", "validation", "test")}
    for name in ("train", "test"):
        path = people / "with_mask" / f"{name}.png"
        cv2.imwrite(str(path), rng.integers(0, 256, (64, 64, 3), np.uint8))
        split[file_digest(path)] = name
    lines: list[str] = []
    loaded = load_images(
        Sources([street], portraits=[people]),
        split_of=split,
        # In the image that is enlarged to twice its size, and outside of the portrait's border.
        labels=labels_of(FaceBox(80, 80, 120, 120, 0.9)),
        folder=tmp_path,
        seed=1,
        progress=lambda items, total=0: items,
        log=lines.append,
    )
    assert lines[-1] == "images: 2 for train, 1 for validation, 1 for test"
    images = loaded.images
    names = {part: [image.path.stem for image in members] for part, members in images.items()}
    assert names == {"train": ["train", "train"], "validation": ["validation"], "test": ["test"]}
    assert [path.stem for path in loaded.portraits["people"]] == ["test"]
    assert loaded.split == split
    scene, portrait = images["train"]
    assert scene.ignore_boxes.tolist() == [[40, 40, 60, 60]]
    assert portrait.portrait
    assert portrait.faces.tolist() == [[21, 21, 41, 41]]
    assert images["test"][0].ignore_boxes.tolist() == []
    assert images["test"][0].source == "street"
    digest = images_digest(images)
    moved = [replace(scene, faces=scene.faces + 1), portrait]
    assert images_digest({**images, "train": moved}) != digest


def test_a_copy_of_a_known_photograph_goes_where_that_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = {Path(name): name for name in "abcdefghijkl"}
    groups = np.array([0, 0, 1, 1, 2, 2, 2, 3, 4, 5, 6, 6])
    monkeypatch.setattr(loading, "near_duplicate_groups", lambda *_: groups)
    known = {"a": "test", "c": "validation", "e": "train", "f": "test"}
    parts = extended_split(digests, known, 1, lambda items, total=0: items)
    assert parts.keys() == set("abcdefghijkl")
    assert {name: parts[name] for name in known} == known
    assert (parts["b"], parts["d"], parts["g"]) == ("test", "validation", "train")
    assert parts["k"] == parts["l"]
    assert {"train", "validation", "test"} == {parts[name] for name in "hijk"}
    path = tmp_path / "x.split.json"
    write_parts(path, parts, GROUPED, 1)
    assert read_split(path) == parts
    monkeypatch.setattr(loading, "near_duplicate_groups", None)  # all are known: no search
    assert extended_split(digests, parts, 2, lambda items, total=0: items) == parts
