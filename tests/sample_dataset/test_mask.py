"""The drawn mask: where it lies, how the light falls on it, and what its options change."""

import numpy as np

from facemask.sample_dataset.mask import PATTERNS, MaskPoints, draw_mask


def points(left=60.0, top=60.0, width=80.0):
    """A mask that hangs from (left, top), `width` pixels wide and nearly as high."""

    def at(x, y):
        return left + x * width, top + y * width

    return MaskPoints(
        nose=at(0.5, -0.15), chin=at(0.5, 0.8),
        cheeks=(at(0, 0), at(1, 0)), jaws=(at(0.1, 0.4), at(0.9, 0.4)),
        ears=(at(-0.1, -0.1), at(1.1, -0.1)), lobes=(at(-0.1, 0.1), at(1.1, 0.1)),
    )  # fmt: skip


def test_a_mask_covers_nose_to_chin_and_leaves_the_rest():
    image = np.full((200, 200, 3), (90, 120, 180), np.uint8)
    before = image.copy()
    masked = draw_mask(image, points(), (230, 40, 20), light=(0, 0))
    assert np.array_equal(image, before)  # a copy is drawn on
    assert masked.shape == image.shape
    assert masked.dtype == np.uint8
    inside = masked[65:105, 85:115].astype(int)
    assert (inside[..., 0] > inside[..., 2] + 50).all()
    changed = (masked != image).any(axis=2)
    assert changed[60:100, 70:130].all()
    assert not changed[:38].any()  # above the nose
    assert not changed[140:].any()  # below the chin
    assert not changed[:, :40].any()
    assert not changed[:, 160:].any()


def test_a_mask_is_brighter_on_the_side_of_the_light():
    image = np.full((200, 200, 3), 128, np.uint8)
    left, right = (draw_mask(image, points(), light=(x, 0)).astype(float) for x in (-0.8, 0.8))
    assert left[65:95, 68:85].mean() > right[65:95, 68:85].mean() + 20
    assert right[65:95, 115:132].mean() > left[65:95, 115:132].mean() + 20


def test_patterns_and_pleats_change_the_mask():
    image = np.full((200, 200, 3), 128, np.uint8)
    variants = [draw_mask(image, points(), pattern=pattern).tobytes() for pattern in PATTERNS]
    variants += [draw_mask(image, points(), pleats=pleats).tobytes() for pleats in (0, 1, 2)]
    assert len(set(variants)) == len(PATTERNS) + 3


def test_a_mask_partly_outside_the_picture_is_clipped_and_one_beyond_it_is_not_seen():
    image = np.full((200, 200, 3), 128, np.uint8)
    partly = draw_mask(image, points(left=-40))
    assert (partly[70:90, :20] != 128).any()
    assert np.array_equal(draw_mask(image, points(left=900)), image)
