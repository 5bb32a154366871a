"""Copies of training images with drawn masks, on two portraits and a pretended YuNet."""

from pathlib import Path

import numpy as np

from facemask.data import drawn_copies
from facemask.data.dataset import LabelledImages
from facemask.data.drawn_copies import SOURCE, add_drawn_copies
from facemask.data.splits import Split
from facemask.geometry import FaceBox
from facemask.images import read_image, write_image

LANDMARKS = np.array([[80.0, 80], [120, 80], [100, 103], [84, 120], [116, 120]])
FACE = FaceBox(60, 50, 140, 160, 0.9)


class PretendedYuNet:
    """Finds one face, wherever it is asked to look."""

    def __init__(self, landmarks: np.ndarray = LANDMARKS):
        self.landmarks = landmarks

    def detect_landmarks(self, image: np.ndarray) -> list[tuple[FaceBox, np.ndarray]]:
        return [(FACE, self.landmarks)]


def portraits(folder: Path, *labels: int, box: FaceBox | None = FACE) -> LabelledImages:
    paths = []
    for number in range(len(labels)):
        paths.append(folder / f"{number}.png")
        write_image(paths[-1], np.full((200, 200, 3), 100 + number, np.uint8))
    return LabelledImages(
        paths=tuple(paths),
        boxes=(box,) * len(labels),
        labels=np.array(labels),
        sources=np.zeros(len(labels), np.int64),
        originals=tuple(paths),
        digests=tuple(f"digest {number}" for number in range(len(labels))),
        class_names=("with_mask", "without_mask", "mask_weared_incorrect"),
        source_names=("portraits",),
    )


def add(images: LabelledImages, train: list[int], folder: Path, yunet: PretendedYuNet):
    rest = np.setdiff1d(np.arange(len(images)), train)
    split = Split(np.array(train), rest[:1], rest[1:])
    return add_drawn_copies(images, split, lambda: yunet, folder / "drawn", seed=1)  # pyright: ignore[reportArgumentType]


def test_bare_faces_of_the_training_part_get_copies(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(drawn_copies, "COPIED", 1.0)
    images = portraits(tmp_path, *[1] * 40, 0, 1, 1)
    drawn, split = add(images, list(range(41)), tmp_path, PretendedYuNet())
    copies = range(len(images), len(drawn))
    assert len(copies) == 40  # of the bare ones: not of the masked one, nor of other parts
    assert split.train.tolist() == [*range(41), *copies]
    assert split.validation.tolist() == [41]
    assert drawn.source_names == ("portraits", SOURCE)
    assert {drawn.source_names[drawn.sources[index]] for index in copies} == {SOURCE}
    assert [drawn.digests[index] for index in copies] == list(images.digests[:40])
    classes = [drawn.class_names[drawn.labels[index]] for index in copies]
    assert classes.count("mask_weared_incorrect") > classes.count("with_mask") > 0
    assert "without_mask" not in classes
    for index in copies:
        assert (read_image(drawn.paths[index]) != read_image(drawn.originals[index])).any()
    again, _ = add(images, list(range(41)), tmp_path, PretendedYuNet())
    assert np.array_equal(again.labels, drawn.labels)


def test_faces_that_yunet_does_not_find_get_none(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(drawn_copies, "COPIED", 1.0)
    elsewhere = portraits(tmp_path, 1, 1, box=FaceBox(0, 0, 40, 40, 0.9))
    assert add(elsewhere, [0, 1], tmp_path, PretendedYuNet())[0] is elsewhere
    small = PretendedYuNet(LANDMARKS / 10)
    images = portraits(tmp_path, 1, 1)
    assert add(images, [0, 1], tmp_path, small)[0] is images


def test_without_the_third_class_all_masks_are_worn_properly(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(drawn_copies, "COPIED", 1.0)
    images = portraits(tmp_path, *[1] * 10)
    two = LabelledImages(**{**vars(images), "class_names": ("with_mask", "without_mask")})
    drawn, _ = add(two, list(range(10)), tmp_path, PretendedYuNet())
    assert drawn.labels[10:].tolist() == [0] * 10
