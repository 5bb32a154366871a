"""Random views of annotated photographs, which the built-in face detector is trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from facemask.detect.builtin import LONGER_SIDE
from facemask.images import read_image
from facemask.keras_backend import load_keras
from facemask.train_face_detector.camera import Sample, as_photographed
from facemask.train_face_detector.targets import make_targets

CACHED_PHOTOGRAPHS = 4000  # kept in memory, as small as training shows them: about 0.4 MB each

# The scale of a scene relative to its size in detection; and the width of a portrait's face, from
# pixels to a ratio of the crop's side. The same in a mosaic.
SCENE_SCALE, PORTRAIT_FACE = (0.6, 1.8), (50.0, 0.9)
MOSAIC_SCALE, MOSAIC_FACE = (0.4, 1.3), (12.0, 0.36)
PORTRAITS = 0.3  # ratio of the photographs
MOSAICS = 0.5  # ratio of the samples
ASPECT = 0.12  # the largest logarithm of the change of the aspect ratio
# Mostly a head is upright; the first is a standard deviation, the second the largest angle.
ROTATION_DEGREES, TILTED, TILT_DEGREES = 5.0, 0.25, 45.0
# Ratio of the scenes' samples in which one face gets a width from this range, in pixels, instead:
# the faces of a scene are mostly small. Its scale stays within the third.
ZOOMED, ZOOMED_FACE, ZOOM = 0.2, (14.0, 400.0), (0.3, 3.5)
# The ratio of a face's area that must be inside the crop; otherwise the face is ignored. A mosaic
# needs more: half a face beside another photograph does not look like one at an image's border.
VISIBLE, VISIBLE_IN_MOSAIC = 0.55, 0.85
SMALLEST_FACE = 5.0  # pixels; smaller faces are ignored
PASTED = 0.8  # ratio of the portraits that are pasted onto a scene
# Below this scale, a warp skips pixels. Mostly the photograph is shrunk before, to a size somewhat
# larger than needed; not always, since cameras and other programs skip pixels too.
SMOOTH_SCALE, SMOOTH_MARGIN = 0.6, 1.2


@dataclass(frozen=True)
class AnnotatedImage:
    """A photograph and its boxes, (N, 4) float32 each, xyxy in pixels."""

    path: Path
    faces: np.ndarray
    ignore_boxes: np.ndarray  # where there may be a face or not
    portrait: bool  # whether its faces fill it
    weight: float = 1.0  # how often it is shown, relative to others of its kind
    source: str = ""  # the name of the folder that it belongs to
    labels: tuple[str, ...] = ()  # of the faces; empty where they are not known


class Pool:
    """Photographs to draw from, each by its weight."""

    def __init__(self, images: Sequence[AnnotatedImage]):
        self.images = list(images)
        self._limits = np.cumsum([image.weight for image in images])

    def draw(self, rng: np.random.Generator) -> AnnotatedImage:
        number = np.searchsorted(self._limits, rng.random() * self._limits[-1], side="right")
        return self.images[min(int(number), len(self.images) - 1)]


class Pools(NamedTuple):
    scenes: Pool
    portraits: Pool


Scales = tuple[float, float]


def face_batches(
    images: Sequence[AnnotatedImage],
    shapes: Sequence[tuple[int, int]],
    steps: int,
    seed: int,
    epoch: int,
) -> Any:
    """A keras.utils.PyDataset of samples, (N, size, size, 3) float32, BGR, 0 to 255, and targets.

    shapes: the (size in pixels, N) of batches, which take turns; steps: batches of an epoch. The
    targets are those of make_targets. The same seed and epoch give the same batches.
    """
    keras = load_keras()
    pools = make_pools(images)

    class FaceBatches(keras.utils.PyDataset):
        def __init__(self) -> None:
            super().__init__(workers=2, max_queue_size=8)
            self._epoch = epoch

        def __len__(self) -> int:
            return steps

        def on_epoch_end(self) -> None:
            self._epoch += 1

        def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
            size, count = shapes[number % len(shapes)]
            pixels, targets = [], []
            for row in range(count):
                rng = np.random.default_rng((seed, self._epoch, number, row))
                image, faces, ignored = random_sample(pools, size, rng)
                pixels.append(image.astype(np.float32))
                targets.append(make_targets(faces, ignored, size, size))
            return np.stack(pixels), np.stack(targets)

    return FaceBatches()


def make_pools(images: Sequence[AnnotatedImage]) -> Pools:
    return Pools(
        Pool([image for image in images if not image.portrait]),
        Pool([image for image in images if image.portrait]),
    )


def random_sample(pools: Pools, size: int, rng: np.random.Generator) -> Sample:
    """A random view of size x size pixels."""
    if rng.random() < MOSAICS:
        image, faces, ignored = _mosaic(pools, size, rng)
    else:
        source = _choose(pools, rng)
        scales = _scales(source, SCENE_SCALE, PORTRAIT_FACE, size)
        image, faces, ignored = _crop(
            source, (size, size), scales, VISIBLE, pools.scenes, rng, zoom=True
        )
    return as_photographed(image, faces, ignored, rng)


def _choose(pools: Pools, rng: np.random.Generator) -> AnnotatedImage:
    pool = pools[int(rng.random() < PORTRAITS)]
    if not pool.images:
        pool = pools.scenes if pools.scenes.images else pools.portraits
    return pool.draw(rng)


def _scales(source: AnnotatedImage, scene: Scales, face: Scales, size: int) -> Scales:
    """The range of a photograph's scale or, of a portrait, of its face's width in pixels."""
    return (face[0], face[1] * size) if source.portrait else scene


def _mosaic(pools: Pools, size: int, rng: np.random.Generator) -> Sample:
    """Four photographs around a point, as in Bochkovskiy et al., YOLOv4, 2020."""
    x, y = (int(side) for side in rng.uniform(0.3, 0.7, 2) * size)
    mosaic = np.empty((size, size, 3), np.uint8)
    faces, ignored = [], []
    corners = ((0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size))
    for left, top, right, bottom in corners:
        source = _choose(pools, rng)
        scales = _scales(source, MOSAIC_SCALE, MOSAIC_FACE, size)
        sides = right - left, bottom - top
        tile, *boxes = _crop(source, sides, scales, VISIBLE_IN_MOSAIC, pools.scenes, rng)
        mosaic[top:bottom, left:right] = tile
        corner = np.array([left, top, left, top], np.float32)
        faces.append(boxes[0] + corner)
        ignored.append(boxes[1] + corner)
    return mosaic, np.concatenate(faces), np.concatenate(ignored)


def _crop(
    source: AnnotatedImage,
    size: tuple[int, int],
    scales: Scales,
    visible: float,
    backgrounds: Pool | None,
    rng: np.random.Generator,
    zoom: bool = False,
) -> Sample:
    """A photograph at a random scale, rotated a little, mirrored, mostly with a face in the crop.

    size: (width, height) of the crop, pixels; scales: see _scales; visible: see VISIBLE.
    backgrounds: the scenes that a portrait is pasted onto, where it does not fill the crop; zoom:
    whether ZOOMED applies.
    """
    photograph, faces, ignored, scale = _scaled(source, scales, zoom, rng)
    sides = np.array([photograph.shape[1], photograph.shape[0]], dtype=float)
    linear, offset = _random_affine(sides, np.array(size), faces, scale, source.portrait, rng)
    scene = None
    if source.portrait and backgrounds and backgrounds.images and rng.random() < PASTED:
        scene = backgrounds.draw(rng)
    border = cv2.BORDER_CONSTANT if scene or rng.random() < 0.7 else cv2.BORDER_REFLECT
    # In OpenCV the centre of the first pixel is at 0; in a box it is at 0.5.
    matrix = np.column_stack([linear, offset + linear @ np.array([0.5, 0.5]) - 0.5])
    image = cv2.warpAffine(
        photograph,
        matrix,
        size,
        flags=cv2.INTER_LINEAR if rng.random() < 0.8 else cv2.INTER_CUBIC,
        borderMode=border,
        borderValue=rng.integers(0, 256, 3).tolist(),
    )
    faces, hidden = _visible(_transformed(faces, linear, offset), size, visible)
    ignored = np.concatenate([hidden, _transformed(ignored, linear, offset)])
    if border == cv2.BORDER_REFLECT:  # mirrored faces are faces without known boxes
        low, high = _extent(sides, linear, offset)
        width, height = size
        outside = [
            (0, 0, low[0], height), (high[0], 0, width, height),
            (0, 0, width, low[1]), (0, high[1], width, height),
        ]  # fmt: skip
        ignored = np.concatenate([ignored, np.array(outside, np.float32)])
    if scene:
        covered = cv2.warpAffine(np.ones(photograph.shape[:2], np.uint8), matrix, size)
        if not covered.all():
            behind = _crop(scene, size, MOSAIC_SCALE, VISIBLE_IN_MOSAIC, None, rng)
            image = np.where(covered[..., None] > 0, image, behind[0])
            ratios = np.array([covered_ratio(covered, box) for box in behind[1]])
            free = ratios <= 1 - VISIBLE_IN_MOSAIC
            faces = np.concatenate([faces, behind[1][free]])
            ignored = np.concatenate([ignored, behind[1][~free], behind[2]])
    return image, faces, ignored.astype(np.float32)


def _scaled(
    source: AnnotatedImage, scales: Scales, zoom: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """A photograph, its faces and boxes to ignore, and the scale that is still to be applied."""
    photograph, shrunk = _read(source.path)
    faces, ignored = source.faces * shrunk, source.ignore_boxes * shrunk
    scale = np.exp(rng.uniform(*np.log(scales)))
    if source.portrait:
        widths = faces[:, 2] - faces[:, 0] if len(faces) else np.array([photograph.shape[1] / 2])
        scale /= max(1.0, float(widths.max()))
    else:
        usual = LONGER_SIDE / max(photograph.shape[:2])
        scale *= usual
        if zoom and len(faces) and rng.random() < ZOOMED:
            face = faces[int(rng.integers(len(faces)))]
            width = np.exp(rng.uniform(*np.log(ZOOMED_FACE)))
            scale = float(np.clip(width / max(1.0, face[2] - face[0]), *(usual * np.array(ZOOM))))
    if scale < SMOOTH_SCALE and rng.random() < 0.7:
        ratio = SMOOTH_MARGIN * scale
        photograph = cv2.resize(photograph, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)
        faces, ignored, scale = faces * ratio, ignored * ratio, scale / ratio
    return photograph, faces, ignored, scale


def _random_affine(
    sides: np.ndarray,
    crop: np.ndarray,
    faces: np.ndarray,
    scale: float,
    portrait: bool,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """A random affine map, (2, 2) and (2,), of a photograph of these sides to a crop of those."""
    chance = rng.random()
    degrees = rng.normal(0, ROTATION_DEGREES) if chance < 0.4 else 0.0
    if chance > 1 - TILTED:
        degrees = rng.uniform(-TILT_DEGREES, TILT_DEGREES)
    angle = np.deg2rad(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    aspect = np.exp(rng.uniform(-ASPECT, ASPECT))
    mirror = rng.choice([-1.0, 1.0])
    linear = rotation @ np.diag([scale * aspect * mirror, scale / aspect])
    if len(faces) and rng.random() < 0.8:  # a face, at a random position of the crop
        face = faces[int(rng.integers(len(faces)))]
        centre, position = (face[:2] + face[2:]) / 2, rng.uniform(0.1, 0.9, 2) * crop
        if portrait and rng.random() < 0.7:  # wholly inside, as in photographs of oneself
            half = np.minimum((face[2:] - face[:2]) * scale, crop) / 2
            position = rng.uniform(half, crop - half)
    else:
        centre, position = rng.uniform(0, 1, 2) * sides, crop / 2
    offset = position - linear @ centre
    # Move the photograph so that as little of the crop as possible is empty.
    low, high = _extent(sides, linear, offset)
    return linear, offset + np.clip(0, *np.sort([-low, crop - high], axis=0))


def _extent(
    sides: np.ndarray, linear: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest x and y of a photograph after an affine map."""
    corners = np.array([[0, 0], [sides[0], 0], sides, [0, sides[1]]]) @ linear.T + offset
    return corners.min(axis=0), corners.max(axis=0)


