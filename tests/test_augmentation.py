import numpy as np
import pytest

from facemask import augmentation
from facemask.augmentation import augment


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


IMAGE = rng(0).integers(0, 255, (40, 60, 3), np.uint8)


def test_the_same_seed_gives_the_same_change_and_another_another() -> None:
    assert np.array_equal(augment(IMAGE, rng(1)), augment(IMAGE, rng(1)))
    assert not np.array_equal(augment(IMAGE, rng(1)), augment(IMAGE, rng(2)))


def test_shape_and_type_stay_and_the_original_is_left_alone() -> None:
    before = IMAGE.copy()
    changed = augment(IMAGE, rng(3))
    assert changed.shape == IMAGE.shape
    assert changed.dtype == np.uint8
    assert np.array_equal(IMAGE, before)


def test_pixels_from_outside_repeat_the_edge() -> None:
    plain = np.full((40, 60, 3), 77, np.uint8)
    assert np.unique(augment(plain, rng(4))).tolist() == [77]


def test_without_ranges_only_the_mirror_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROTATION_DEGREES", "ZOOM", "SHIFT", "SHEAR"):
        monkeypatch.setattr(augmentation, name, 0.0)
    results = [augment(IMAGE, rng(seed)) for seed in range(20)]
    same = sum(np.array_equal(result, IMAGE) for result in results)
    mirrored = sum(np.array_equal(result, IMAGE[:, ::-1]) for result in results)
    assert same + mirrored == 20
    assert min(same, mirrored) >= 4


def test_the_shift_stays_within_its_range(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROTATION_DEGREES", "ZOOM", "SHEAR"):
        monkeypatch.setattr(augmentation, name, 0.0)
    dot = np.zeros((101, 101, 3), np.uint8)
    dot[50, 50] = 255  # the centre: mirroring leaves it in place
    rows = [np.argwhere(augment(dot, rng(seed)).max(axis=2) > 60) for seed in range(40)]
    moved = np.array([places.mean(axis=0) - 50 for places in rows])
    assert np.abs(moved).max() <= 21
    assert np.abs(moved).max() > 12
