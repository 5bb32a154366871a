"""Random changes to training images.

`augment` is the classic recipe: the ranges of its ImageDataGenerator, on the whole image.
`augment_face` moves the box of a face as a detector's boxes vary, and imitates cameras, light and
distance. Both use a single affine warp; pixels from outside the image repeat its edge.
"""

from typing import NamedTuple

import cv2
import numpy as np

from facemask.geometry import FaceBox
from facemask.images import crop_face, resize

ROTATION_DEGREES = 20.0
ZOOM = 0.15  # each axis by a factor of 1 - ZOOM to 1 + ZOOM
SHIFT = 0.2  # of the width and of the height
SHEAR = 0.15  # sideways, for each pixel down

# Ranges of augment_face. A box of IoU 0.5 with the face, the least that counts as found, is off by
# about a fifth of a side; most boxes are closer.
FACE_SHIFT = 0.1
FACE_ZOOM = (0.9, 1.2)
FACE_ASPECT = 0.1
FACE_SHEAR = 0.1
# Width in pixels of faces in the distance: most faces in photographs of streets and rooms.
LOW_RESOLUTION = (12, 96)
FACE_NOISE = 14.0  # standard deviation, at most, of 255


def augment(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A randomly rotated, zoomed, shifted, sheared and mirrored copy of an image.

    image: (H, W, 3) uint8; the result has the same shape and type. The same state of rng gives
    the same result.
    """
    height, width = image.shape[:2]
    matrix = _random_affine(rng, width, height)
    return cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _random_affine(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A (2, 3) matrix that transforms the image about its centre."""
    degrees = rng.uniform(-ROTATION_DEGREES, ROTATION_DEGREES)
    turn = _rotation_and_shear(degrees, rng.uniform(-SHEAR, SHEAR))
    scale = np.diag(rng.uniform(1 - ZOOM, 1 + ZOOM, size=2))
    mirror = np.diag([rng.choice([-1.0, 1.0]), 1.0])
    linear = turn @ scale @ mirror
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = rng.uniform(-SHIFT, SHIFT, size=2) * (width, height)
    return np.column_stack([linear, centre - linear @ centre + shift])


def _rotation_and_shear(degrees: float, shear: float) -> np.ndarray:
    """The (2, 2) matrix that shears sideways and then rotates."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return turn @ np.array([[1.0, shear], [0.0, 1.0]])


class FaceRegion(NamedTuple):
    """A face with its surroundings, resized to about the size that views of it have."""

    pixels: np.ndarray  # (H, W, 3) uint8, BGR
    scale: np.ndarray  # (2,) float64, x and y: pixels here for each pixel of the image
    centre: np.ndarray  # (2,) float64, of the face in the region, in pixels of the image
    sides: np.ndarray  # (2,) float64, width and height of the face, in pixels of the image


def face_region(
    image: np.ndarray, box: FaceBox, margin: float, size: tuple[int, int]
) -> FaceRegion:
    """What augment_face needs of an image (H, W, 3) uint8, BGR, for any number of views.

    box: the face in it, grown by margin as for detection; size: (height, width) of the views.
    """
    height, width = size
    grown = box.expand(margin)
    # A rotated or shifted crop shows surroundings. They are first resized to about the size of the
    # result, because a warp alone would skip pixels of a large face.
    around = grown.expand(0.5).clip(image.shape[1], image.shape[0])
    region = crop_face(image, around)
    shrink = min(1.0, max(width / max(1, grown.width), height / max(1, grown.height)))
    if shrink < 1.0:
        region = resize(
            region,
            (max(1, round(region.shape[0] * shrink)), max(1, round(region.shape[1] * shrink))),
        )
    scale = np.array([region.shape[1] / around.width, region.shape[0] / around.height])
    centre = np.array(
        [(grown.x1 + grown.x2) / 2 - around.x1, (grown.y1 + grown.y2) / 2 - around.y1]
    )
    return FaceRegion(region, scale, centre, np.array([grown.width, grown.height], dtype=float))


def augment_face(region: FaceRegion, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A random view of a face: rotated, shifted, mirrored, relit, blurred, downscaled, occluded.

    region: of face_region for the same size, (height, width) of the result, uint8. The same state
    of rng gives the same result.
    """
    face = _random_affine_crop(region, size, rng)
    if rng.random() < 0.15:
        _random_erasing(face, rng)
    face = photometric_jitter(face, rng)
    if rng.random() < 0.15:
        face = _random_blur(face, rng)
    if rng.random() < 0.5:
        face = _downscale(face, rng)
    if rng.random() < 0.2:
        face = random_noise(face, rng, FACE_NOISE)
    return face


def _random_affine_crop(
    region: FaceRegion, size: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """The crop of a slightly wrong box, rotated, sheared and mirrored."""
    height, width = size
    shift = rng.uniform(-FACE_SHIFT, FACE_SHIFT, 2) * region.sides
    centre = (region.centre + shift) * region.scale
    aspect = rng.uniform(1 - FACE_ASPECT, 1 + FACE_ASPECT)
    zoom = np.exp(rng.uniform(*np.log(FACE_ZOOM)))
    sides = region.sides * region.scale * zoom * (aspect, 1 / aspect)

    degrees = rng.normal(0, ROTATION_DEGREES / 2)
    turn = _rotation_and_shear(degrees, rng.uniform(-FACE_SHEAR, FACE_SHEAR))
    mirror = rng.choice([-1.0, 1.0])
    # From a pixel of the result to one of the region.
    linear = turn @ np.diag(sides / (width, height) * (mirror, 1.0))
    offset = centre - 0.5 - linear @ np.array([(width - 1) / 2, (height - 1) / 2])
    return cv2.warpAffine(
        region.pixels,
        np.column_stack([linear, offset]),
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _random_erasing(face: np.ndarray, rng: np.random.Generator) -> None:
    """Cover a random rectangle or ellipse (Zhong et al., Random Erasing, 2020)."""
    height, width = face.shape[:2]
    sides = rng.uniform(0.1, 0.4, 2) * (width, height)
    x, y = rng.uniform(0, 1, 2) * (width, height)
    colour = rng.integers(0, 256, 3).tolist()
    if rng.random() < 0.5:  # a colour of the picture: hair, skin, cloth
        colour = face[int(y) % height, int(rng.integers(width))].tolist()
    if rng.random() < 0.5:
        corner = (int(x - sides[0] / 2), int(y - sides[1] / 2))
        cv2.rectangle(face, corner, (int(x + sides[0] / 2), int(y + sides[1] / 2)), colour, -1)
    else:
        axes = (int(sides[0] / 2), int(sides[1] / 2))
        cv2.ellipse(face, (int(x), int(y)), axes, rng.uniform(0, 180), 0, 360, colour, -1)


def photometric_jitter(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast, tint, hue and saturation, or remove the colour."""
    chance = rng.random()
    if chance < 0.1:
        grey = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
        face = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    elif chance < 0.6:
        hsv = cv2.cvtColor(face, cv2.COLOR_BGR2HSV)
        # A mask may have any colour, so sometimes the hue is rotated by any angle.
        turn = rng.uniform(-90, 90) if chance < 0.25 else rng.normal(0, 5)
        hue = (np.arange(256) + round(turn)) % 180
        saturation = np.clip(np.arange(256) * rng.uniform(0.4, 1.5), 0, 255)
        table = np.stack([hue, saturation, np.arange(256)], axis=-1).astype(np.uint8)
        face = cv2.cvtColor(cv2.LUT(hsv, table[None]), cv2.COLOR_HSV2BGR)
    level = np.arange(256) / 255.0
    gamma = np.exp(rng.normal(0, 0.25))
    contrast = np.exp(rng.normal(0, 0.2))
    tint = np.exp(rng.normal(0, 0.08, 3))  # blue, green, red
    curve = (level[:, None] ** gamma - 0.5) * contrast + 0.5 + rng.normal(0, 0.08)
    table = np.rint(np.clip(curve * tint, 0, 1) * 255).astype(np.uint8)
    return cv2.LUT(face, table[None])


def _random_blur(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian or motion blur."""
    width = face.shape[1]
    if rng.random() < 0.5:
        return cv2.GaussianBlur(face, (0, 0), rng.uniform(0.005, 0.03) * width)
    length = max(3, round(rng.uniform(0.02, 0.1) * width))
    angle = np.deg2rad(rng.uniform(0, 180))
    kernel = np.zeros((length, length), np.float32)
    middle = (length - 1) / 2
    dx, dy = np.cos(angle) * middle, np.sin(angle) * middle
    start = (round(middle - dx), round(middle - dy))
    cv2.line(kernel, start, (round(middle + dx), round(middle + dy)), 1.0)
    return cv2.filter2D(face, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def _downscale(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shrink to few pixels and enlarge again, sometimes with JPEG compression in between."""
    height, width = face.shape[:2]
    across = round(np.exp(rng.uniform(*np.log(LOW_RESOLUTION))))
    down = max(8, round(across * height / width * rng.uniform(0.9, 1.3)))
    small = cv2.resize(face, (across, down), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.4:
        quality = int(rng.integers(30, 90))
        _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
        small = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return resize(small, (height, width))


def random_noise(
    image: np.ndarray, rng: np.random.Generator, most: float, coloured: bool = False
) -> np.ndarray:
    """Add Gaussian noise with a standard deviation from 2 to `most`, of 255."""
    shape = image.shape if coloured else (*image.shape[:2], 1)
    noise = rng.normal(0, rng.uniform(2, most), shape).astype(np.float32)
    return np.clip(image + noise, 0, 255).astype(np.uint8)
