"""Copies of training images with masks drawn onto their unmasked faces, mostly worn incorrectly.

Photographs of masks that are worn incorrectly are rare. Some of the drawn masks are worn properly,
or a model could take all that is drawn for incorrect.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from facemask.class_names import WITHOUT_MASK, same_class
from facemask.data.dataset import LabelledImages, Progress, concatenate, no_progress
from facemask.data.drawn_masks import WAYS, wear_mask
from facemask.data.splits import Split
from facemask.detect.yunet import YuNetFaceDetector
from facemask.geometry import FaceBox
from facemask.images import read_image, write_image
from facemask.threads import with_own

SOURCE = "drawn masks"  # its name among the sources of a model
COPIED = 0.5  # ratio of the unmasked faces
# How often each way is drawn. Under the chin and below the nose are what people do most.
CHANCES = {
    "proper": 0.3, "below_nose": 0.28, "on_chin": 0.24, "on_forehead": 0.03, "mouth_out": 0.05,
    "over_eyes": 0.04, "dangling": 0.06,
}  # fmt: skip
LEAST_EYES = 8.0  # pixels between them; in smaller faces a drawn mask is a blot
LEAST_IOU = 0.4  # of YuNet's box with the known one


def add_drawn_copies(
    images: LabelledImages,
    split: Split,
    load: Callable[[], YuNetFaceDetector],
    folder: Path,
    seed: int,
    progress: Progress = no_progress,
) -> tuple[LabelledImages, Split]:
    """The images and the split with drawn copies of unmasked faces in the training part.

    load: makes YuNet, which finds the eyes, noses and mouths, for each thread. folder: an empty
    one for the copies. The same seed gives the same copies. Images whose face YuNet does not find
    get none. Raises FacemaskError when an image can't be read, or a copy can't be written.
    """
    unmasked = same_class(WITHOUT_MASK, images.class_names)
    label = {way: same_class(name, images.class_names) for way, name in WAYS.items()}
    ways = [way for way in CHANCES if label[way] is not None]
    chances = np.array([CHANCES[way] for way in ways])
    drawn: list[tuple[int, str]] = []
    for index in split.train.tolist():
        rng = np.random.default_rng([seed, index])
        if images.class_names[images.labels[index]] == unmasked and rng.random() < COPIED:
            drawn.append((index, str(rng.choice(ways, p=chances / chances.sum()))))
    folder.mkdir(parents=True, exist_ok=True)

    def draw(item: tuple[int, str], yunet: YuNetFaceDetector) -> Path | None:
        index, way = item
        image = read_image(images.paths[index])
        landmarks = _landmarks(image, images.boxes[index], yunet)
        if landmarks is None:
            return None
        path = folder / f"{index:06}.png"
        write_image(path, wear_mask(image, landmarks, way, np.random.default_rng([seed, index, 1])))
        return path

    with closing(with_own(draw, drawn, load)) as paths:
        written = list(progress(paths, total=len(drawn)))
    chosen = [
        (index, way, path)
        for (index, way), path in zip(drawn, written, strict=True)
        if path is not None
    ]
    if not chosen:
        return images, split
    rows = np.array([index for index, _, _ in chosen])
    names = [images.class_names.index(str(label[way])) for _, way, _ in chosen]
    copies = replace(
        images,
        paths=tuple(path for _, _, path in chosen),
        boxes=tuple(images.boxes[row] for row in rows),
        labels=np.array(names, np.int64),
        sources=np.zeros(len(rows), np.int64),
        originals=tuple(images.originals[row] for row in rows),
        digests=tuple(images.digests[row] for row in rows),
        source_names=(SOURCE,),
        skipped=(),
    )
    train = np.concatenate([split.train, np.arange(len(images), len(images) + len(rows))])
    return concatenate(images, copies), replace(split, train=train)


def _landmarks(
    image: np.ndarray, box: FaceBox | None, yunet: YuNetFaceDetector
) -> np.ndarray | None:
    """The landmarks of the face in a box or, without one, of the only face; None if not found."""
    faces = yunet.detect_landmarks(image)
    if box is not None:
        faces = [face for face in faces if face[0].iou(box) >= LEAST_IOU]
    elif len(faces) != 1:
        return None
    landmarks = next((points for _, points in faces), None)
    if landmarks is None or np.linalg.norm(landmarks[1] - landmarks[0]) < LEAST_EYES:
        return None
    return landmarks
