"""Boxes from a stronger face detector, for photographs that nobody annotated, or not in full."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from facemask.data.dataset import Progress, no_progress
from facemask.data.pascal_voc import Scene
from facemask.detect.yunet import YuNetFaceDetector
from facemask.geometry import ious
from facemask.images import read_image, write_image
from facemask.sample_dataset.mask import PATTERNS, draw_mask, points_on_face
from facemask.train_face_detector.samples import AnnotatedImage
from facemask.video.sources import FileSource

# A teacher's box of more confidence is a face; of more than the second, it may be one.
SURE, UNSURE = 0.8, 0.4
# The teacher sees small faces when it is shown them enlarged.
ENLARGED = 2.0
# Cut faces fill their image; the teacher knows faces with something around them.
PADDING = 0.3
SAME_FACE_IOU = 0.4
# Bare faces are the rarer ones in scenes, and were missed more often: scenes that have some are
# shown so many times for once of the others.
TIMES_BARE = 2
BARE = "without_mask"  # the class of such faces
FRAMES_A_SECOND = 2.0  # of a video; between them little changes


class Teacher:
    """YuNet, its boxes brought to the shape that annotators gave theirs."""

    def __init__(self, detector: YuNetFaceDetector):
        self._detector = detector
        # Of left, top, right and bottom in parts of the box's width and height.
        self._offsets = np.zeros(4)

    def learn(self, scenes: Iterable[Scene], progress: Progress = no_progress) -> None:
        """Measure how annotated boxes differ from the teacher's, on the median."""
        offsets = []
        for scene in scenes:
            annotated = face_boxes(scene)
            for box, _, _ in self._find(read_image(scene.path)):
                shares = ious(box, annotated)
                if len(shares) and shares.max() > SAME_FACE_IOU:
                    offsets.append((annotated[shares.argmax()] - box) / _sides(box))
        if offsets:
            self._offsets = np.median(offsets, axis=0)

    def scene(self, scene: Scene) -> AnnotatedImage:
        """A scene with its annotated faces; where the teacher alone sees one, there may be one."""
        faces = face_boxes(scene)
        found = self._find(read_image(scene.path))
        unsure = [
            box
            for box, confidence, _ in found
            if confidence > UNSURE and (not len(faces) or ious(box, faces).max() < 0.2)
        ]
        bare = any(face.label == BARE for face in scene.faces)
        times = TIMES_BARE if bare else 1
        return AnnotatedImage(scene.path, faces, _array(unsure), portrait=False, times=times)

    def portrait(self, path: Path) -> AnnotatedImage | None:
        """A photograph without annotations; None where the teacher is sure of no face."""
        found = self._find_in_cut(read_image(path))
        return _labelled(path, found, portrait=True)

    def masked(self, path: Path, to: Path, rng: np.random.Generator) -> AnnotatedImage | None:
        """The same of a copy, written to `to`, in which each face wears a mask drawn onto it."""
        image = read_image(path)
        found = self._find_in_cut(image)
        for _, confidence, landmarks in found:
            if confidence > SURE:
                image = draw_mask(
                    image,
                    points_on_face(landmarks),
                    rng.uniform(20, 250, 3),
                    light=(rng.uniform(-0.5, 0.5), rng.uniform(-0.8, 0)),
                    pleats=int(rng.integers(0, 4)),
                    pattern=str(rng.choice(PATTERNS, p=[0.7, 0.1, 0.1, 0.1])),
                    rng=rng,
                )
        write_image(to, image)
        return _labelled(to, found, portrait=True)

    def frames(self, path: Path, folder: Path) -> list[AnnotatedImage]:
        """Some frames of a video, as images written into an empty folder, with their faces."""
        photographs, due = [], 0.0
        with FileSource(str(path), path) as source:
            for time_s, frame in source.frames():
                if time_s < due:
                    continue
                due += 1 / FRAMES_A_SECOND
                to = folder / f"{len(photographs):05}.png"
                write_image(to, frame)
                one = _labelled(to, self._find(frame), portrait=False)
                photographs += [one] if one else []
        return photographs

    def _find_in_cut(self, image: np.ndarray) -> list["Found"]:
        """The faces of an image that they may fill, as _find has them."""
        pad = round(PADDING * max(image.shape[:2]))
        padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        limits = np.tile([image.shape[1], image.shape[0]], 2)
        return [
            (np.clip(box - pad, 0, limits), confidence, landmarks - pad)
            for box, confidence, landmarks in self._find(padded)
        ]

    def _find(self, image: np.ndarray) -> list["Found"]:
        enlarge = min(ENLARGED, max(1.0, 1600 / max(image.shape[:2])))
        large = cv2.resize(image, None, fx=enlarge, fy=enlarge)
        found = []
        for face, landmarks in self._detector.detect_landmarks(large, UNSURE):
            box = np.array([face.x1, face.y1, face.x2, face.y2]) / enlarge
            box += self._offsets * _sides(box)
            found.append((box, face.confidence, landmarks / enlarge))
        return found


Found = tuple[np.ndarray, float, np.ndarray]  # box, confidence, landmarks; pixels


def _labelled(path: Path, found: Sequence[Found], portrait: bool) -> AnnotatedImage | None:
    sure = [box for box, confidence, _ in found if confidence > SURE]
    unsure = [box for box, confidence, _ in found if SURE >= confidence > UNSURE]
    return AnnotatedImage(path, _array(sure), _array(unsure), portrait) if sure else None


def annotated(scene: Scene) -> AnnotatedImage:
    """A scene with its annotated faces alone."""
    return AnnotatedImage(scene.path, face_boxes(scene), _array([]), portrait=False)


def face_boxes(scene: Scene) -> np.ndarray:
    """The boxes of a scene's annotated faces, (N, 4) float32, xyxy."""
    return _array([(one.box.x1, one.box.y1, one.box.x2, one.box.y2) for one in scene.faces])


def _sides(box: np.ndarray) -> np.ndarray:
    return np.tile(box[2:] - box[:2], 2)


def _array(boxes: Sequence[np.ndarray | tuple[int, int, int, int]]) -> np.ndarray:
    return np.array(boxes, np.float32).reshape(-1, 4)
