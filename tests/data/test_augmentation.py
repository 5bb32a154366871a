import numpy as np
import pytest

from facemask.data import augmentation
from facemask.data.augmentation import augment, augment_face, face_region
from facemask.geometry import FaceBox


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


BLUE, GREY = (255, 0, 0), (128, 128, 128)


def face_on_grey(box: FaceBox) -> np.ndarray:
    """An image of 200x100 pixels, grey but for a blue face."""
    image = np.full((100, 200, 3), GREY, np.uint8)
    image[box.y1 : box.y2, box.x1 : box.x2] = BLUE
    return image


def is_saturated(image: np.ndarray) -> np.ndarray:
    """Where an image has colour; grey stays grey in any light but a tinted one."""
    return np.ptp(image.astype(int), axis=-1) > 90


def view(
    image: np.ndarray, box: FaceBox, margin: float, size: tuple[int, int], seed: int
) -> np.ndarray:
    return augment_face(face_region(image, box, margin, size), size, rng(seed))


def views(box: FaceBox, margin: float, count: int = 60) -> np.ndarray:
    image = face_on_grey(box)
    return np.stack([view(image, box, margin, (48, 64), seed) for seed in range(count)])


@pytest.mark.parametrize(
    "box",
    [FaceBox(60, 20, 120, 80, 1.0), FaceBox(0, 0, 20, 30, 1.0), FaceBox(150, 10, 200, 100, 1.0)],
    ids=["middle", "corner", "edge"],
)
def test_a_face_stays_in_the_middle_of_its_crop(box: FaceBox) -> None:
    found = views(box, margin=0.0)
    assert found.shape == (60, 48, 64, 3)
    assert found.dtype == np.uint8
    middles = is_saturated(found[:, 20:28, 28:36]).mean(axis=(1, 2))
    # A tenth has no colour left, some are covered there.
    assert (middles > 0.9).mean() > 0.6


def test_a_margin_shows_what_is_around() -> None:
    box = FaceBox(60, 20, 120, 80, 1.0)
    tight, wide = (is_saturated(views(box, margin)).mean() for margin in (0.0, 0.5))
    assert wide < 0.5 * tight


def test_no_two_views_are_alike_and_the_same_state_gives_the_same() -> None:
    box = FaceBox(60, 20, 120, 80, 1.0)
    first, again = views(box, 0.1), views(box, 0.1)
    assert np.array_equal(first, again)
    assert len(np.unique(first.reshape(60, -1), axis=0)) == 60


def test_many_views_are_as_from_afar() -> None:
    """Fine stripes, which few pixels across can't show."""
    image = np.zeros((96, 96, 3), np.uint8)
    image[:, ::2] = 255
    box = FaceBox(0, 0, 96, 96, 1.0)
    fine = [view(image, box, 0.0, (96, 96), seed).std() for seed in range(100)]
    assert 30 < sum(value < 0.5 * max(fine) for value in fine) < 90


def test_a_large_face_is_shrunk_without_skipping_pixels() -> None:
    """Stripes of one pixel become grey at a tenth of the size; skipping would leave stripes."""
    image = np.zeros((960, 960, 3), np.uint8)
    image[:, ::2] = 255
    box = FaceBox(0, 0, 960, 960, 1.0)
    spreads = [view(image, box, 0.0, (96, 96), seed)[20:-20, 20:-20].std() for seed in range(21)]
    assert np.median(spreads) < 20
