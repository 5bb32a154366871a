"""The training images: annotated boxes and pseudo-labels of YuNet, all in one box convention.

What only one of an annotation and YuNet holds for a face is often one all the same, so that it is
ignored in training: it counts neither as a face nor as background.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import compress
from pathlib import Path

import numpy as np

from facemask.class_names import WITH_MASK, WITHOUT_MASK
from facemask.data.drawn_masks import wear_mask
from facemask.data.scenes import Scene
from facemask.errors import FacemaskError
from facemask.geometry import as_array, ious
from facemask.images import read_image, write_image
from facemask.media import open_media
from facemask.train_face_detector.label_store import PseudoLabel
from facemask.train_face_detector.samples import AnnotatedImage

# A pseudo-label of more confidence is a face; of less, down to the second, it is ignored in
# training. Below are mostly sleeves, necks and leaves, which are to be learnt as background.
FACE_CONFIDENCE, IGNORE_CONFIDENCE = 0.8, 0.55
# A pseudo-label is of an annotated face above the first IoU, and of none below the second.
SAME_FACE_IOU, OTHER_FACE_IOU = 0.4, 0.2
# Conventions are measured on faces of at least this width, in pixels, since annotated boxes are in
# whole pixels; and of at least so many faces, or they count as those of YuNet's boxes.
MEASURED_WIDTH, MEASURED_FACES = 24, 20
# Masks are drawn on faces of at least this width.
DRAWN_WIDTH = 20
FRAMES_PER_SECOND = 2.0  # of a video: frames that are nearer in time are almost the same
DEFAULT_FPS = 25.0  # of a video that does not state its frame rate

# By folder of scenes and by whether the faces are unmasked: the median difference between the
# annotated boxes and YuNet's, of the left, top, right and bottom side, as ratios of the width and
# the height of YuNet's box. (4,) each.
Conventions = dict[tuple[str, bool], np.ndarray]
Labels = Callable[[Path, bool], list[PseudoLabel]]  # see LabelStore.labels


def measure_conventions(scenes: Iterable[tuple[Scene, str]], labels: Labels) -> Conventions:
    """The conventions of scenes, each with its folder's name, as far as there are enough faces."""
    offsets: dict[tuple[str, bool], list[np.ndarray]] = {}
    for scene, source in scenes:
        faces = face_boxes(scene)
        for label in labels(scene.path, False) if len(faces) else ():
            overlaps = ious(label.box, faces)
            best = int(overlaps.argmax())
            width = faces[best, 2] - faces[best, 0]
            if overlaps[best] > SAME_FACE_IOU and width >= MEASURED_WIDTH:
                key = source, scene.faces[best].label == WITHOUT_MASK
                offsets.setdefault(key, []).append((faces[best] - label.box) / _sides(label.box))
    return {
        key: np.median(values, axis=0)
        for key, values in offsets.items()
        if len(values) >= MEASURED_FACES
    }


class Annotator:
    """Makes training images of photographs; all boxes get one convention.

    It is the mean of those of the folders that people annotated: a network can't tell which folder
    a face is from, and with the convention of one of them, many of its boxes have an IoU below .5
    with the faces of the others.
    """

    def __init__(self, labels: Labels, conventions: Conventions, folders: Collection[str]):
        """folders: the names of those that people annotated."""
        self._labels = labels
        self._conventions = conventions
        self._reference = {
            unmasked: np.mean(
                [
                    offsets
                    for (source, kind), offsets in conventions.items()
                    if source in folders and kind == unmasked
                ]
                or [np.zeros(4)],
                axis=0,
            )
            for unmasked in (False, True)
        }

    def scene(self, scene: Scene, source: str, detected: bool) -> AnnotatedImage:
        """A scene of a folder of this name; faces that only YuNet finds are ignored.

        detected: whether the boxes are a detector's. Those that YuNet does not have are ignored.
        """
        labels = self._labels(scene.path, False)
        annotated = face_boxes(scene)
        faces = self._converted(scene, source)
        overlaps = [ious(label.box, annotated) for label in labels]
        ignored = [
            label.box
            for label, values in zip(labels, overlaps, strict=True)
            if label.confidence > IGNORE_CONFIDENCE and values.max(initial=0) < OTHER_FACE_IOU
        ]
        seen = np.array(overlaps).reshape(-1, len(faces)).max(axis=0, initial=0)
        kept = seen >= OTHER_FACE_IOU if detected else np.ones(len(faces), bool)
        ignored += list(faces[~kept])
        return AnnotatedImage(
            scene.path,
            faces[kept],
            _array(ignored),
            portrait=False,
            source=source,
            labels=tuple(compress((face.label for face in scene.faces), kept)),
        )

    def _converted(self, scene: Scene, source: str) -> np.ndarray:
        faces = face_boxes(scene)
        for number, face in enumerate(scene.faces):
            unmasked = face.label == WITHOUT_MASK
            offsets = self._conventions.get((source, unmasked))
            if offsets is not None:
                # As if YuNet's box were known: the sides' lengths are of the annotated one.
                change = self._reference[unmasked] - offsets
                faces[number] += change * _sides(faces[number])
        return faces

    def pseudo_labelled(
        self, path: Path, portrait: bool, kind: str, source: str = ""
    ) -> AnnotatedImage | None:
        """A photograph without annotations; None where YuNet finds no face with confidence.

        portrait: whether a face fills it; kind: the class of most faces in it.
        """
        height, width = read_image(path).shape[:2]
        faces, ignored = [], []
        for label in self._labels(path, portrait):
            box = label.box + self._reference[kind == WITHOUT_MASK] * _sides(label.box)
            box = np.clip(box, 0, [width, height, width, height])  # faces fill a portrait, and more
            if label.confidence > FACE_CONFIDENCE:
                faces.append(box)
            elif label.confidence > IGNORE_CONFIDENCE:
                ignored.append(box)
        if not faces:
            return None
        kinds = (kind,) * len(faces)
        return AnnotatedImage(path, _array(faces), _array(ignored), portrait, 1.0, source, kinds)

    def with_masks(
        self, image: AnnotatedImage, copy: Path, rng: np.random.Generator
    ) -> AnnotatedImage | None:
        """A copy of an image, written here, with a mask drawn onto each face that YuNet is sure of.

        None where there is no such face.
        """
        pixels = read_image(image.path)
        masked = np.zeros(len(image.faces), bool)
        for label in self._labels(image.path, image.portrait):
            overlaps = ious(label.box, image.faces)
            width = label.box[2] - label.box[0]
            if (
                label.confidence > FACE_CONFIDENCE
                and width >= DRAWN_WIDTH
                and overlaps.max(initial=0) > SAME_FACE_IOU
            ):
                masked[overlaps.argmax()] = True
                pixels = wear_mask(pixels, label.landmarks, "proper", rng)
        if not masked.any():
            return None
        write_image(copy, pixels)
        labels = tuple(np.where(masked, WITH_MASK, image.labels).tolist())
        return replace(image, path=copy, labels=labels)

    def frames(self, video: Path, folder: Path) -> list[AnnotatedImage]:
        """Some frames of a video that have faces, written as images into an empty folder.

        Raises FacemaskError for a file that can't be read as a video.
        """
        images = []
        for number, frame in enumerate(sampled_frames(video)):
            path = folder / f"{number:05}.png"
            write_image(path, frame)
            image = self.pseudo_labelled(path, portrait=False, kind=WITHOUT_MASK)
            images += [image] if image else []
        return images


