"""Read annotations in Pascal VOC's format: an XML file for each image."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from facemask.data.annotations import (
    AnnotatedBox,
    AnnotatedFolder,
    Annotation,
    coordinates,
    read_bytes,
    short,
)
from facemask.errors import FacemaskError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Enough for ten thousand faces. A parsed tree takes many times the memory of its file.
MAX_XML_BYTES = 4 * 2**20

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def annotations(folder: AnnotatedFolder) -> Iterator[Annotation]:
    """What the XML files of a folder say.

    A file belongs to the image of the same name (without the suffix); otherwise to the image that
    its `filename` names.
    """
    for path in folder.with_suffix(".xml"):
        try:
            root = _parse(path)
            annotation = Annotation(path, _image_of(path, root, folder))
        except FacemaskError as error:
            yield Annotation(path, None, problems=[str(error)])
            continue
        for number, element in enumerate(root.iterfind("object"), start=1):
            try:
                annotation.boxes.append(_box(f"object {number}", element))
            except ValueError as error:
                annotation.skip(f"object {number}", error)
        annotation.size = _text(root.find("size/width")), _text(root.find("size/height"))
        yield annotation


def _parse(path: Path) -> "Element":
    """The root element. Raises FacemaskError for a file that is no annotation, or a hostile one."""
    # A stranger's XML may contain entities that grow without end, or name files of this machine.
    from defusedxml import DefusedXmlException, ElementTree

    data = read_bytes(path, MAX_XML_BYTES, "a Pascal VOC XML file")
    try:
        root = ElementTree.fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise FacemaskError(
            f"{path}: expected a Pascal VOC XML file, found one with a DOCTYPE or entities"
        ) from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: encodings
        raise FacemaskError(f"{path}: expected a Pascal VOC XML file: {error}") from error
    if root.tag != "annotation":
        raise FacemaskError(
            f"{path}: expected a Pascal VOC XML file with <annotation>, found <{short(root.tag)}>"
        )
    return root


def _image_of(path: Path, root: "Element", folder: AnnotatedFolder) -> Path:
    """The image of an XML file. Raises FacemaskError unless there is exactly one."""
    # The path is of the annotator's machine: only its last part is useful.
    named = _text(root.find("filename")).replace("\\", "/").rpartition("/")[2]
    image = folder.image_of(path, path.stem, Path(named).stem, named=named)
    if image is None:
        also = f" or {short(named)}" if named else ""
        raise FacemaskError(
            f"{path}: no image {path.stem}.*{also}, neither beside it nor in a folder images"
        )
    return image


def _box(place: str, element: "Element") -> AnnotatedBox:
    """The box of an `object` element. Raises ValueError for an unusable one."""
    label = _text(element.find("name"))
    if not label:
        raise ValueError("expected the name of a class, found none")
    texts = [_text(element.find(f"bndbox/{corner}")) for corner in _CORNERS]
    try:
        x1, y1, x2, y2 = coordinates(texts)
    except ValueError:
        raise ValueError(
            f"expected numbers for {' '.join(_CORNERS)}, found {short(' '.join(texts)) or 'none'}"
        ) from None
    return AnnotatedBox(place, label, (x1, y1, x2, y2))


def _text(element: "Element | None") -> str:
    """The text of an element on one line; empty for a missing or empty element."""
    return " ".join((element.text or "").split()) if element is not None else ""
