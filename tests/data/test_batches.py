from pathlib import Path

import cv2
import numpy as np
import pytest

from facemask.data.batches import batches
from facemask.data.dataset import LabelledImages, load_labelled_images
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
    """Two images, on which every change shows."""
    rng = np.random.default_rng(0)
    for name in ("with_mask", "without_mask"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), rng.integers(0, 255, (32, 32, 3), np.uint8))
    return load_labelled_images([tmp_path])


EVERY = np.arange(30)


def test_batches_come_in_order_as_the_model_takes_them(images: LabelledImages) -> None:
    stream = batches(images, np.array([3, 20, 29]), (4, 4), 2)
    found = [stream[number] for number in range(len(stream))]
    assert [inputs.shape for inputs, _ in found] == [(2, 4, 4, 3), (1, 4, 4, 3)]
    assert [labels.tolist() for _, labels in found] == [[0, 1], [1]]
    red, _, blue = found[0][0][0, 0, 0]
    assert red == pytest.approx(200 / 127.5 - 1)
    assert blue == pytest.approx(3 / 127.5 - 1)


def test_a_face_is_cut_out_with_the_margin_asked_for(noise: LabelledImages) -> None:
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
    stream = batches(images, EVERY, (4, 4), 8, augmentation="face", weights=weights)
    for number in range(4):
        _, labels, found = stream[number]
        assert (found.astype(int) == labels).all()
    seen = np.concatenate([stream[number][2] for number in range(4)])
    assert sorted(seen.tolist()) == pytest.approx(sorted(weights.tolist()))


def test_no_image_is_lost_by_shuffling(images: LabelledImages) -> None:
    stream = batches(images, EVERY, (8, 8), 7, augmentation="classic")
    seen = np.concatenate([stream[number][1] for number in range(len(stream))])
    assert np.bincount(seen).tolist() == [20, 10]


@pytest.mark.parametrize("augmentation", ["classic", "face"])
def test_images_are_changed_anew_in_each_epoch_and_the_same_way_again(
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
        stream = batches(images, EVERY, (8, 8), 30, augmentation="face", seed=seed)
        first = stream[0][1].tolist()
        stream.on_epoch_end()
        return [first, stream[0][1].tolist()]

    assert two_epochs(1) == two_epochs(1)
    assert two_epochs(1)[0] != two_epochs(1)[1]
    assert two_epochs(1) != two_epochs(2)


def test_a_photograph_of_a_face_is_shown_whole_now_and_then(
    noise: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxed = noise.with_boxes([FaceBox(0, 0, 8, 8, 1.0), FaceBox(0, 0, 8, 8, 1.0)])
    shown: list[int] = []

    def note(image, box, margin, size, rng):
        shown.append(box.width)
        return image

    monkeypatch.setattr("facemask.data.batches.augment_face", note)
    stream = batches(boxed, np.zeros(200, int), (32, 32), 200, margin=0.1, augmentation="face")
    stream[0]
    assert 30 < shown.count(32) < 90
    assert shown.count(8) == 200 - shown.count(32)
