"""Read photographs with annotated faces: Pascal VOC XML files and their images."""

import math
import os
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facemask.data.dataset import Progress, no_progress
from facemask.errors import FacemaskError
from facemask.files import reason
from facemask.geometry import FaceBox
from facemask.images import is_document, list_files, read_image

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Enough for ten thousand faces. A parsed tree takes many times the memory of its file.
MAX_XML_BYTES = 4 * 2**20

# The image lies beside its annotation, or in a folder of this name beside the annotation's folder.
IMAGE_FOLDERS = ("images", "JPEGImages")

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


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
    problems: tuple[str, ...]  # a line for everything skipped, clipped or contradictory

    @property
    def labels(self) -> tuple[str, ...]:
        """The annotated classes, sorted."""
        return tuple(sorted({face.label for scene in self.scenes for face in scene.faces}))


def load_scenes(folder: str | os.PathLike[str], progress: Progress = no_progress) -> Scenes:
    """Read the annotations below a folder, and decode each image once to check it.

    An XML file belongs to the image of the same name (without the suffix), beside it or in the
    folder `images` beside its folder; otherwise to the image that its `filename` names. Boxes
    (xmin, ymin, xmax, ymax) are read as [xmin, xmax) x [ymin, ymax) in pixels from 0, rounded
    (annotation tools differ by one pixel), and clipped to the image. Image sizes come from the
    images. No image is kept in memory.

    progress: wraps the iterable of files read, and gets their number as `total` (tqdm, for
    example). Raises FacemaskError for a missing folder, or one without any usable annotated face.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FacemaskError(f"{folder}: no such folder; expected Pascal VOC XML files and images")
    files = list_files(folder)
    annotations = [path for path in files if path.suffix.lower() == ".xml"]
    images = _by_folder_and_stem(path for path in files if not is_document(path))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        readings = pool.map(lambda path: _read(path, images), annotations)
        results = list(progress(readings, total=len(annotations)))

    scenes: dict[Path, Scene] = {}
    problems = []
    for annotation, (scene, scene_problems) in zip(annotations, results, strict=True):
        problems += scene_problems
        if scene and scene.path in scenes:
            problems.append(f"{annotation}: a second annotation of {scene.path.name}; skipped")
        elif scene:
            scenes[scene.path] = scene
    if not any(scene.faces for scene in scenes.values()):
        first = f"; the first problem: {problems[0]}" if problems else ""
        raise FacemaskError(
            f"{folder}: expected images with faces annotated in Pascal VOC XML files, found no"
            f" usable face in {len(annotations) or 'no'} XML file(s){first}"
        )
    return Scenes(folder, tuple(scenes.values()), tuple(problems))


_Images = dict[tuple[Path, str], list[Path]]


def _by_folder_and_stem(paths: Iterable[Path]) -> _Images:
    images: _Images = defaultdict(list)
    for path in paths:
        images[path.parent, path.stem].append(path)
    return dict(images)


def _read(annotation: Path, images: _Images) -> tuple[Scene | None, list[str]]:
    """The scene of an XML file, or None; and a line for each problem with it."""
    try:
        root = _parse(annotation)
        image = _image_of(annotation, root, images)
        height, width = read_image(image).shape[:2]
    except FacemaskError as error:
        return None, [str(error)]
    faces, problems = [], []
    for number, element in enumerate(root.iterfind("object"), start=1):
        try:
            face = _face(element)
        except ValueError as error:
            problems.append(f"{annotation}: object {number}: {error}; skipped")
            continue
        inside = face.box.clip(width, height)
        if not inside.area:
            problems.append(
                f"{annotation}: object {number}: box {_corners(face.box)} is outside the image's"
                f" {width}x{height} pixels; skipped"
            )
            continue
        if inside != face.box:
            problems.append(
                f"{annotation}: object {number}: box {_corners(face.box)} reaches out of the"
                f" image's {width}x{height} pixels; clipped"
            )
        faces.append(AnnotatedFace(inside, face.label))
    stated = tuple(_text(root.find(f"size/{side}")) for side in ("width", "height"))
    # Some tools omit the size or write 0.
    if all(side not in ("", "0") for side in stated) and stated != (str(width), str(height)):
        problems.append(
            f"{annotation}: states {_short('x'.join(stated))} pixels, {image.name} has"
            f" {width}x{height}; its boxes were taken as pixels of the image"
        )
    return Scene(image, width, height, tuple(faces)), problems


def _parse(path: Path) -> "Element":
    """The root element. Raises FacemaskError for a file that is no annotation, or a hostile one."""
    # A stranger's XML may contain entities that grow without end, or name files of this machine.
    from defusedxml import DefusedXmlException, ElementTree

    try:
        with path.open("rb") as file:
            data = file.read(MAX_XML_BYTES + 1)
        if len(data) > MAX_XML_BYTES:
            raise ValueError(f"it has more than {MAX_XML_BYTES} bytes")
        root = ElementTree.fromstring(data, forbid_dtd=True)
    except OSError as error:
        raise FacemaskError(f"{path}: can't be read: {reason(error)}") from error
    except DefusedXmlException as error:
        raise FacemaskError(
            f"{path}: expected a Pascal VOC XML file, found one with a DOCTYPE or entities"
        ) from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: encodings
        raise FacemaskError(f"{path}: expected a Pascal VOC XML file: {error}") from error
    if root.tag != "annotation":
        raise FacemaskError(
            f"{path}: expected a Pascal VOC XML file with <annotation>, found <{_short(root.tag)}>"
        )
    return root


def _image_of(annotation: Path, root: "Element", images: _Images) -> Path:
    """The image of an XML file. Raises FacemaskError unless there is exactly one."""
    parent = annotation.parent
    folders = (parent, *(parent.parent / name for name in IMAGE_FOLDERS))
    # The path is of the annotator's machine: only its last part is useful.
    named = _text(root.find("filename")).replace("\\", "/").rpartition("/")[2]
    for stem in (annotation.stem, Path(named).stem):
        for folder in folders:
            candidates = images.get((folder, stem), [])
            exact = [path for path in candidates if path.name == named]
            if len(exact or candidates) == 1:
                return (exact or candidates)[0]
            if candidates:
                names = " and ".join(path.name for path in candidates)
                raise FacemaskError(f"{annotation}: expected one image of this name, found {names}")
    also = f" or {_short(named)}" if named else ""
    raise FacemaskError(
        f"{annotation}: no image {annotation.stem}.*{also}, neither beside it nor in"
        f" {parent.parent / IMAGE_FOLDERS[0]}"
    )


def _face(element: "Element") -> AnnotatedFace:
    """The face of an `object` element, not yet clipped. Raises ValueError for an unusable one."""
    label = _text(element.find("name"))
    if not label:
        raise ValueError("expected the name of a class, found none")
    texts = [_text(element.find(f"bndbox/{corner}")) for corner in _CORNERS]
    try:
        values = [float(text) for text in texts]
        if not all(map(math.isfinite, values)):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"expected numbers for {' '.join(_CORNERS)}, found {_short(' '.join(texts)) or 'none'}"
        ) from None
    x1, y1, x2, y2 = (round(value) for value in values)
    box = FaceBox(x1, y1, x2, y2, 1.0)
    if not box.area:
        raise ValueError(f"box {_corners(box)} has no size")
    return AnnotatedFace(box, label)


def _text(element: "Element | None") -> str:
    """The text of an element on one line; empty for a missing or empty element."""
    return " ".join((element.text or "").split()) if element is not None else ""


def _short(text: str) -> str:
    """A text from a file, shortened to one line for a message."""
    return " ".join(text.split())[:60]


def _corners(box: FaceBox) -> str:
    return _short(f"({box.x1}, {box.y1}, {box.x2}, {box.y2})")
