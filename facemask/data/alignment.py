"""Whether two thumbnails show the same picture: they are aligned, then compared patch by patch."""

import math
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from facemask.images import resize

THUMBNAIL_SIDE = 64  # pixels; thumbnails are stretched to a square

# cv2.warpAffine reads matrices as "where each output pixel comes from".
INVERSE_WARP = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

# Two patches agree from this correlation on.
PATCH_CORRELATION = 0.95
# Two pictures are the same if patches agree over this ratio of the textured area. Different people
# before one wall reach about 0.25; a picture with a mask pasted over half of it, compared with
# itself without the mask, reaches 0.3.
FINE_AGREEMENT = 0.285
# A blurred or noisy copy agrees only in coarse details, but over more of the area. Different people
# were not seen above 0.5 there.
COARSE_AGREEMENT = 0.55

# Pictures that are aligned and agree over less than these ratios are not aligned once more. Each
# duplicate among 7,054 photographs that needed it had more than 0.11 and 0.27; three quarters of
# the strangers had less.
LEAST_FINE_AGREEMENT = 0.1
LEAST_COARSE_AGREEMENT = 0.25

# More steps hardly improve an alignment. The correlation after it that pictures need: 38 % of the
# strangers have less, and one of 2,123 pairs of duplicates, whose group stays whole without it.
ALIGNMENT_STEPS = 8
PROMISING_CORRELATION = 0.82

# Square pixels of a thumbnail. Less textured area says nothing: two blank walls are no duplicates.
MIN_TEXTURED_AREA = 90


class Thumbnail(NamedTuple):
    """A picture as near_duplicates compares it."""

    grey: np.ndarray  # (THUMBNAIL_SIDE, THUMBNAIL_SIDE) uint8
    aspect: float  # height / width of the picture


def thumbnail(image: np.ndarray) -> Thumbnail:
    """The thumbnail of an image (H, W, 3) uint8, BGR."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    return Thumbnail(resize(grey, size), image.shape[0] / image.shape[1])


@lru_cache
def windows(side: int) -> list[np.ndarray]:
    """Three areas in which pictures are compared, (side, side) bool each.

    The first is the disc that stays inside the picture when it is rotated. The second is its rim
    without the lowest part: a mask in the middle leaves it free. The third is its top, for a mask
    that covers the rest.
    """
    x, y = np.meshgrid(*[(np.arange(side) + 0.5) / side * 2 - 1] * 2)
    radius = np.hypot(x, y)
    disc = radius <= 1
    return [disc, disc & (radius > 0.5) & (y < 0.4), disc & (y < -0.25)]


class Variant(NamedTuple):
    """How a copy may have been altered."""

    mirrored: bool
    degrees: float
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)  # to the right and down, in halves of the picture


def placement_matrix(variant: Variant, aspect: float, side: int) -> np.ndarray:
    """Where in a thumbnail the pixels of a variant of it come from: float32 (2, 3), for cv2.

    aspect: height / width of the original image, since the rotation happens before the stretch to
    a square. side: pixels of the variant.
    """
    cos = math.cos(math.radians(variant.degrees)) / variant.zoom
    sin = math.sin(math.radians(variant.degrees)) / variant.zoom
    flip = -1 if variant.mirrored else 1
    scale = THUMBNAIL_SIDE / side
    rows = []
    for x, y, offset in (
        (flip * cos, -flip * sin * aspect, variant.shift[0]),
        (sin / aspect, cos, variant.shift[1]),
    ):
        # About the centre and in halves of the picture; pixel centres are at +0.5.
        origin = ((x + y) * (1 / side - 1) + offset + 1) * THUMBNAIL_SIDE / 2 - 0.5
        rows.append((x * scale, y * scale, origin))
    return np.array(rows, np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., D) of mean 0 and length 1, so that dot products are correlations."""
    vectors = vectors - vectors.mean(axis=-1, keepdims=True)
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-3)


def tangent_correlations(first: np.ndarray, second: np.ndarray, window: np.ndarray) -> np.ndarray:
    """The correlations that pairs of pictures would have after a small affine alignment.

    It is an estimate to the first order, the tangent distance of Simard, LeCun and Denker (1993),
    in a fraction of the time that alignment takes.
    first, second: (N, side, side) float32. window: (side, side) bool, where they are compared.
    Returns (N,) float32.
    """
    dy, dx = (slope[:, window] for slope in np.gradient(first, axis=(1, 2)))
    y, x = np.indices(window.shape, np.float32)[:, window] - (len(window) - 1) / 2
    tangents = [first[:, window], dx, dy, x * dx, y * dx, x * dy, y * dy]
    tangents = unit(np.stack(tangents, axis=1).astype(np.float32))  # (N, 7, pixels)
    target = unit(second[:, window])[:, :, None]
    # Projection on what the tangents span, by the normal equations.
    products = tangents @ target
    ridge = 1e-5 * np.eye(tangents.shape[1], dtype=np.float32)  # for pictures without texture
    gram = tangents @ tangents.transpose(0, 2, 1) + ridge
    lengths = (products * np.linalg.solve(gram, products)).sum(axis=(1, 2))
    return np.sqrt(np.maximum(lengths, 0))


