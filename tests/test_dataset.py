from pathlib import Path

import cv2
import numpy as np
import pytest

from facemask.dataset import batches, load_labelled_images, split_images
from facemask.errors import FacemaskError


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


def test_the_sub_folders_are_the_classes(folder: Path) -> None:
    (folder / ".hidden").mkdir()
    (folder / "README.md").write_text("")
    images = load_labelled_images(folder)
    assert images.class_names == ("with_mask", "without_mask")
    assert images.labels.tolist() == [0] * 20 + [1] * 10
    assert images.paths[20].relative_to(folder) == Path("without_mask/000.png")
    assert images.skipped == ()


def test_more_than_two_classes(folder: Path) -> None:
    write_class(folder / "mask_weared_incorrect", 3, 90)
    images = load_labelled_images(folder)
    assert images.class_names == ("mask_weared_incorrect", "with_mask", "without_mask")
    assert np.bincount(images.labels).tolist() == [3, 20, 10]


def test_files_that_are_no_images_are_skipped_and_named(folder: Path) -> None:
    (folder / "with_mask" / "empty.jpg").write_bytes(b"")
    (folder / "without_mask" / "notes.txt").write_text("not an image")
    cut = (folder / "with_mask" / "000.png").read_bytes()[:-30]
    (folder / "without_mask" / "cut.png").write_bytes(cut)
    images = load_labelled_images(folder)
    assert len(images.paths) == 30
    assert len(images.skipped) == 3
    assert "empty.jpg: expected an image, found an empty file" in images.skipped[0]
    assert "cut.png" in images.skipped[1]
    assert "notes.txt: not an image" in images.skipped[2]


def test_the_digest_tells_data_sets_apart(folder: Path) -> None:
    before = load_labelled_images(folder).digest
    assert load_labelled_images(folder).digest == before
    (folder / "with_mask" / "000.png").rename(folder / "with_mask" / "renamed.png")
    assert load_labelled_images(folder).digest != before


def test_a_data_set_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FacemaskError, match="nowhere: no such folder"):
        load_labelled_images(tmp_path / "nowhere")
    with pytest.raises(FacemaskError, match="two or more classes, found none"):
        load_labelled_images(tmp_path)
    write_class(tmp_path / "with_mask", 2, 200)
    with pytest.raises(FacemaskError, match="two or more classes, found only with_mask"):
        load_labelled_images(tmp_path)
    (tmp_path / "without_mask").mkdir()
    with pytest.raises(FacemaskError, match="without_mask: expected images of the class"):
        load_labelled_images(tmp_path)


def test_the_parts_of_a_split_share_no_image_and_keep_the_classes_proportions(folder: Path) -> None:
    images = load_labelled_images(folder)
    split = split_images(images, test_size=0.2, validation_size=0.25, seed=1)
    parts = (split.train, split.validation, split.test)
    assert [len(part) for part in parts] == [18, 6, 6]
    assert sorted(np.concatenate(parts).tolist()) == list(range(30))
    assert [np.bincount(images.labels[part]).tolist() for part in parts] == [
        [12, 6],
        [4, 2],
        [4, 2],
    ]


def test_the_same_seed_gives_the_same_split(folder: Path) -> None:
    images = load_labelled_images(folder)
    first, again, other = (split_images(images, 0.2, 0.1, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.test, again.test)
    assert np.array_equal(first.train, again.train)
    assert not np.array_equal(first.test, other.test)


@pytest.mark.parametrize(("count", "test_size"), [(1, 0.2), (2, 0.2), (10, 0.001), (10, 0.999)])
def test_too_few_images_for_the_parts_are_one_line(
    tmp_path: Path, count: int, test_size: float
) -> None:
    write_class(tmp_path / "with_mask", 20, 200)
    write_class(tmp_path / "without_mask", count, 50)
    with pytest.raises(FacemaskError, match=f"smallest class, without_mask, has {count}"):
        split_images(load_labelled_images(tmp_path), test_size, 0.1, seed=0)


def test_batches_come_in_order_as_the_model_takes_them(folder: Path) -> None:
    images = load_labelled_images(folder)
    found = [(x.numpy(), y.numpy()) for x, y in batches(images, [3, 20, 29], (4, 4), 2)]
    assert [x.shape for x, _ in found] == [(2, 4, 4, 3), (1, 4, 4, 3)]
    assert [y.tolist() for _, y in found] == [[0, 1], [1]]
    red, _, blue = found[0][0][0, 0, 0]
    assert red == pytest.approx(200 / 127.5 - 1)
    assert blue == pytest.approx(3 / 127.5 - 1)


def test_training_batches_change_from_epoch_to_epoch_and_not_from_run_to_run(folder: Path) -> None:
    images = load_labelled_images(folder)

    def two_epochs(seed: int) -> list[np.ndarray]:
        stream = batches(images, range(30), (8, 8), 30, augment_seed=seed)
        return [next(iter(stream))[1].numpy() for _ in range(2)] + [next(iter(stream))[0].numpy()]

    first, again, other = two_epochs(1), two_epochs(1), two_epochs(2)
    assert not np.array_equal(first[0], first[1])
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert np.array_equal(first[2], again[2])
    assert not np.array_equal(first[2], other[2])


def test_an_image_is_augmented_anew_in_each_epoch_and_the_same_way_again(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for name in ("with_mask", "without_mask"):
        (tmp_path / name).mkdir()
        picture = noise.integers(0, 255, (32, 32, 3), np.uint8)
        cv2.imwrite(str(tmp_path / name / "a.png"), picture)
    images = load_labelled_images(tmp_path)

    def three_epochs(augment_seed: int | None) -> list[np.ndarray]:
        stream = batches(images, [0], (32, 32), 1, augment_seed)
        return [next(iter(stream))[0].numpy() for _ in range(3)]

    plain, changed, again = three_epochs(None), three_epochs(5), three_epochs(5)
    assert np.array_equal(plain[0], plain[1])
    assert not np.array_equal(changed[0], plain[0])
    assert not np.array_equal(changed[0], changed[1])
    assert not np.array_equal(changed[1], changed[2])
    assert np.array_equal(changed, again)


def test_no_image_is_lost_by_shuffling(folder: Path) -> None:
    images = load_labelled_images(folder)
    seen = [y.numpy() for _, y in batches(images, range(30), (8, 8), 7, augment_seed=1)]
    assert np.bincount(np.concatenate(seen)).tolist() == [20, 10]
