"""Random changes to training images, so that the model learns faces and not photographs.

The ranges are those of the classic recipe (Keras's ImageDataGenerator there): each image is moved
by one affine warp, and pixels that come from outside repeat the edge.
"""

import cv2
import numpy as np

ROTATION_DEGREES = 20.0
ZOOM = 0.15  # each axis by a factor of 1 - ZOOM to 1 + ZOOM
SHIFT = 0.2  # of the width and of the height
SHEAR = 0.15  # sideways, for each pixel down


def augment(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A randomly turned, zoomed, shifted, sheared and mirrored copy of an image.

    image: (H, W, 3) uint8; the result has the same shape and type. The same state of rng gives
    the same result.
    """
    height, width = image.shape[:2]
    matrix = _random_affine(rng, width, height)
    return cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _random_affine(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A (2, 3) matrix that changes the image about its centre."""
    angle = np.deg2rad(rng.uniform(-ROTATION_DEGREES, ROTATION_DEGREES))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shear = np.array([[1.0, rng.uniform(-SHEAR, SHEAR)], [0.0, 1.0]])
    scale = np.diag(rng.uniform(1 - ZOOM, 1 + ZOOM, size=2))
    mirror = np.diag([rng.choice([-1.0, 1.0]), 1.0])
    linear = turn @ shear @ scale @ mirror
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = rng.uniform(-SHIFT, SHIFT, size=2) * (width, height)
    return np.column_stack([linear, centre - linear @ centre + shift])
