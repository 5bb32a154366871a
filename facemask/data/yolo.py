"""Read annotations in YOLO's format: a text file for each image, a line for each box.

A line has the class's number and the box's centre, width and height, or the points of a polygon,
all as ratios of the image's sides (https://docs.ultralytics.com/datasets/detect/). The classes'
names are in a YAML file, data.yaml by habit, or in classes.txt.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

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

# Enough for ten thousand polygons.
MAX_BYTES = 4 * 2**20
LABEL_FOLDER = "labels"
# A name a line; the first is written by labelImg and Label Studio, the second by Darknet.
NAME_LISTS = ("classes.txt", "obj.names")
# Boxes may reach out of the image by this ratio of its side, and are clipped. Numbers beyond are
# no ratios, but pixels for example.
OUTSIDE = 0.1


class Classes(NamedTuple):
    """The names of classes by their number, and where they come from."""

    file: Path
    names: dict[int, str]
    keypoints: bool  # points follow each box, which are no polygon


def annotations(folder: AnnotatedFolder) -> Iterator[Annotation]:
    """What the label files of a folder say.

    Label files are text files in a folder `labels`, or of an image's name. A label file without any
    line is of an image without faces.
    """

    labels: dict[Path, list[tuple[Path, Path]]] = defaultdict(list)  # by folder, with images
    for path in folder.with_suffix(".txt"):
        if path.name in NAME_LISTS:
            continue
        try:
            image = folder.image_of(path, path.stem)
            if image:
                labels[path.parent].append((path, image))
            elif LABEL_FOLDER in [name.lower() for name in path.relative_to(folder.root).parts]:
                raise FacemaskError(
                    f"{path}: no image {path.stem}.*, neither beside it nor in a folder images"
                )  # another text beside images is a README or a list of files
        except FacemaskError as error:
            yield Annotation(path, None, problems=[str(error)])
    for place, pairs in labels.items():
        try:
            classes = _find_classes(place, folder.root)
        except FacemaskError as error:
            problem = f"{error}; {len(pairs)} label file(s) skipped"
            yield Annotation(pairs[0][0], None, problems=[problem])
            continue
        yield from (_annotation(path, image, classes) for path, image in pairs)


def _annotation(path: Path, image: Path, classes: Classes) -> Annotation:
    annotation = Annotation(path, image, relative=True)
    try:
        lines = _lines(path)
    except FacemaskError as error:
        return Annotation(path, None, problems=[str(error)])
    for number, line in enumerate(lines, start=1):
        try:
            if line.strip():
                annotation.boxes.append(_box(f"line {number}", line.split(), classes))
        except ValueError as error:
            annotation.skip(f"line {number}", error)
    return annotation


def _lines(path: Path) -> list[str]:
    kind = "a text file of YOLO labels or class names"
    try:
        return read_bytes(path, MAX_BYTES, kind).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FacemaskError(f"{path}: expected {kind} in UTF-8: {error}") from error


def _box(place: str, columns: list[str], classes: Classes) -> AnnotatedBox:
    """The box of a line. Raises ValueError for an unusable one."""
    try:
        number, *values = coordinates(columns)
    except ValueError:
        raise ValueError(
            f"expected a class number and ratios, found {short(' '.join(columns))}"
        ) from None
    name = classes.names.get(int(number)) if number == int(number) else None
    if not name:
        raise ValueError(f"class {short(columns[0])} has no name in {classes.file.name}")
    polygon = len(values) >= 6 and len(values) % 2 == 0 and not classes.keypoints
    if not (polygon or len(values) in (4, 5) or (classes.keypoints and len(values) > 4)):
        raise ValueError(
            "expected a class number with x, y, width and height, or with the points of a polygon,"
            f" found {len(columns)} numbers"
        )
    values = values if polygon else values[:4]  # a fifth is the confidence of a prediction
    if not all(abs(value) <= 1 + OUTSIDE for value in values):
        raise ValueError(
            f"expected ratios of the image's sides, 0 to 1, found {short(' '.join(columns[1:]))}"
        )
    if polygon:
        return AnnotatedBox(place, name, around(values))
    x, y, width, height = values
    return AnnotatedBox(place, name, (x - width / 2, y - height / 2, x + width / 2, y + height / 2))


def _find_classes(place: Path, root: Path) -> Classes:
    """The nearest class names, in the folder of the labels or above it.

    The folder above the root counts too: of `train`, `valid` and `data.yaml` people name one part.
    Raises FacemaskError where there are none, or none that can be used.
    """
    above = (place, *place.parents)
    unusable: list[FacemaskError] = []
    for folder in (*above[: above.index(root) + 1], root.absolute().parent):
        readers = [(path, _read_yaml) for path in sorted(folder.glob("*.y*ml"))]
        readers += [(folder / name, _read_list) for name in NAME_LISTS]
        for path, read in readers:
            try:
                if path.is_file() and (classes := read(path)):
                    return classes
            except FacemaskError as error:
                unusable.append(error)
    if unusable:
        raise unusable[0]
    raise FacemaskError(
        f"{place}: expected the names of the classes of YOLO labels in data.yaml or classes.txt"
        " there or in a folder above, found neither"
    )


def _read_list(path: Path) -> Classes:
    names = {number: line.strip() for number, line in enumerate(_lines(path))}
    return Classes(path, names, keypoints=False)


def _read_yaml(path: Path) -> Classes | None:
    """The class names of a YAML file; None for one without. Raises FacemaskError for no YAML."""
    import yaml

    kind = "a YAML file with the names of classes"
    try:
        # BaseLoader makes texts, lists and mappings only: `no` stays a name.
        data: Any = yaml.load(read_bytes(path, MAX_BYTES, kind), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FacemaskError(f"{path}: expected {kind}: {short(error)}") from error
    names = data.get("names") if isinstance(data, dict) else None
    if names is None:
        return None
    try:
        if not isinstance(names, dict | list):
            raise ValueError
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        by_number = {int(number): short(name) for number, name in pairs}
    except (TypeError, ValueError) as error:
        raise FacemaskError(
            f"{path}: expected names as a list or by number, found {short(names) or 'none'}"
        ) from error
    return Classes(path, by_number, keypoints="kpt_shape" in data)
