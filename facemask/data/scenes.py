"""Photographs with annotated faces, in whatever format annotation tools wrote them."""

import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from facemask.class_names import same_class
from facemask.data import coco, pascal_voc, yolo
from facemask.data.annotations import AnnotatedFolder, Annotation, short
from facemask.data.dataset import Progress, no_progress
from facemask.errors import FacemaskError
from facemask.geometry import FaceBox
from facemask.images import list_files, read_image

EXPECTED = (
    "photographs with annotated faces: Pascal VOC .xml files, YOLO label .txt files with data.yaml"
    " or classes.txt, or COCO .json files"
)


@dataclass(frozen=True)
class AnnotatedFace:
    """An annotated face: its box inside the image, with confidence 1, and its class."""

    box: FaceBox
    label: str


@dataclass(frozen=True)
class Scene:
    """A readable image and its annotated faces; an annotation may state that there are none."""

    path: Path
    width: int  # pixels, of the image as images.read_image gives it
    height: int
    faces: tuple[AnnotatedFace, ...]


@dataclass(frozen=True)
class Scenes:
    """The usable scenes of a folder."""

    folder: Path
    scenes: tuple[Scene, ...]
    problems: tuple[str, ...]  # a line for everything skipped, clipped, put right or contradictory

    @property
    def labels(self) -> tuple[str, ...]:
        """The annotated classes, sorted."""
        return tuple(sorted({face.label for scene in self.scenes for face in scene.faces}))

    def in_terms_of(self, class_names: Iterable[str]) -> "Scenes":
        """The same scenes, whose classes have the names of class_names that mean the same.

        So `No Mask` becomes `without_mask`. Other classes keep their names.
        """
        names = {label: same_class(label, class_names) or label for label in self.labels}
        scenes = [
            replace(
                scene, faces=tuple(replace(face, label=names[face.label]) for face in scene.faces)
            )
            for scene in self.scenes
        ]
        return replace(self, scenes=tuple(scenes))


def load_scenes(path: str | os.PathLike[str], progress: Progress = no_progress) -> Scenes:
    """Read the annotations below a folder, and decode each image once to check it.

    path: a folder with Pascal VOC XML files, YOLO labels or COCO JSON files, or a COCO file. The
    image of an annotation lies beside it, or in a folder `images` beside or in place of a folder
    above it (`labels/train`, `images/train`). Of several annotations of one image the first counts,
    in the order of the formats above.
    Boxes [x1, x2) x [y1, y2) in pixels from 0 are rounded (annotation tools differ by one pixel)
    and clipped to the image; corners in the wrong order are put right. Image sizes come from the
    images. No image is kept in memory.

    progress: wraps the iterable of images read, and gets their number as `total` (tqdm, for
    example). Raises FacemaskError for a missing folder, or one without any usable annotated face.
    """
    path = Path(path)
    folder = annotated_folder(path)
    formats = (coco,) if path.is_file() else (pascal_voc, yolo, coco)
    annotations = [each for reader in formats for each in reader.annotations(folder)]
    problems = [line for annotation in annotations for line in annotation.problems]
    files = len({annotation.file for annotation in annotations})

    of_image: dict[Path, Annotation] = {}
    for annotation in annotations:
        if annotation.image in of_image:
            name = annotation.image.name
            problems.append(f"{annotation.file}: a second annotation of {name}; skipped")
        elif annotation.image:
            of_image[annotation.image] = annotation
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        readings = pool.map(_read, of_image, of_image.values())
        results = list(progress(readings, total=len(of_image)))
    problems += [line for _, lines, _ in results for line in lines]
    swapped = sum(count for _, _, count in results)
    if swapped:
        problems.append(f"{path}: {swapped} box(es) with corners in the wrong order; put right")
    scenes = tuple(scene for scene, _, _ in results if scene)
    if not any(scene.faces for scene in scenes):
        found = f"no usable face in {files} annotation file(s)" if files else _contents(folder)
        first = f"; the first problem: {problems[0]}" if problems else ""
        raise FacemaskError(f"{path}: expected {EXPECTED}; found {found}{first}")
    return Scenes(path, scenes, tuple(problems))


def annotated_folder(path: Path) -> AnnotatedFolder:
    """The files below a folder; of a COCO file, those of its folder, and of JSON itself alone.

    Raises FacemaskError for a missing folder, and for a file of another kind.
    """
    if path.is_file() and path.suffix.lower() == ".json":
        others = (file for file in list_files(path.parent) if file.suffix.lower() != ".json")
        return AnnotatedFolder(path.parent, (path, *others))
    if not path.is_dir():
        found = "a file" if path.exists() else "no such folder"
        raise FacemaskError(f"{path}: {found}; expected a folder or COCO file of {EXPECTED}")
    return AnnotatedFolder(path, tuple(list_files(path)))


def _contents(folder: AnnotatedFolder) -> str:
    """What a folder has instead of annotations: `690 .jpg, 1 .csv`, the most frequent first."""
    suffixes = Counter(path.suffix.lower() or "no suffix" for path in folder.files)
    kinds = [f"{count} {short(suffix)}" for suffix, count in suffixes.most_common(5)]
    return f"files of other kinds ({', '.join(kinds)})" if kinds else "no files"


def _read(image: Path, annotation: Annotation) -> tuple[Scene | None, list[str], int]:
    """The scene of an image; a line for each problem with it; how many boxes were put right."""
    try:
        height, width = read_image(image).shape[:2]
    except FacemaskError as error:
        return None, [str(error)], 0
    scale = (width, height) if annotation.relative else (1, 1)
    faces, problems, swapped = [], [], 0
    for box in annotation.boxes:
        place, label = f"{annotation.file}: {box.place}", box.label
        x1, y1, x2, y2 = (
            round(value * side) for value, side in zip(box.corners, scale * 2, strict=True)
        )
        swapped += x1 > x2 or y1 > y2
        face = FaceBox(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2), 1.0)
        size, corners = f"{width}x{height} pixels", short(face.corners)
        inside = face.clip(width, height)
        if not face.area:
            problems.append(f"{place}: box {corners} has no size; skipped")
            continue
        if not inside.area:
            problems.append(f"{place}: box {corners} is outside the image's {size}; skipped")
            continue
        if inside != face:
            problems.append(f"{place}: box {corners} reaches out of the image's {size}; clipped")
        faces.append(AnnotatedFace(inside, label))
    stated = annotation.size
    # Some tools omit the size or write 0.
    if all(side not in ("", "0") for side in stated) and stated != (str(width), str(height)):
        problems.append(
            f"{annotation.file}: states {short('x'.join(stated))} pixels, {image.name} has"
            f" {width}x{height}; its boxes were taken as pixels of the image"
        )
    return Scene(image, width, height, tuple(faces)), problems, swapped
