"""Read annotations in COCO's format: JSON files with images, categories and annotations."""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from facemask.data.annotations import (
    AnnotatedBox,
    AnnotatedFolder,
    Annotation,
    around,
    coordinates,
    read_bytes,
    short,
)
from facemask.errors import FacemaskError

# As much as a hundred thousand faces with their outlines. Parsed, it takes some times the memory.
MAX_JSON_BYTES = 256 * 2**20

LISTS = ("images", "annotations", "categories")

Entry = dict[str, Any]


def annotations(folder: AnnotatedFolder) -> Iterator[Annotation]:
    """What the COCO files of a folder say. JSON files of another kind are passed by."""
    for path in folder.with_suffix(".json"):
        try:
            data = _parse(path)
        except FacemaskError as error:
            yield Annotation(path, None, problems=[str(error)])
            continue
        # Other JSON files lie beside images as well: notes, splits, settings.
        if isinstance(data, dict) and {"images", "annotations"} & data.keys():
            yield from _annotations(path, data, folder)


def _parse(path: Path) -> Any:
    kind = "a JSON file"
    try:
        return json.loads(read_bytes(path, MAX_JSON_BYTES, kind))
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, no UTF-8, a huge integer
        raise FacemaskError(f"{path}: expected {kind}: {short(error)}") from error


def _annotations(path: Path, data: Entry, folder: AnnotatedFolder) -> Iterator[Annotation]:
    whole = Annotation(path, None)  # for the problems that belong to no image
    images, faces, categories = (_entries(whole, data, name) for name in LISTS)
    names = {str(each.get("id")): short(each.get("name") or "") for each in categories}
    by_id: dict[str, Annotation] = {}
    unusable: set[str] = set()  # ids of images
    for number, entry in enumerate(images, start=1):
        try:
            image = _image_of(path, entry, folder)
            if str(entry.get("id")) in by_id:
                raise ValueError(f"its id, {short(entry.get('id'))}, is another image's")
        except ValueError as error:
            whole.skip(f"image {number}", error)
            unusable.add(str(entry.get("id")))
            continue
        size = tuple(str(entry.get(side) or "") for side in ("width", "height"))
        by_id[str(entry.get("id"))] = Annotation(path, image, size=(size[0], size[1]))
    for number, entry in enumerate(faces, start=1):
        place = f"annotation {short(entry.get('id', number))}"
        annotation = by_id.get(str(entry.get("image_id")))
        if annotation is None:
            if str(entry.get("image_id")) not in unusable:
                whole.skip(place, f"no image has the id {short(entry.get('image_id'))}")
            continue
        try:
            annotation.boxes.append(_box(place, entry, names))
        except ValueError as error:
            annotation.skip(place, error)
    yield from (whole, *by_id.values())


def _entries(whole: Annotation, data: Entry, name: str) -> list[Entry]:
    """One of the file's lists; notes what is missing, and what is no entry."""
    values = data.get(name)
    if not isinstance(values, list):
        whole.problems.append(
            f"{whole.file}: expected a COCO file with the lists {', '.join(LISTS)}; found"
            f" {'no' if values is None else 'another kind of'} {name}"
        )
        return []
    entries = [value for value in values if isinstance(value, dict)]
    if len(entries) < len(values):
        whole.skip(name, f"{len(values) - len(entries)} value(s) are no entries")
    return entries


def _image_of(path: Path, entry: Entry, folder: AnnotatedFolder) -> Path:
    """The image of an entry. Raises ValueError where there is none."""
    name = entry.get("file_name")
    if not isinstance(name, str) or not name:
        raise ValueError("expected a file_name, found none")
    # A path of the annotator's machine, or with `..`, leads nowhere else: only files below the
    # folder are looked up.
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    # instances_train2017.json in annotations/ belongs to train2017/.
    part_of_set = path.stem.rpartition("_")[2]
    folders = folder.image_folders(path)
    folders += [place / part_of_set for place in folders]
    for tail in dict.fromkeys((PurePosixPath(*parts), PurePosixPath(*parts[-1:]))):
        for place in folders:
            if place / tail in folder.images:
                return place / tail
    raise ValueError(f"no image {short(name)}, neither beside it nor in a folder images")


def _box(place: str, entry: Entry, names: dict[str, str]) -> AnnotatedBox:
    """The box of an annotation. Raises ValueError for an unusable one."""
    if entry.get("iscrowd") in (1, "1"):
        raise ValueError("it is of a crowd, not of one face")
    name = names.get(str(entry.get("category_id")))
    if not name:
        raise ValueError(f"no category has the id {short(entry.get('category_id'))}")
    box, outline = entry.get("bbox"), entry.get("segmentation")
    try:
        if isinstance(box, list) and len(box) == 4:
            x, y, width, height = coordinates(box)
            return AnnotatedBox(place, name, (x, y, x + width, y + height))
        if isinstance(outline, list) and outline:
            points = [value for polygon in outline for value in polygon]
            if points and not len(points) % 2:
                return AnnotatedBox(place, name, around(coordinates(points)))
    except (TypeError, ValueError):
        pass
    raise ValueError(
        "expected a bbox of x, y, width and height, or polygons, found"
        f" {short(box if outline is None else (box, outline))}"
    )