def _visible(
    faces: np.ndarray, size: tuple[int, int], visible: float
) -> tuple[np.ndarray, np.ndarray]:
    """The faces of which enough is inside the crop, and the other ones; clipped to the crop."""
    clipped = np.clip(faces, 0, np.tile(np.array(size, np.float32), 2))
    areas = np.prod(faces[:, 2:] - faces[:, :2], axis=1)
    ratios = np.prod(clipped[:, 2:] - clipped[:, :2], axis=1) / np.maximum(areas, 1e-6)
    large = (faces[:, 2:] - faces[:, :2]).min(axis=1) >= SMALLEST_FACE
    kept = (ratios >= visible) & large
    return clipped[kept], clipped[~kept & (ratios > 0)]


def covered_ratio(covered: np.ndarray, box: np.ndarray) -> float:
    """The ratio of a box's pixels that are 1 in a mask, (height, width)."""
    x1, y1, x2, y2 = np.rint(box).astype(int)
    pixels = covered[y1:y2, x1:x2]
    return float(pixels.mean()) if pixels.size else 0.0


def _transformed(boxes: np.ndarray, linear: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """The boxes of the same faces after an affine map. A rotation leaves the sides as they are."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 @ linear.T + offset
    half = (boxes[:, 2:] - boxes[:, :2]) / 2 * np.linalg.norm(linear, axis=0)
    return np.concatenate([centres - half, centres + half], axis=1).astype(np.float32)


@lru_cache(CACHED_PHOTOGRAPHS)
def _read(path: Path) -> tuple[np.ndarray, float]:
    """A photograph, BGR uint8, shrunk to at most LONGER_SIDE; and the ratio it was shrunk by."""
    image = read_image(path)
    scale = min(1.0, LONGER_SIDE / max(image.shape[:2]))
    if scale < 1.0:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return image, scale
