"""Photographs of scenes with the faces in them annotated: Pascal VOC XML files and their images."""

import math
import os
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from facemask.data.dataset import Progress, no_progress
from facemask.errors import FacemaskError
from facemask.files import reason
from facemask.geometry import FaceBox
from facemask.images import is_document, list_files, read_image

# Some ten thousand faces. Larger files are not parsed: a tree takes many times the file's memory.
MAX_XML_BYTES = 4 * 2**20

# Where an annotation's image may lie: beside it, or in a folder of this name beside its own.
IMAGE_FOLDERS = ("images", "JPEGImages")

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class AnnotatedFace:
    """A face that a person marked: its box inside the image, of confidence 1, and its class."""

    box: FaceBox
    label: str


@dataclass(frozen=True)
class Scene:
    """An image that can be read, and the faces in it; none, where it was marked as without."""

    path: Path
    width: int  # pixels, of the image as images.read_image gives it
    height: int
    faces: tuple[AnnotatedFace, ...]


@dataclass(frozen=True)
class Scenes:
    """The usable scenes of a folder."""

    folder: Path
    scenes: tuple[Scene, ...]
    problems: tuple[str, ...]  # what was skipped, clipped or contradicts itself, one line each

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that the annotations name, sorted."""
        return tuple(sorted({face.label for scene in self.scenes for face in scene.faces}))


def load_scenes(folder: str | os.PathLike[str], progress: Progress = no_progress) -> Scenes:
    """Read the annotations below a folder, and decode each image once to see that it can be.

    An XML file belongs to the image of its own name (but for the suffix), beside it or in the
    folder `images` beside its folder; failing that, to the one that its `filename` names. Boxes
    (xmin, ymin, xmax, ymax) are read as [xmin, xmax) x [ymin, ymax) in pixels from 0, rounded;
    annotation tools differ by one pixel there. Parts outside the image are clipped off. Sizes
    come from the images. No image is kept in memory.

    progress: wraps the iterable of read files, whose number it gets as `total` (tqdm, say).
    Raises FacemaskError for a missing folder, and for one without any usable annotated face.
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
    for annotation, (scene, found) in zip(annotations, results, strict=True):
        problems += found
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
    found: _Images = defaultdict(list)
    for path in paths:
        found[path.parent, path.stem].append(path)
    return dict(found)


def _read(annotation: Path, images: _Images) -> tuple[Scene | None, list[str]]:
    """The scene of an XML file, or none, and a line for each thing that is wrong with it."""
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
    # Some tools leave the size out, or write 0.
    if all(side not in ("", "0") for side in stated) and stated != (str(width), str(height)):
        problems.append(
            f"{annotation}: states {_short('x'.join(stated))} pixels, {image.name} has"
            f" {width}x{height}; its boxes were taken as pixels of the image"
        )
    return Scene(image, width, height, tuple(faces)), problems


class _NoDoctype(ElementTree.TreeBuilder):
    """Ends the parsing at a DOCTYPE: annotations have none, and entities that grow need one."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        raise ValueError("it declares a DOCTYPE, which no annotation needs")


def _parse(path: Path) -> ElementTree.Element:
    """The root element. Raises FacemaskError for what is not an annotation, or not harmless."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_XML_BYTES + 1)
        if len(data) > MAX_XML_BYTES:
            raise ValueError(f"it has more than {MAX_XML_BYTES} bytes")
        root = ElementTree.fromstring(data, parser=ElementTree.XMLParser(target=_NoDoctype()))
    except OSError as error:
        raise FacemaskError(f"{path}: can't be read: {reason(error)}") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: encodings
        raise FacemaskError(f"{path}: expected a Pascal VOC XML file: {error}") from error
    if root.tag != "annotation":
        raise FacemaskError(
            f"{path}: expected a Pascal VOC XML file with <annotation>, found <{_short(root.tag)}>"
        )
    return root


def _image_of(annotation: Path, root: ElementTree.Element, images: _Images) -> Path:
    """The image that an XML file describes. Raises FacemaskError where there is not exactly one."""
    parent = annotation.parent
    folders = (parent, *(parent.parent / name for name in IMAGE_FOLDERS))
    # A path in there is that of the annotator's machine; only its last part is of use.
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


def _face(element: ElementTree.Element) -> AnnotatedFace:
    """The face of an `object` element, not yet clipped. Raises ValueError for what can't be."""
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


def _text(element: ElementTree.Element | None) -> str:
    """The text of an element on one line; empty for a missing or empty element."""
    return " ".join((element.text or "").split()) if element is not None else ""


def _short(text: str) -> str:
    """A text from a file, for a message: of bearable length, on one line."""
    return " ".join(text.split())[:60]


def _corners(box: FaceBox) -> str:
    return _short(f"({box.x1}, {box.y1}, {box.x2}, {box.y2})")
