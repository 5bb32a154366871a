"""Random views of photographs with known faces, for the built-in face detector to learn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facemask.data.augmentation import photometric_jitter, random_noise
from facemask.images import read_image
from facemask.keras_backend import load_keras
from facemask.train_face_detector.targets import assign_targets

# Kept in memory, at most, as small as training shows them: about 0.4 MB each.
CACHED_PHOTOGRAPHS = 4000
LONGER_SIDE = 640  # pixels, to which use stretches or shrinks every photograph

# How a scene is scaled beside its size at use, and how wide a portrait's face becomes, in pixels
# and in parts of the window.
SCENE_SCALE = (0.6, 1.8)
PORTRAIT_FACE = (50.0, 0.9)
MOSAIC_SCALE = (0.4, 1.3)
MOSAIC_FACE = (12.0, 0.36)
PORTRAITS = 0.35  # of the photographs
ASPECT = 0.12
ROTATION_DEGREES = 10.0
MOSAICS = 0.6  # of the samples
# Of a face that is cut off, so much must be seen to be asked for; of less, it may be either. In
# the midst of a mosaic half a face is not what an image's edge makes of it.
SEEN, SEEN_IN_MOSAIC = 0.55, 0.85
LEAST_FACE = 5.0  # pixels across; smaller ones may be either
LAID_UPON_SCENES = 0.8  # of the portraits that do not fill their window
DARK = 0.1  # of the samples are of dark rooms
NOISE = 40.0  # standard deviation, at most, of 255


@dataclass(frozen=True)
class AnnotatedImage:
    """A photograph and the boxes in it, (N, 4) float32 each, xyxy in pixels.

    faces: those that are asked for; unsure: where there may be a face or not.
    """

    path: Path
    faces: np.ndarray
    unsure: np.ndarray
    portrait: bool  # whether its faces fill it
    times: int = 1  # how often it is shown, beside others of its kind


def face_batches(
    photographs: Sequence[AnnotatedImage],
    shapes: Sequence[tuple[int, int]],
    steps: int,
    seed: int,
    epoch: int,
) -> Any:
    """A keras.utils.PyDataset of (windows, size, size, 3) float32, BGR, 0 to 255, and answers.

    shapes: size, in pixels, and windows of batches, which take turns. The answers are those of
    face_targets.assign_targets. Each epoch has so many steps. The same seed and epoch give the same
    batches.
    """
    keras = load_keras()
    kinds = of_kind(photographs)

    class FaceBatches(keras.utils.PyDataset):
        def __init__(self) -> None:
            super().__init__(workers=2, max_queue_size=8)
            self._epoch = epoch

        def __len__(self) -> int:
            return steps

        def on_epoch_end(self) -> None:
            self._epoch += 1

        def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
            size, windows = shapes[number % len(shapes)]
            made = [
                sample(kinds, size, np.random.default_rng((seed, self._epoch, number, one)))
                for one in range(windows)
            ]
            images = np.stack([image for image, _, _ in made]).astype(np.float32)
            return images, np.stack(
                [assign_targets(faces, unsure, size, size) for _, faces, unsure in made]
            )

    return FaceBatches()


def of_kind(photographs: Sequence[AnnotatedImage]) -> list[list[AnnotatedImage]]:
    """The scenes, and the portraits, each as many times as it is to be shown."""
    return [
        [one for one in photographs if one.portrait == portrait for _ in range(one.times)]
        for portrait in (False, True)
    ]


def sample(
    kinds: Sequence[Sequence[AnnotatedImage]], size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A random view: (size, size, 3) uint8, and the boxes of the faces and of the unsure in it.

    kinds: the scenes, and the portraits.
    """
    if rng.random() < MOSAICS:
        image, faces, unsure = _mosaic(kinds, size, rng)
    else:
        one = _choose(kinds, rng)
        low, high = PORTRAIT_FACE
        scales = (low, high * size) if one.portrait else SCENE_SCALE
        image, faces, unsure = _view(one, size, size, scales, SEEN, kinds[0], rng)
    image = photometric_jitter(image, rng)
    if rng.random() < DARK:
        image = cv2.convertScaleAbs(image, alpha=rng.uniform(0.25, 0.6))
    chance = rng.random()
    if chance < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.8))
    elif chance < 0.3:
        quality = int(rng.integers(30, 90))
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    elif chance < 0.45:
        image = random_noise(image, rng, NOISE, coloured=bool(rng.random() < 0.5))
    return image, faces, unsure


