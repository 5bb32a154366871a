import cv2
import numpy as np

from facemask.data.alignment import tangent_correlations, unit, windows

SIDE = 32
EVERYWHERE = np.ones((SIDE, SIDE), bool)


def blobs(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (SIDE, SIDE)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 2.5)


def moved(image: np.ndarray, degrees: float, right: float) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), degrees, 1.03)
    matrix[0, 2] += right
    return cv2.warpAffine(image, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)


def plain(first: np.ndarray, second: np.ndarray, window: np.ndarray) -> float:
    return float(unit(first[window]) @ unit(second[window]))


def test_a_slightly_moved_copy_correlates_more_than_without_alignment() -> None:
    first = blobs(1)
    second = moved(first, 4, 1.5)
    disc = windows(SIDE)[0]
    assert plain(first, second, disc) < 0.9
    assert tangent_correlations(first[None], second[None], disc)[0] > 0.95


def test_another_picture_does_not() -> None:
    first = np.stack([blobs(seed) for seed in range(20)])
    second = np.stack([blobs(seed) for seed in range(20, 40)])
    assert tangent_correlations(first, second, windows(SIDE)[0]).max() < 0.7


def test_pairs_do_not_mix() -> None:
    first = np.stack([blobs(1), blobs(2), blobs(1)])
    second = np.stack([blobs(1), blobs(3), 2 * blobs(1) + 5])  # light and contrast say nothing
    scores = tangent_correlations(first, second, EVERYWHERE)
    assert (scores > 0.99).tolist() == [True, False, True]
    assert scores.dtype == np.float32


def test_the_window_hides_what_differs() -> None:
    first = blobs(1)
    second = np.where(np.arange(SIDE)[:, None] < SIDE // 2, first, blobs(2))
    upper = EVERYWHERE & (np.arange(SIDE)[:, None] < SIDE // 2)
    whole = tangent_correlations(first[None], second[None], EVERYWHERE)[0]
    assert whole < 0.9 < 0.99 < tangent_correlations(first[None], second[None], upper)[0]


def test_pictures_without_texture_correlate_with_nothing() -> None:
    grey = np.zeros((1, SIDE, SIDE), np.float32)
    assert tangent_correlations(grey, blobs(1)[None], EVERYWHERE)[0] == 0
    assert tangent_correlations(blobs(1)[None], grey, EVERYWHERE)[0] == 0


def test_no_pairs() -> None:
    none = np.empty((0, SIDE, SIDE), np.float32)
    assert tangent_correlations(none, none, EVERYWHERE).tolist() == []
