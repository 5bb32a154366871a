"""The faces of training images: detected as at use, or annotated in scenes and cut out."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from facemask.data.dataset import FindFace, LabelledImages, Progress, no_progress
from facemask.data.scenes import Scene, Scenes
from facemask.detect.types import Detector
from facemask.errors import FacemaskError
from facemask.files import file_digest, real_path
from facemask.geometry import FaceBox
from facemask.images import crop_face, read_image, resize, write_image
from facemask.threads import with_own

# Pixels. In narrower annotated faces people can't see a mask either: they are left out.
MIN_WIDTH = 12
# Cut faces keep this ratio of their size on each side, so that augmentation can shift and zoom.
SURROUNDINGS = 1.0
# Pixels. Larger cut faces are shrunk: the classifier's input has at most 224 pixels.
MAX_WIDTH = 224
# IoU from which a detected box belongs to an annotated face.
MATCH_IOU = 0.5


def only_face(image: np.ndarray, detector: Detector, confidence: float = 0.5) -> FaceBox | None:
    """The face of a portrait; None when the detector finds none above the confidence, or several.

    With several faces it is unknown which of them the class of the image describes.
    """
    faces = detector.detect(image, confidence)
    return faces[0] if len(faces) == 1 else None


def face_finder(load: Callable[[], Detector]) -> Callable[[], FindFace]:
    """What makes an only_face for each thread; load: makes a detector."""

    def make() -> FindFace:
        detector = load()
        return lambda image: only_face(image, detector)

    return make


def cut_faces(
    scenes: Scenes,
    class_names: tuple[str, ...],
    load: Callable[[], Detector] | None,
    folder: Path,
    progress: Progress = no_progress,
) -> LabelledImages:
    """Cut the annotated faces out of scenes into small files in a folder, to train on.

    Every other face that the detector finds is cut out in the detector's box, all others in the
    annotated one: a model meets both kinds. load: makes a detector for each thread. Faces of
    classes other than class_names, faces narrower than MIN_WIDTH and scenes that can't be read are
    counted in `skipped`.
    """
    scenes = scenes.in_terms_of(class_names)
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    boxes: list[FaceBox] = []
    labels: list[int] = []
    originals: list[Path] = []
    digests: list[str] = []
    skipped = list(scenes.problems)
    left_out: Counter[str] = Counter()  # numbers of faces by the reason

    def detect(
        scene: Scene, detector: Detector
    ) -> tuple[np.ndarray, list[FaceBox]] | FacemaskError:
        try:
            image = read_image(scene.path)
        except FacemaskError as error:
            return error
        return image, detector.detect(image, confidence=0.3)

    with closing(with_own(detect, scenes.scenes, load or _NoDetector)) as results:
        with_progress = progress(results, total=len(scenes.scenes))
        for scene, result in zip(scenes.scenes, with_progress, strict=True):
            if isinstance(result, FacemaskError):
                skipped.append(str(result))
                continue
            image, detections = result
            digest = file_digest(scene.path)
            for face in scene.faces:
                if face.label not in class_names:
                    left_out[f"of the class {face.label}, which is not among the classes"] += 1
                    continue
                if face.box.width < MIN_WIDTH:
                    left_out[f"less than {MIN_WIDTH} pixels wide"] += 1
                    continue
                box = face.box
                if len(paths) % 2:
                    box = next((each for each in detections if each.iou(box) >= MATCH_IOU), box)
                path = folder / f"{len(paths):06}.png"
                boxes.append(_cut(image, box, path))
                paths.append(path)
                labels.append(class_names.index(face.label))
                originals.append(scene.path)
                digests.append(digest)
    name = real_path(scenes.folder).name
    skipped += [f"{name}: {_faces(count)} {reason}" for reason, count in left_out.items()]
    return LabelledImages(
        paths=tuple(paths),
        boxes=tuple(boxes),
        labels=np.array(labels, dtype=np.int64),
        sources=np.zeros(len(paths), np.int64),
        originals=tuple(originals),
        digests=tuple(digests),
        class_names=class_names,
        source_names=(name,),
        skipped=tuple(skipped),
    )


class _NoDetector:
    def detect(self, image: np.ndarray, confidence: float = 0.5) -> list[FaceBox]:
        return []


def _faces(count: int) -> str:
    return f"{count} face" + ("s" if count != 1 else "")


def _cut(image: np.ndarray, box: FaceBox, path: Path) -> FaceBox:
    """Write a face with its surroundings to a file; returns the face's box in that file."""
    around = box.expand(SURROUNDINGS).clip(image.shape[1], image.shape[0])
    region = crop_face(image, around)
    shrink = min(1.0, MAX_WIDTH / box.width)
    if shrink < 1.0:
        region = resize(region, (round(region.shape[0] * shrink), round(region.shape[1] * shrink)))
    write_image(path, region)
    corners = np.array([box.x1, box.y1, box.x2, box.y2]) - np.tile([around.x1, around.y1], 2)
    return FaceBox(*np.rint(corners * shrink).astype(int).tolist(), confidence=box.confidence)