def same_picture(
    first: np.ndarray, second: np.ndarray, placement: np.ndarray, window: np.ndarray
) -> bool:
    """Whether the second thumbnail, placed over the first, agrees with it over enough of the area.

    first, second: (THUMBNAIL_SIDE, THUMBNAIL_SIDE) uint8, grey. placement: the approximate position
    of the first's pixels in the second, from placement_matrix. window: bool, of the same shape, the
    area of the first that is used for alignment.
    """
    fine = _normalise_contrast(first, 0.6), _normalise_contrast(second, 0.6)
    disc = windows(THUMBNAIL_SIDE)[0]
    correlation, weight = _patch_correlations(*fine, placement, disc)
    for _ in range(3):
        if _agreeing_ratio(correlation, weight, PATCH_CORRELATION) >= FINE_AGREEMENT:
            return True
        aligned = _refine_placement(*fine, placement, window)
        if aligned is None:
            return False
        placement = aligned
        correlation, weight = _patch_correlations(*fine, placement, disc)
        if (
            _agreeing_ratio(correlation, weight, 0.8) < 0.4
            or _agreeing_ratio(correlation, weight, PATCH_CORRELATION) < LEAST_FINE_AGREEMENT
        ):
            return False
        coarse = _normalise_contrast(first, 1.5), _normalise_contrast(second, 1.5)
        patches = _patch_correlations(*coarse, placement, disc)
        agreement = _agreeing_ratio(*patches, PATCH_CORRELATION)
        if not LEAST_COARSE_AGREEMENT <= agreement < COARSE_AGREEMENT:
            return agreement >= COARSE_AGREEMENT
        # What still disagrees may be a mask, which would distort the alignment.
        window = disc & (cv2.GaussianBlur(correlation, (0, 0), 1.5) > 0.6)
    return _agreeing_ratio(correlation, weight, PATCH_CORRELATION) >= FINE_AGREEMENT


def _normalise_contrast(thumbnail: np.ndarray, sigma: float) -> np.ndarray:
    """A thumbnail blurred by sigma pixels, its contrast normalised within limits; float32."""
    grey = cv2.GaussianBlur(thumbnail.astype(np.float32), (0, 0), sigma)
    return grey * np.float32(50 / max(float(cv2.meanStdDev(grey)[1].item()), 17.0))


def _patch_correlations(
    first: np.ndarray, second: np.ndarray, placement: np.ndarray, disc: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The correlation of two pictures around each pixel, when the second is placed over the first.

    Returns the correlations and their weights, 0 to 1, by how textured the patch is; both float32
    of the pictures' shape.
    """

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (0, 0), 2.0)

    size = first.shape[::-1]
    placed = cv2.warpAffine(
        second, placement, size, flags=INVERSE_WARP, borderMode=cv2.BORDER_REPLICATE
    )
    inside = cv2.warpAffine(np.ones_like(first), placement, size, flags=INVERSE_WARP)
    mean_first, mean_placed = mean(first), mean(placed)
    variance_first = np.maximum(mean(first * first) - mean_first**2, 0)
    variance_placed = np.maximum(mean(placed * placed) - mean_placed**2, 0)
    covariance = mean(first * placed) - mean_first * mean_placed
    # The constant keeps noise from deciding in patches without texture.
    correlation = covariance / np.sqrt((variance_first + 4) * (variance_placed + 4))
    texture = np.sqrt(np.maximum(variance_first, variance_placed))
    weight = np.minimum(texture / 15, 1) * (disc & (inside > 0.5))
    return correlation, weight


def _agreeing_ratio(correlation: np.ndarray, weight: np.ndarray, threshold: float) -> float:
    """The ratio of the textured area with a higher correlation; 0 if too little is textured."""
    total = float(weight.sum())
    return (
        float(weight[correlation > threshold].sum()) / total if total > MIN_TEXTURED_AREA else 0.0
    )


def _refine_placement(
    first: np.ndarray, second: np.ndarray, placement: np.ndarray, window: np.ndarray
) -> np.ndarray | None:
    """A better placement of the second over the first, by cv2.findTransformECC in the window.

    Returns None if alignment fails, or distorts the picture more than any copy would.
    """
    # OpenCV wants the window in the coordinates of the second picture.
    mask = cv2.warpAffine(
        window.astype(np.uint8), placement, first.shape[::-1], flags=cv2.INTER_NEAREST
    )
    if np.count_nonzero(mask) < MIN_TEXTURED_AREA:
        return None
    try:
        stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, ALIGNMENT_STEPS, 1e-3)
        correlation, aligned = cv2.findTransformECC(
            first, second, placement.copy(), cv2.MOTION_AFFINE, stop, mask, 1
        )
    except cv2.error:  # the alignment did not converge
        return None
    if correlation < PROMISING_CORRELATION:
        return None
    # NumPy's SVD and standard deviation take ten times as long for so few numbers.
    largest, smallest = cv2.SVDecomp(aligned[:, :2], flags=cv2.SVD_NO_UV)[0].ravel()
    return aligned if smallest > 0.55 and largest < 1.8 and largest < 1.5 * smallest else None
