"""YuNet's faces in photographs, kept on disk: it takes longer than reading all photographs."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from facemask.detect.yunet import LONGER_SIDE, YuNetFaceDetector
from facemask.errors import FacemaskError
from facemask.files import file_digest, reason, write_text
from facemask.images import read_image

# What is less probable is no label of any kind.
LOWEST_CONFIDENCE = 0.4
# YuNet finds small faces only in an enlarged image. It enlarges itself, too.
ENLARGEMENT = 2.0
# Cropped faces fill their image, but YuNet expects a border around a face: a ratio of the image.
PADDING = 0.3


@dataclass(frozen=True)
class PseudoLabel:
    """A face that YuNet finds, in pixels of the photograph; it may reach out of it."""

    box: np.ndarray  # (4,) float32, xyxy
    confidence: float
    landmarks: np.ndarray  # (5, 2) float32, see YuNetFaceDetector.detect_landmarks


class LabelStore:
    """The labels of photographs, by their content: computed once, and read from then on.

    folder: is made where there is none. A photograph has a JSON file there, which is named after
    its sha256 and lists its labels.
    """

    def __init__(self, folder: Path, detector: YuNetFaceDetector):
        self._folder, self._detector = folder, detector
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FacemaskError(f"{folder}: can't be made: {reason(error)}") from error

    def labels(self, path: Path, portrait: bool) -> list[PseudoLabel]:
        """The labels of a photograph above LOWEST_CONFIDENCE, the highest-scoring first.

        portrait: whether a face fills it. Raises FacemaskError for a file that is no image, and
        for a damaged file of the store.
        """
        kind = "portrait" if portrait else "scene"
        stored = self._folder / f"{file_digest(path)}.{kind}.json"
        if not stored.is_file():
            labels = find_labels(self._detector, read_image(path), portrait)
            record = [
                {
                    "box": np.round(label.box.astype(float), 2).tolist(),
                    "confidence": round(label.confidence, 4),
                    "landmarks": np.round(label.landmarks.astype(float), 2).tolist(),
                }
                for label in labels
            ]
            write_text(stored, json.dumps(record, indent=0) + "\n")
        try:
            return [
                PseudoLabel(
                    np.array(label["box"], np.float32).reshape(4),
                    float(label["confidence"]),
                    np.array(label["landmarks"], np.float32).reshape(5, 2),
                )
                for label in json.loads(stored.read_text(encoding="utf-8"))
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FacemaskError(
                f"{stored}: expected the faces of a photograph, found something else ({error});"
                " delete it, and it is computed again"
            ) from error


def find_labels(
    detector: YuNetFaceDetector, image: np.ndarray, portrait: bool
) -> list[PseudoLabel]:
    """YuNet's faces in an image (height, width, 3) uint8, BGR, above LOWEST_CONFIDENCE.

    portrait: as in LabelStore.labels.
    """
    pad = round(PADDING * max(image.shape[:2])) if portrait else 0
    if pad:
        image = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    scale = min(ENLARGEMENT, max(1.0, LONGER_SIDE / max(image.shape[:2])))
    if scale > 1.0:
        image = cv2.resize(image, None, fx=scale, fy=scale)
    return [
        PseudoLabel(
            np.array(face.corners, np.float32) / scale - pad,
            face.confidence,
            landmarks / scale - pad,
        )
        for face, landmarks in detector.detect_landmarks(image, LOWEST_CONFIDENCE)
    ]
