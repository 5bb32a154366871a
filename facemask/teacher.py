"""Boxes from a stronger face detector, for photographs that nobody annotated, or not in full."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from facemask.dataset import Progress, no_progress
from facemask.face_samples import Photograph
from facemask.images import read_image
from facemask.pipeline import Detector
from facemask.scenes import Scene

# A teacher's box of more confidence is a face; of more than the second, it may be one.
SURE, UNSURE = 0.8, 0.4
# The teacher sees small faces when it is shown them enlarged.
ENLARGED = 2.0
# Cut faces fill their image; the teacher knows faces with something around them.
PADDING = 0.3
SAME_FACE_IOU = 0.4


class Teacher:
    """A face detector whose boxes are brought to the shape that annotators gave theirs."""

    def __init__(self, detector: Detector):
        self._detector = detector
        # Of left, top, right and bottom in parts of the box's width and height.
        self._offsets = np.zeros(4)

    def learn(self, scenes: Iterable[Scene], progress: Progress = no_progress) -> None:
        """Measure how annotated boxes differ from the teacher's, on the median."""
        offsets = []
        for scene in scenes:
            annotated = face_boxes(scene)
            for box, _ in self._boxes(read_image(scene.path)):
                shares = ious(box, annotated)
                if len(shares) and shares.max() > SAME_FACE_IOU:
                    offsets.append((annotated[shares.argmax()] - box) / _sides(box))
        if offsets:
            self._offsets = np.median(offsets, axis=0)

    def scene(self, scene: Scene) -> Photograph:
        """A scene with its annotated faces; where the teacher alone sees one, there may be one."""
        faces = face_boxes(scene)
        found = self._boxes(read_image(scene.path))
        unsure = [
            box
            for box, confidence in found
            if confidence > UNSURE and (not len(faces) or ious(box, faces).max() < 0.2)
        ]
        return Photograph(scene.path, faces, _array(unsure), portrait=False)

    def portrait(self, path: Path) -> Photograph | None:
        """A photograph without annotations; None where the teacher is sure of no face."""
        image = read_image(path)
        pad = round(PADDING * max(image.shape[:2]))
        padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        found = self._boxes(padded)
        limits = np.tile([image.shape[1], image.shape[0]], 2)
        inside = [(np.clip(box - pad, 0, limits), confidence) for box, confidence in found]
        sure = [box for box, confidence in inside if confidence > SURE]
        unsure = [box for box, confidence in inside if SURE >= confidence > UNSURE]
        if not sure:
            return None
        return Photograph(path, _array(sure), _array(unsure), portrait=True)

    def _boxes(self, image: np.ndarray) -> list[tuple[np.ndarray, float]]:
        enlarge = min(ENLARGED, max(1.0, 1600 / max(image.shape[:2])))
        large = cv2.resize(image, None, fx=enlarge, fy=enlarge)
        found = self._detector.detect(large, UNSURE)
        boxes = [np.array([box.x1, box.y1, box.x2, box.y2]) / enlarge for box in found]
        return [
            (box + self._offsets * _sides(box), face.confidence)
            for box, face in zip(boxes, found, strict=True)
        ]


def annotated(scene: Scene) -> Photograph:
    """A scene with its annotated faces alone."""
    return Photograph(scene.path, face_boxes(scene), _array([]), portrait=False)


def face_boxes(scene: Scene) -> np.ndarray:
    """The boxes of a scene's annotated faces, (N, 4) float32, xyxy."""
    return _array([(one.box.x1, one.box.y1, one.box.x2, one.box.y2) for one in scene.faces])


def ious(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The IoU of a box (4,) with others (N, 4)."""
    both = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    overlap = np.prod(np.maximum(both, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    return overlap / np.maximum(np.prod(box[2:] - box[:2]) + areas - overlap, 1e-9)


def _sides(box: np.ndarray) -> np.ndarray:
    return np.tile(box[2:] - box[:2], 2)


def _array(boxes: Sequence[np.ndarray | tuple[int, int, int, int]]) -> np.ndarray:
    return np.array(boxes, np.float32).reshape(-1, 4)
