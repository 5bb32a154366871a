"""The grid of anchor points of the built-in face detector, shared by training and detection."""

from functools import lru_cache

import numpy as np

STRIDES = (8, 16, 32, 64)  # pixels between the anchor points of each pyramid level
# Both sides of the network's input, in pixels, are multiples of this. It is less than the largest
# stride, so the last anchor points of that level may lie outside the image.
SIZE_MULTIPLE = 32


@lru_cache(16)
def anchor_points(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The anchor points of an input of height x width pixels, in the network's order.

    Returns the points (N, 2), x and y, and their strides (N,), both float32, in pixels. The arrays
    are cached: do not write to them.
    """
    points, strides = [], []
    for stride in STRIDES:
        rows, columns = np.mgrid[: -(-height // stride), : -(-width // stride)]
        points.append(np.stack([columns.ravel(), rows.ravel()], axis=1) * stride + stride / 2)
        strides.append(np.full(rows.size, stride))
    return np.concatenate(points).astype(np.float32), np.concatenate(strides).astype(np.float32)
