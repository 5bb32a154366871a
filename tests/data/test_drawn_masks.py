"""Masks that are drawn onto faces: what each way to wear one covers, and the light on it."""

import numpy as np
import pytest

from facemask.class_names import WITH_MASK
from facemask.data.drawn_masks import WAYS, points_on_face, wear_mask

# An upright face: the eyes, the tip of the nose and the corners of the mouth; the chin is near 165.
LANDMARKS = np.array([[80.0, 80], [120, 80], [100, 103], [84, 120], [116, 120]])
NOSE, MOUTH, CHIN, FOREHEAD, EYES = (102, 100), (121, 100), (140, 100), (50, 100), (80, 100)


def photograph() -> np.ndarray:
    """A picture of 200 x 200 pixels with bright, dark and coloured places around the face."""
    image = np.full((200, 200, 3), (110, 140, 190), np.uint8)
    image[::10, ::10], image[5::10, 5::10] = 250, 10
    return image


def changed(way: str, seed: int) -> np.ndarray:
    image = photograph()
    masked = wear_mask(image, LANDMARKS, way, np.random.default_rng(seed))
    return (masked != image).any(axis=2)


@pytest.mark.parametrize(
    ("way", "covered", "free"),
    [
        ("proper", [NOSE, MOUTH, CHIN], [EYES, FOREHEAD]),
        ("below_nose", [MOUTH, CHIN], [NOSE, EYES, FOREHEAD]),
        ("on_chin", [CHIN], [NOSE, MOUTH, EYES, FOREHEAD]),
        ("mouth_out", [NOSE], [EYES, MOUTH, CHIN, FOREHEAD]),
        ("over_eyes", [EYES], [MOUTH, CHIN, FOREHEAD]),
        ("on_forehead", [FOREHEAD], [EYES, NOSE, MOUTH, CHIN]),
        ("dangling", [], [EYES, NOSE, MOUTH, CHIN, FOREHEAD]),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_a_mask_covers_what_it_should(
    way: str, covered: list[tuple[int, int]], free: list[tuple[int, int]], seed: int
) -> None:
    mask = changed(way, seed)
    assert mask.any()
    assert all(mask[place] for place in covered)
    assert not any(mask[place] for place in free)


def test_a_mask_dangles_below_one_ear() -> None:
    masks = [changed("dangling", seed)[110:150] for seed in range(8)]
    sides = {(bool(mask[:, 40:75].any()), bool(mask[:, 125:160].any())) for mask in masks}
    assert sides == {(True, False), (False, True)}


def test_only_proper_masks_are_of_the_class_with_mask() -> None:
    assert [way for way, label in WAYS.items() if label == WITH_MASK] == ["proper"]


@pytest.mark.parametrize("way", WAYS)
def test_the_same_seed_gives_the_same_mask(way: str) -> None:
    image, before = photograph(), photograph()
    first, same, other = (
        wear_mask(image, LANDMARKS, way, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(image, before)
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    assert first.dtype == np.uint8
    assert first.shape == image.shape


def test_a_mask_on_a_grey_photograph_is_grey() -> None:
    grey = np.repeat(photograph().mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    for seed in range(20):
        masked = wear_mask(grey, LANDMARKS, "proper", np.random.default_rng(seed)).astype(int)
        assert (masked.max(axis=2) - masked.min(axis=2)).max() == 0


def test_a_mask_in_the_dark_is_dark() -> None:
    dark = photograph() // 6
    for seed in range(10):
        masked = wear_mask(dark, LANDMARKS, "proper", np.random.default_rng(seed))
        assert masked[100:150, 85:115].mean() < 55


def test_a_mask_is_brighter_on_the_side_that_the_light_comes_from() -> None:
    image = photograph()
    image[:, :100] //= 3
    for seed in range(5):
        masked = wear_mask(image, LANDMARKS, "proper", np.random.default_rng(seed)).astype(float)
        assert masked[110:140, 105:125].mean() > masked[110:140, 75:95].mean()


@pytest.mark.parametrize("way", WAYS)
def test_faces_at_the_border_and_impossible_ones_do_no_harm(way: str) -> None:
    rng = np.random.default_rng(0)
    image = photograph()
    for shift in ((-110, 0), (0, -130), (95, 110), (5000, 0), (-900, -900)):
        masked = wear_mask(image, LANDMARKS + shift, way, rng)
        assert masked.shape == image.shape
    assert np.array_equal(wear_mask(image, LANDMARKS + 5000, way, rng), image)
    profile = LANDMARKS.copy()
    profile[:2, 0] = 90  # one eye behind the other
    for landmarks in (profile, np.full((5, 2), 50.0), LANDMARKS / 50, LANDMARKS[:, ::-1]):
        assert wear_mask(image, landmarks, way, rng).shape == image.shape
    tiny = np.zeros((1, 1, 3), np.uint8)
    assert wear_mask(tiny, LANDMARKS / 150, way, rng).shape == tiny.shape


def test_the_points_of_a_mask_follow_the_face() -> None:
    points = points_on_face(np.array([[40, 40], [80, 40], [60, 60], [45, 80], [75, 80]]))
    assert points.nose == pytest.approx((60, 50), abs=2)
    assert points.chin == pytest.approx((60, 110), abs=2)
    (left, upper), (right, same) = points.cheeks
    assert left + right == pytest.approx(120)
    assert left < 40 < 80 < right
    assert upper == same
    assert 40 < upper < 60
    lying = points_on_face(np.array([[80, 40], [80, 80], [60, 60], [40, 45], [40, 75]]))
    assert lying.chin == pytest.approx((10, 60), abs=2)


def test_the_far_cheek_of_a_turned_face_is_narrow() -> None:
    turned = LANDMARKS + np.array([[0, 0], [0, 0], [14, 0], [6, 0], [6, 0]])
    (left, _), (right, _) = points_on_face(turned).cheeks
    assert 0 < right - 120 < 80 - left