def _choose(kinds: Sequence[Sequence[AnnotatedImage]], rng: np.random.Generator) -> AnnotatedImage:
    kind = kinds[int(rng.random() < PORTRAITS)] or kinds[0] or kinds[1]
    return kind[int(rng.integers(len(kind)))]


def _mosaic(
    kinds: Sequence[Sequence[AnnotatedImage]], size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four photographs around a point, as Bochkovskiy et al., YOLOv4, 2020, have it."""
    x, y = (int(side) for side in rng.uniform(0.3, 0.7, 2) * size)
    image = np.empty((size, size, 3), np.uint8)
    faces, unsure = [], []
    for left, top, right, bottom in (
        (0, 0, x, y),
        (x, 0, size, y),
        (0, y, x, size),
        (x, y, size, size),
    ):
        one = _choose(kinds, rng)
        low, high = MOSAIC_FACE
        scales = (low, high * size) if one.portrait else MOSAIC_SCALE
        sides = right - left, bottom - top
        part, *boxes = _view(one, *sides, scales, SEEN_IN_MOSAIC, kinds[0], rng)
        image[top:bottom, left:right] = part
        for found, all_of_them in zip(boxes, (faces, unsure), strict=True):
            all_of_them.append(found + np.tile(np.array([left, top], np.float32), 2))
    return image, np.concatenate(faces), np.concatenate(unsure)


def _view(
    one: AnnotatedImage,
    width: int,
    height: int,
    scales: tuple[float, float],
    least_seen: float,
    behind: Sequence[AnnotatedImage],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A window of a photograph: scaled, turned a little, mirrored, most often with a face in it.

    behind: what a portrait may be laid upon, where it does not fill the window.
    """
    photograph, shrunk = _read(one.path)
    faces, unsure = one.faces * shrunk, one.unsure * shrunk
    scale = np.exp(rng.uniform(*np.log(scales)))
    if one.portrait:
        widths = faces[:, 2] - faces[:, 0] if len(faces) else np.array([photograph.shape[1] / 2])
        scale /= max(1.0, float(widths.max()))
    else:
        scale *= LONGER_SIDE / max(photograph.shape[:2])
    # A warp skips pixels where it shrinks; cameras and resizing do so only in part.
    if scale < 0.6 and rng.random() < 0.7:
        around = 1.2 * scale
        photograph = cv2.resize(
            photograph, None, fx=around, fy=around, interpolation=cv2.INTER_AREA
        )
        faces, unsure, scale = faces * around, unsure * around, scale / around

    degrees = rng.normal(0, ROTATION_DEGREES / 2) if rng.random() < 0.4 else 0.0
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    aspect = np.exp(rng.uniform(-ASPECT, ASPECT))
    mirror = rng.choice([-1.0, 1.0])
    linear = turn @ np.diag([scale * aspect * mirror, scale / aspect])
    sides = np.array([photograph.shape[1], photograph.shape[0]], dtype=float)
    if len(faces) and rng.random() < 0.8:  # about a face, which lies anywhere in the window
        face = faces[int(rng.integers(len(faces)))]
        target, there = (face[:2] + face[2:]) / 2, rng.uniform(0.1, 0.9, 2) * (width, height)
        if one.portrait and rng.random() < 0.7:  # wholly inside, as people show themselves
            half = np.minimum((face[2:] - face[:2]) * scale, (width, height)) / 2
            there = rng.uniform(half, np.array([width, height]) - half)
    else:
        target, there = rng.uniform(0, 1, 2) * sides, np.array([width, height]) / 2
    offset = there - linear @ target
    # As little as can be of what is not photograph: it teaches nothing.
    corners = np.array([[0, 0], [sides[0], 0], sides, [0, sides[1]]]) @ linear.T + offset
    spare = np.array([width, height]) - corners.max(axis=0)
    offset += np.clip(0, *np.sort([-corners.min(axis=0), spare], axis=0))
    laid = one.portrait and bool(behind) and rng.random() < LAID_UPON_SCENES
    border = cv2.BORDER_CONSTANT if laid or rng.random() < 0.7 else cv2.BORDER_REFLECT
    # OpenCV counts pixels from their middles, boxes from their corners.
    matrix = np.column_stack([linear, offset + linear @ np.array([0.5, 0.5]) - 0.5])
    image = cv2.warpAffine(
        photograph,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR if rng.random() < 0.8 else cv2.INTER_CUBIC,
        borderMode=border,
        borderValue=rng.integers(0, 256, 3).tolist(),
    )
    if border == cv2.BORDER_REFLECT:  # mirrored faces are faces, of which nobody knows the boxes
        corners = np.array([[0, 0], [sides[0], 0], sides, [0, sides[1]]]) @ linear.T + offset
        low, high = corners.min(axis=0), corners.max(axis=0)
        outside = [
            (0, 0, low[0], height), (high[0], 0, width, height),
            (0, 0, width, low[1]), (0, high[1], width, height),
        ]  # fmt: skip
    else:
        outside = []
    faces, unsure = _moved(faces, linear, offset), _moved(unsure, linear, offset)
    seen = np.clip(faces, 0, np.tile(np.array([width, height], np.float32), 2))
    sizes = np.prod(faces[:, 2:] - faces[:, :2], axis=1)
    share = np.prod(seen[:, 2:] - seen[:, :2], axis=1) / np.maximum(sizes, 1e-6)
    clear = (share >= least_seen) & ((faces[:, 2:] - faces[:, :2]).min(axis=1) >= LEAST_FACE)
    either = [seen[~clear & (share > 0)], unsure, np.array(outside, np.float32).reshape(-1, 4)]
    kept = seen[clear]
    if laid:
        filled = cv2.warpAffine(np.ones(photograph.shape[:2], np.uint8), matrix, (width, height))
        if not filled.all():
            scene = behind[int(rng.integers(len(behind)))]
            around = _view(scene, width, height, MOSAIC_SCALE, SEEN_IN_MOSAIC, (), rng)
            image = np.where(filled[..., None] > 0, image, around[0])
            free = np.array([_mean(filled, box) <= 1 - SEEN_IN_MOSAIC for box in around[1]], bool)
            kept = np.concatenate([kept, around[1][free]])
            either += [around[1][~free], around[2]]
    return image, kept, np.concatenate(either).astype(np.float32)


def _mean(filled: np.ndarray, box: np.ndarray) -> float:
    """Of how much of a box in the window something is laid upon; filled: 1 where that is so."""
    x1, y1, x2, y2 = np.rint(box).astype(int)
    part = filled[y1:y2, x1:x2]
    return float(part.mean()) if part.size else 0.0


def _moved(boxes: np.ndarray, linear: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Boxes of the same faces after an affine map; a turn moves them and leaves their sides."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2 @ linear.T + offset
    half = (boxes[:, 2:] - boxes[:, :2]) / 2 * np.linalg.norm(linear, axis=0)
    return np.concatenate([middles - half, middles + half], axis=1).astype(np.float32)


@lru_cache(CACHED_PHOTOGRAPHS)
def _read(path: Path) -> tuple[np.ndarray, float]:
    """A photograph as BGR uint8, no larger than use would have it; and how much it was shrunk."""
    image = read_image(path)
    scale = min(1.0, LONGER_SIDE / max(image.shape[:2]))
    if scale < 1.0:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return image, scale
