"""The grid of anchor points of the built-in face detector, shared by training and detection."""

from functools import lru_cache

import numpy as np

STRIDES = (8, 16, 32, 64)  # pixels between the anchor points of each pyramid level
# Pixels: both sides of an input are multiples of it. The coarsest anchor points may lie outside.
SIZE_MULTIPLE = 32


@lru_cache(16)
def anchor_points(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The anchor points of an input, in the network's order.


    Returns the centres (N, 2), x and y, and the strides (N,), both float32 pixels. The arrays are
    cached: do not write to them.
    """
    centres, strides = [], []
    for stride in STRIDES:
        rows, columns = np.mgrid[: -(-height // stride), : -(-width // stride)]
        centres.append(np.stack([columns.ravel(), rows.ravel()], axis=1) * stride + stride / 2)
        strides.append(np.full(rows.size, stride))
    return np.concatenate(centres).astype(np.float32), np.concatenate(strides).astype(np.float32)