# Limits between groups of face widths, in pixels, that are to be shown alike.
WIDTH_GROUPS = (0, 16, 32, 64, 128, 100_000)
LARGEST_WEIGHT = 4.0


def balanced(images: Sequence[AnnotatedImage]) -> list[AnnotatedImage]:
    """The images with weights, so that kinds and sizes of faces appear more alike.

    A face of a kind (unmasked or not) and a group of widths weighs as the inverse of the square
    root of their number; an image as the square root of its faces' sum, 1 on average. One without a
    face weighs half of the average.
    """
    groups = [
        [
            (label == WITHOUT_MASK, int(np.searchsorted(WIDTH_GROUPS, box[2] - box[0])))
            for label, box in zip(image.labels or [""] * len(image.faces), image.faces, strict=True)
        ]
        for image in images
    ]
    counts = Counter(group for of_image in groups for group in of_image)
    raw = [math.sqrt(sum(counts[group] ** -0.5 for group in of_image)) for of_image in groups]
    mean = float(np.mean([value for value in raw if value] or [1.0]))
    return [
        replace(image, weight=min(value / mean, LARGEST_WEIGHT) if value else 0.5)
        for image, value in zip(images, raw, strict=True)
    ]


def sampled_frames(path: Path) -> Iterator[np.ndarray]:
    """FRAMES_PER_SECOND frames of each second of a video, (height, width, 3) uint8, BGR, upright.

    Seconds count by the mean frame rate: other frames would need pseudo-labels anew.
    Raises FacemaskError for a file that can't be read as a video.
    """
    from av.error import FFmpegError

    due = 0.0
    try:
        with open_media(path) as container:
            stream = container.streams.video[0]
            rate = float(stream.average_rate or DEFAULT_FPS)
            for number, frame in enumerate(container.decode(stream)):
                if number / rate >= due:
                    due += 1 / FRAMES_PER_SECOND
                    image = frame.to_ndarray(format="bgr24")
                    yield np.ascontiguousarray(np.rot90(image, frame.rotation // 90))
    except (FFmpegError, IndexError) as error:  # IndexError: no video stream
        raise FacemaskError(
            f"{path}: expected a video, found a file that can't be read as one"
            f" ({' '.join(str(error).split())})"
        ) from error


def annotated(scene: Scene, source: str) -> AnnotatedImage:
    """A scene of a folder of this name, with its annotated faces alone, as they are."""
    faces = face_boxes(scene)
    labels = tuple(face.label for face in scene.faces)
    return AnnotatedImage(scene.path, faces, _array([]), False, 1.0, source, labels)


def face_boxes(scene: Scene) -> np.ndarray:
    """The boxes of a scene's annotated faces, (N, 4) float32, xyxy in pixels."""
    return as_array([face.box for face in scene.faces]).astype(np.float32)


def _sides(box: np.ndarray) -> np.ndarray:
    return np.tile(box[2:] - box[:2], 2)


def _array(boxes: Sequence[np.ndarray]) -> np.ndarray:
    return np.array(boxes, np.float32).reshape(-1, 4)
