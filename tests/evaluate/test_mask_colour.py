"""The colour of a mask, guessed from crops that are painted by hand."""

import numpy as np
import pytest

from facemask.evaluate.mask_colour import COLOURS, mask_colour

SKIN = (120, 150, 200)  # BGR


def masked(colour: tuple[int, int, int], size: int = 40) -> np.ndarray:
    """A square face crop of skin, its lower half covered."""
    crop = np.full((size, size, 3), SKIN, np.uint8)
    crop[size // 2 :] = colour
    return crop


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((235, 240, 238), "white"),
        ((225, 235, 245), "white"),  # in warm light
        ((110, 115, 112), "grey"),
        ((95, 80, 75), "grey"),  # slate
        ((25, 25, 30), "black"),
        ((50, 30, 25), "black"),  # with a blue shine
        ((222, 200, 158), "blue"),  # surgical
        ((120, 40, 20), "blue"),
        ((200, 190, 40), "blue"),  # cyan
        ((90, 150, 40), "green"),
        ((190, 220, 160), "green"),  # surgical
        ((40, 200, 230), "yellow or brown"),
        ((30, 70, 110), "yellow or brown"),
        (SKIN, "yellow or brown"),
        ((40, 30, 200), "red or pink"),
        ((200, 170, 240), "red or pink"),
        ((180, 60, 120), "purple"),
        ((215, 165, 185), "purple"),  # lilac
    ],
)
def test_names(colour: tuple[int, int, int], name: str) -> None:
    assert mask_colour(masked(colour)) == name
    assert name in COLOURS


def test_the_rest_of_the_crop_does_not_count() -> None:
    """Blue is all but rows 22 to 36 and columns 10 to 30 of a square of 40."""
    crop = np.full((40, 40, 3), (200, 60, 20), np.uint8)
    crop[22:36, 10:30] = (40, 30, 200)
    assert mask_colour(crop) == "red or pink"


def test_the_most_frequent_colour_counts() -> None:
    """A mean of the white and the red stripes would be pink, one of red and green brown."""
    crop = masked((240, 240, 240))
    crop[20:28] = (40, 30, 200)
    assert mask_colour(crop) == "white"
    crop[28:] = (60, 160, 40)
    assert mask_colour(crop) == "green"


def test_noise_evens_out() -> None:
    noise = np.random.default_rng(0).normal(128, 60, (160, 160, 3))
    assert mask_colour(noise.clip(0, 255).astype(np.uint8)) == "grey"


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (1, 9), (5, 3), (300, 200)])
def test_crops_of_any_size(shape: tuple[int, int]) -> None:
    assert mask_colour(np.full((*shape, 3), (222, 200, 158), np.uint8)) == "blue"
