"""What a training loads, and its split when an earlier one is to be repeated."""

import json
from pathlib import Path

import numpy as np
import pytest

from facemask.data.dataset import LabelledImages, load_labelled_images
from facemask.data.loading import load_images, split_images
from facemask.data.splits import PARTS, write_split
from facemask.errors import FacemaskError
from facemask.images import read_image, write_image

from .annotated import coco, write


def write_noise(folder: Path, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for name in ("with_mask", "without_mask"):
        for number in range(count):
            image = rng.integers(0, 256, (8, 8, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
            write_image(folder / name / f"{number}.png", image)


@pytest.fixture
def images(tmp_path: Path) -> LabelledImages:
    """Twelve images of each class in a folder, and eight in another."""
    write_noise(tmp_path / "old", 12, 0)
    write_noise(tmp_path / "new", 8, 1)
    return load_labelled_images([tmp_path / "old", tmp_path / "new"])


@pytest.fixture
def record(images: LabelledImages, tmp_path: Path) -> Path:
    """The split of the first folder alone."""
    old = load_labelled_images([tmp_path / "old"])
    split = split_images(old, "grouped", 0.2, 1, lambda _: None)
    write_split(tmp_path / "old.split.json", old, split, 1)
    return tmp_path / "old.split.json"


def test_images_that_a_split_file_lacks_are_split_anew_and_counted(
    images: LabelledImages, record: Path
) -> None:
    lines: list[str] = []
    split = split_images(images, str(record), 0.25, 2, lines.append)
    assert lines[0] == (
        f"{record}: 24 of 40 images stay in their parts; 16 are not in it, and are split anew"
    )
    assert lines[-1].startswith("images: ")
    names = {i: name for name in PARTS for i in getattr(split, name).tolist()}
    assert sorted(names) == list(range(40))
    recorded = json.loads(record.read_text())["parts"]
    assert all(names[i] == recorded[images.digests[i]] for i in range(24))
    assert {names[i] for i in range(24, 40)} == set(PARTS)
    write_split(record, images, split, 2)  # as a training does, beside its model
    assert len(json.loads(record.read_text())["parts"]) == 40
    lines.clear()
    again = split_images(images, str(record), 0.25, 3, lines.append)
    assert again.digest == split.digest
    assert lines[0] == f"{record}: 40 of 40 images stay in their parts"
    assert len(lines) == 2


def test_a_twin_of_a_known_test_image_goes_where_it_is(
    images: LabelledImages, record: Path, tmp_path: Path
) -> None:
    recorded = json.loads(record.read_text())["parts"]
    tests = [i for i in range(24) if recorded[images.digests[i]] == "test"]
    for i in tests:
        mirrored = np.ascontiguousarray(read_image(images.paths[i])[:, ::-1])
        name = images.paths[i].parent.name
        write_image(tmp_path / "new" / name / f"twin{i}.png", mirrored)
    both = load_labelled_images([tmp_path / "old", tmp_path / "new"])
    split = split_images(both, str(record), 0.25, 2, lambda _: None)
    twins = [i for i, path in enumerate(both.paths) if path.stem.startswith("twin")]
    assert len(twins) == len(tests) > 0
    assert set(twins) <= set(split.test.tolist())


def test_a_random_split_is_filled_up_at_random(images: LabelledImages, record: Path) -> None:
    lines: list[str] = []
    record.write_text(record.read_text().replace("grouped", "random"))
    split = split_images(images, str(record), 0.25, 2, lines.append)
    assert split.method == "random"
    assert "near-duplicates" not in "".join(lines)


def test_a_split_of_none_of_the_images_is_refused(images: LabelledImages, tmp_path: Path) -> None:
    path = tmp_path / "m.split.json"
    path.write_text('{"parts": {"abc": "test"}}')
    with pytest.raises(FacemaskError, match="expected a split of these images, found one of 1"):
        split_images(images, str(path), 0.2, 1, lambda _: None)


def load_with_scenes(folder: Path, label: str, box: list[int]) -> LabelledImages:
    """Two portraits, and a scene of a face."""
    write_noise(folder / "portraits", 1, 0)
    write_image(folder / "scenes" / "a.png", np.zeros((60, 80, 3), np.uint8))
    categories = [{"id": 1, "name": label}]
    write(folder / "scenes" / "a.json", coco(box, categories=categories))
    folders = [str(folder / "portraits")], [str(folder / "scenes")]
    return load_images(*folders, "random", folder / "crops", None, lambda _: None)


def test_annotated_classes_may_have_another_spelling(tmp_path: Path) -> None:
    images = load_with_scenes(tmp_path, "No Mask", [10, 10, 20, 20])
    assert images.class_names == ("with_mask", "without_mask")
    assert images.labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("label", "box"), [("scarf", [10, 10, 20, 20]), ("with_mask", [10, 10, 5, 5])]
)
def test_scenes_of_which_no_face_is_used_are_refused(
    tmp_path: Path, label: str, box: list[int]
) -> None:
    """Else the model would say that it was trained on them."""
    with pytest.raises(FacemaskError, match=f"found none; its faces are of the classes {label}"):
        load_with_scenes(tmp_path, label, box)
