from pathlib import Path

import cv2
import numpy as np
import pytest

from facemask.data.batches import ImageCache, batches, image_reader, inputs_of, read_uncached
from facemask.data.dataset import LabelledImages, load_labelled_images
from facemask.errors import FacemaskError
from facemask.geometry import FaceBox
from facemask.images import read_image

from ..data.test_dataset import write_class


@pytest.fixture
def images(tmp_path: Path) -> LabelledImages:
    write_class(tmp_path / "with_mask", 20, 200)
    write_class(tmp_path / "without_mask", 10, 50)
    return load_labelled_images([tmp_path])


@pytest.fixture
def noise(tmp_path: Path) -> LabelledImages:
    """Two images, on which each change is visible."""
    rng = np.random.default_rng(0)
    for name in ("with_mask", "without_mask"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), rng.integers(0, 255, (32, 32, 3), np.uint8))
    return load_labelled_images([tmp_path])


ALL = np.arange(30)


def test_batches_come_in_order_as_the_model_takes_them(images: LabelledImages) -> None:
    stream = batches(images, np.array([3, 20, 29]), (4, 4), 2)
    first, second = (stream[number] for number in range(len(stream)))
    assert [first[0].shape, second[0].shape] == [(2, 4, 4, 3), (1, 4, 4, 3)]
    assert [first[1].tolist(), second[1].tolist()] == [[0, 1], [1]]
    assert [image.shape for image in inputs_of(stream)] == [(4, 4, 3)] * 3
    red, _, blue = first[0][0, 0, 0]
    assert red == pytest.approx(200 / 127.5 - 1)
    assert blue == pytest.approx(3 / 127.5 - 1)


def test_a_face_is_cropped_with_its_margin(noise: LabelledImages) -> None:
    boxed = noise.with_boxes([FaceBox(8, 8, 16, 24, 1.0), None])
    pixels = read_image(noise.paths[0])[..., ::-1].astype(np.float32) / 127.5 - 1
    exact, _ = batches(boxed, np.array([0]), (16, 8), 1)[0]
    assert np.allclose(exact[0], pixels[8:24, 8:16])
    grown, _ = batches(boxed, np.array([0]), (24, 12), 1, margin=0.25)[0]
    assert np.allclose(grown[0], pixels[4:28, 6:18])
    whole, _ = batches(boxed, np.array([1]), (32, 32), 1, margin=0.25)[0]
    assert whole.shape == (1, 32, 32, 3)


def test_weights_come_with_their_images(images: LabelledImages) -> None:
    weights = images.labels + np.arange(30) / 100
    stream = batches(images, ALL, (4, 4), 8, augmentation="face", weights=weights)
    for number in range(4):
        _, labels, given = stream[number]
        assert (given.astype(int) == labels).all()
    seen = np.concatenate([stream[number][2] for number in range(4)])
    assert sorted(seen.tolist()) == pytest.approx(sorted(weights.tolist()))


def test_no_image_is_lost_by_shuffling(images: LabelledImages) -> None:
    stream = batches(images, ALL, (8, 8), 7, augmentation="classic")
    seen = np.concatenate([stream[number][1] for number in range(len(stream))])
    assert np.bincount(seen).tolist() == [20, 10]


@pytest.mark.parametrize("augmentation", ["classic", "face"])
def test_augmentation_differs_in_each_epoch_and_repeats_for_the_seed(
    noise: LabelledImages, augmentation: str
) -> None:
    def three_epochs(seed: int) -> list[np.ndarray]:
        stream = batches(noise, np.array([0]), (32, 32), 1, augmentation=augmentation, seed=seed)
        epochs = []
        for _ in range(3):
            epochs.append(stream[0][0])
            stream.on_epoch_end()
        return epochs

    plain, _ = batches(noise, np.array([0]), (32, 32), 1)[0]
    changed, again, other = three_epochs(5), three_epochs(5), three_epochs(6)
    assert np.array_equal(changed, again)
    assert not np.array_equal(changed[0], plain)
    assert not np.array_equal(changed[0], changed[1])
    assert not np.array_equal(changed[1], changed[2])
    assert not np.array_equal(changed[0], other[0])


def test_the_order_changes_from_epoch_to_epoch_and_not_from_run_to_run(
    images: LabelledImages,
) -> None:
    def two_epochs(seed: int) -> list[list[int]]:
        stream = batches(images, ALL, (8, 8), 30, augmentation="face", seed=seed)
        first = stream[0][1].tolist()
        stream.on_epoch_end()
        return [first, stream[0][1].tolist()]

    assert two_epochs(1) == two_epochs(1)
    assert two_epochs(1)[0] != two_epochs(1)[1]
    assert two_epochs(1) != two_epochs(2)


def test_a_photograph_of_a_face_is_sometimes_shown_whole(
    noise: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxed = noise.with_boxes([FaceBox(0, 0, 8, 8, 1.0), FaceBox(0, 0, 8, 8, 1.0)])
    shown: list[int] = []

    def note(region, size, rng):
        shown.append(region.sides[0])
        return region.pixels

    monkeypatch.setattr("facemask.data.batches.augment_face", note)
    stream = batches(boxed, np.zeros(200, int), (32, 32), 200, margin=0.1, augmentation="face")
    stream[0]
    assert 30 < shown.count(32) < 90
    assert shown.count(10) == 200 - shown.count(32)  # the box with its margin


def test_shards_are_together_the_batch(images: LabelledImages) -> None:
    whole = batches(images, ALL, (4, 4), 7, augmentation="face", seed=1)
    shards = [
        batches(images, ALL, (4, 4), 7, augmentation="face", seed=1, shard=(index, 2))
        for index in range(2)
    ]
    for number in range(len(whole)):
        inputs, labels = whole[number]
        for index, shard in enumerate(shards):
            assert np.array_equal(shard[number][0], inputs[index::2])
            assert np.array_equal(shard[number][1], labels[index::2])


def test_a_cached_image_no_longer_needs_its_file(images: LabelledImages, tmp_path: Path) -> None:
    read = image_reader(tmp_path / "cache")
    plain = batches(images, ALL, (8, 8), 30, augmentation="face", seed=1)[0]
    cached = batches(images, ALL, (8, 8), 30, augmentation="face", seed=1, read=read)[0]
    assert all(map(np.array_equal, plain, cached))
    decoded = read_uncached(images, 0)
    for path in images.paths:
        path.unlink()
    assert np.array_equal(ImageCache(tmp_path / "cache").read(images, 0), decoded)
    with pytest.raises(FacemaskError, match="no such image"):
        read_uncached(images, 0)
    with pytest.raises(FacemaskError, match=r"no such image.* \(it could be read before\)"):
        batches(images, ALL, (8, 8), 30)[0]


def test_a_damaged_cache_entry_is_written_again(images: LabelledImages, tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "cache")
    image = cache.read(images, 0)
    (entry,) = (tmp_path / "cache").glob("*/*.npy")
    content = entry.read_bytes()
    entry.write_bytes(content[:-5])
    assert np.array_equal(cache.read(images, 0), image)
    assert entry.read_bytes() == content


def test_a_cache_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FacemaskError, match="file/cache: can't be a cache"):
        ImageCache(tmp_path / "file" / "cache")
