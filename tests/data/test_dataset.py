import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from facemask.data.dataset import MAX_SIDE, balanced_weights, concatenate, load_labelled_images
from facemask.data.near_duplicates import near_duplicate_groups
from facemask.errors import FacemaskError
from facemask.geometry import FaceBox


def write_class(folder: Path, count: int, brightness: int) -> None:
    """Images of one brightness, each marked by its number in the blue channel."""
    folder.mkdir(parents=True)
    for number in range(count):
        image = np.full((8, 8, 3), brightness, np.uint8)
        image[..., 0] = number
        cv2.imwrite(str(folder / f"{number:03}.png"), image)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_class(tmp_path / "with_mask", 20, 200)
    write_class(tmp_path / "without_mask", 10, 50)
    return tmp_path


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("second") / "other"


def test_the_sub_folders_are_the_classes(folder: Path) -> None:
    (folder / ".hidden").mkdir()
    (folder / "README.md").write_text("")
    images = load_labelled_images([folder])
    assert images.class_names == ("with_mask", "without_mask")
    assert images.labels.tolist() == [0] * 20 + [1] * 10
    assert images.paths[20].relative_to(folder) == Path("without_mask/000.png")
    assert images.skipped == ()


def test_more_than_two_classes(folder: Path) -> None:
    write_class(folder / "mask_weared_incorrect", 3, 90)
    images = load_labelled_images([folder])
    assert images.class_names == ("mask_weared_incorrect", "with_mask", "without_mask")
    assert np.bincount(images.labels).tolist() == [3, 20, 10]


def test_each_photograph_is_decoded_once_and_copies_of_one_are_not(folder: Path) -> None:
    shutil.copy(folder / "with_mask" / "000.png", folder / "without_mask" / "copy.png")
    seen: list[int] = []

    def find_face(image: np.ndarray) -> FaceBox:
        seen.append(int(image[0, 0, 0]))
        return FaceBox(0, 0, 4, 4, 0.9)

    images = load_labelled_images([folder], make_finder=lambda: find_face, thumbnails=True)
    assert len(images) == 31
    assert sorted(seen) == sorted([*range(20), *range(10)])
    assert set(images.boxes) == {FaceBox(0, 0, 4, 4, 0.9)}
    assert len(images.thumbnails) == 30
    before = near_duplicate_groups(images.paths, images.digests)
    for path in images.paths:
        path.unlink()
    groups = near_duplicate_groups(images.paths, images.digests, known=images.thumbnails)
    assert groups.tolist() == before.tolist()


def test_a_picture_too_wide_for_augmented_views_is_skipped(folder: Path) -> None:
    cv2.imwrite(str(folder / "with_mask" / "wide.png"), np.zeros((1, MAX_SIDE + 1, 3), np.uint8))
    images = load_labelled_images([folder])
    (line,) = images.skipped
    assert line.endswith(
        f"wide.png: expected at most {MAX_SIDE} pixels a side, found {MAX_SIDE + 1}x1"
    )


def test_files_that_are_no_images_are_skipped_and_named(folder: Path) -> None:
    (folder / "with_mask" / "empty.jpg").write_bytes(b"")
    (folder / "without_mask" / "notes.txt").write_text("not an image")
    cut = (folder / "with_mask" / "000.png").read_bytes()[:-30]
    (folder / "without_mask" / "cut.png").write_bytes(cut)
    images = load_labelled_images([folder])
    assert len(images.paths) == 30
    assert len(images.skipped) == 3
    assert "empty.jpg: expected an image, found an empty file" in images.skipped[0]
    assert "cut.png" in images.skipped[1]
    assert "notes.txt: not an image" in images.skipped[2]


def test_the_digest_tells_data_sets_apart(folder: Path) -> None:
    before = load_labelled_images([folder]).digest
    assert load_labelled_images([folder]).digest == before
    (folder / "with_mask" / "000.png").rename(folder / "without_mask" / "000a.png")
    assert load_labelled_images([folder]).digest != before


def test_a_data_set_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FacemaskError, match="nowhere: no such folder"):
        load_labelled_images([tmp_path / "nowhere"])
    with pytest.raises(FacemaskError, match="two or more classes, found none"):
        load_labelled_images([tmp_path])
    write_class(tmp_path / "with_mask", 2, 200)
    with pytest.raises(FacemaskError, match="two or more classes, found only with_mask"):
        load_labelled_images([tmp_path])
    (tmp_path / "without_mask").mkdir()
    with pytest.raises(FacemaskError, match="without_mask: expected images of the class"):
        load_labelled_images([tmp_path])


@pytest.mark.parametrize("name", ["Mask", "with mask", "WITH_MASK"])
def test_two_sub_folders_of_one_class_are_one_line(folder: Path, name: str) -> None:
    write_class(folder / name, 3, 90)
    with pytest.raises(FacemaskError, match=r"one sub-folder for each class, found .* which mean"):
        load_labelled_images([folder])


def test_several_folders_are_one_set_of_several_sources(folder: Path, other: Path) -> None:
    write_class(other / "with_mask", 2, 100)
    write_class(other / "without_mask", 3, 100)
    first = load_labelled_images([folder])
    images = load_labelled_images([folder, other])
    assert len(images) == 35
    assert images.source_names == (folder.name, "other")
    assert images.sources.tolist() == [0] * 30 + [1] * 5
    assert images.labels[30:].tolist() == [0, 0, 1, 1, 1]
    assert images.paths[:30] == first.paths
    assert images.digest != first.digest
    assert concatenate(first, load_labelled_images([other])).digest == images.digest


def test_folders_of_different_classes_are_one_line(folder: Path, other: Path) -> None:
    write_class(other / "yes", 2, 100)
    write_class(other / "no", 3, 100)
    with pytest.raises(FacemaskError, match=r"other: expected the classes of .*; found no, yes"):
        load_labelled_images([folder, other])


def test_folders_may_spell_their_classes_differently(folder: Path, other: Path) -> None:
    write_class(other / "No Mask", 2, 100)
    write_class(other / "mask", 3, 100)
    images = load_labelled_images([folder, other])
    assert images.class_names == ("with_mask", "without_mask")
    folders = [path.parent.name for path in images.paths]
    assert set(zip(folders[30:], images.labels[30:], strict=True)) == {("No Mask", 1), ("mask", 0)}


def test_weights_make_the_classes_of_each_source_count_alike(folder: Path, other: Path) -> None:
    write_class(other / "with_mask", 1, 100)
    write_class(other / "without_mask", 4, 100)
    images = load_labelled_images([folder, other])
    weights = balanced_weights(images, np.arange(35))
    assert weights.tolist() == [0.75] * 20 + [1.5] * 10 + [2.5] + [0.625] * 4
    assert balanced_weights(images, np.arange(10, 30)).tolist() == [1.0] * 20
