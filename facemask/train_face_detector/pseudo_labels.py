"""Pseudo-labels: the boxes of a stronger face detector, for photographs without annotations."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from facemask.data.scenes import Scene
from facemask.detect.yunet import YuNetFaceDetector
from facemask.errors import FacemaskError
from facemask.geometry import as_array, ious
from facemask.images import read_image, write_image
from facemask.sample_dataset.mask import PATTERNS, draw_mask, points_on_face
from facemask.train_face_detector.samples import AnnotatedImage

# A box above the first confidence is a face; one above the second is ignored in training.
FACE_CONFIDENCE, IGNORE_CONFIDENCE = 0.8, 0.4
# YuNet finds small faces only in an enlarged image.
ENLARGEMENT, ENLARGED_SIDE = 2.0, 1600
# Cropped faces fill their image, but YuNet expects a border around a face: a ratio of the image.
PADDING = 0.3
# A pseudo-label is of an annotated face above the first IoU, and of none below the second.
SAME_FACE_IOU, OTHER_FACE_IOU = 0.4, 0.2
# Unmasked faces are rarer in scenes, and more of them were missed: scenes that have some are shown
# this many times as often as others.
UNMASKED, UNMASKED_REPEAT = "without_mask", 2
FRAMES_PER_SECOND = 2.0  # of a video: frames that are nearer in time are almost the same
DEFAULT_FPS = 25.0  # of a video that does not state its frame rate


class PseudoLabel(NamedTuple):
    box: np.ndarray  # (4,) xyxy in pixels
    confidence: float
    landmarks: np.ndarray  # (5, 2), see YuNetFaceDetector.detect_landmarks


class PseudoLabeler:
    """YuNet, with its boxes brought to the shape of the annotated ones."""

    def __init__(self, detector: YuNetFaceDetector):
        self._detector = detector
        # Of the left, top, right and bottom side, as ratios of the box's width and height.
        self._offsets = np.zeros(4)

    def fit_offsets(self, scenes: Iterable[Scene]) -> None:
        """Measure the median difference between annotated boxes and YuNet's."""
        offsets = []
        for scene in scenes:
            faces = face_boxes(scene)
            for label in self._label(read_image(scene.path)):
                overlaps = ious(label.box, faces)
                if len(overlaps) and overlaps.max() > SAME_FACE_IOU:
                    offsets.append((faces[overlaps.argmax()] - label.box) / _sides(label.box))
        if offsets:
            self._offsets = np.median(offsets, axis=0)

    def scene(self, scene: Scene) -> AnnotatedImage:
        """A scene with its annotated faces; faces that only YuNet finds are ignored."""
        faces = face_boxes(scene)
        ignored = [
            label.box
            for label in self._label(read_image(scene.path))
            if label.confidence > IGNORE_CONFIDENCE
            and (not len(faces) or ious(label.box, faces).max() < OTHER_FACE_IOU)
        ]
        unmasked = any(face.label == UNMASKED for face in scene.faces)
        repeat = UNMASKED_REPEAT if unmasked else 1
        return AnnotatedImage(scene.path, faces, _array(ignored), portrait=False, repeat=repeat)

    def portrait(self, path: Path) -> AnnotatedImage | None:
        """A photograph that a face fills; None where YuNet finds no face with confidence."""
        return _labelled(path, self._label_portrait(read_image(path)), portrait=True)

    def masked_portrait(
        self, path: Path, copy: Path, rng: np.random.Generator
    ) -> AnnotatedImage | None:
        """The same, of a copy that is written here and has a mask drawn onto each face."""
        image = read_image(path)
        labels = self._label_portrait(image)
        for label in labels:
            if label.confidence > FACE_CONFIDENCE:
                image = draw_mask(
                    image,
                    points_on_face(label.landmarks),
                    rng.uniform(20, 250, 3),
                    light=(rng.uniform(-0.5, 0.5), rng.uniform(-0.8, 0)),
                    pleats=int(rng.integers(0, 4)),
                    pattern=str(rng.choice(PATTERNS, p=[0.7, 0.1, 0.1, 0.1])),
                    rng=rng,
                )
        write_image(copy, image)
        return _labelled(copy, labels, portrait=True)

    def frames(self, video: Path, folder: Path) -> list[AnnotatedImage]:
        """Some frames of a video that have faces, written as images into an empty folder.

        Raises FacemaskError for a file that can't be read as a video.
        """
        images = []
        for number, frame in enumerate(sampled_frames(video)):
            path = folder / f"{number:05}.png"
            write_image(path, frame)
            image = _labelled(path, self._label(frame), portrait=False)
            images += [image] if image else []
        return images

    def _label_portrait(self, image: np.ndarray) -> list[PseudoLabel]:
        pad = round(PADDING * max(image.shape[:2]))
        padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        limits = np.tile([image.shape[1], image.shape[0]], 2)
        return [
            PseudoLabel(np.clip(box - pad, 0, limits), confidence, landmarks - pad)
            for box, confidence, landmarks in self._label(padded)
        ]

    def _label(self, image: np.ndarray) -> list[PseudoLabel]:
        scale = min(ENLARGEMENT, max(1.0, ENLARGED_SIDE / max(image.shape[:2])))
        enlarged = cv2.resize(image, None, fx=scale, fy=scale)
        labels = []
        for face, landmarks in self._detector.detect_landmarks(enlarged, IGNORE_CONFIDENCE):
            box = np.array([face.x1, face.y1, face.x2, face.y2]) / scale
            box += self._offsets * _sides(box)
            labels.append(PseudoLabel(box, face.confidence, landmarks / scale))
        return labels


def sampled_frames(path: Path) -> Iterator[np.ndarray]:
    """FRAMES_PER_SECOND frames of each second of a video, (height, width, 3) uint8, BGR, upright.

    Raises FacemaskError for a file that can't be read as a video.
    """
    import av
    from av.error import FFmpegError

    due = 0.0
    try:
        # Absolute, since FFmpeg takes what stands before a colon in a name for a protocol. Titles
        # and the like are decoded, too, and may be in any encoding.
        with av.open(str(path.absolute()), metadata_errors="replace") as container:
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
    """A scene of a folder of this name, with its annotated faces alone."""
    faces = face_boxes(scene)
    return AnnotatedImage(scene.path, faces, _array([]), portrait=False, source=source)


def face_boxes(scene: Scene) -> np.ndarray:
    """The boxes of a scene's annotated faces, (N, 4) float32, xyxy in pixels."""
    return as_array([face.box for face in scene.faces]).astype(np.float32)


def _labelled(path: Path, labels: Sequence[PseudoLabel], portrait: bool) -> AnnotatedImage | None:
    faces = [label.box for label in labels if label.confidence > FACE_CONFIDENCE]
    ignored = [label.box for label in labels if label.confidence <= FACE_CONFIDENCE]
    return AnnotatedImage(path, _array(faces), _array(ignored), portrait) if faces else None


def _sides(box: np.ndarray) -> np.ndarray:
    return np.tile(box[2:] - box[:2], 2)


def _array(boxes: Sequence[np.ndarray]) -> np.ndarray:
    return np.array(boxes, np.float32).reshape(-1, 4)
