"""Which groups faces belong to: from file names as UTKFace has them, or from a CSV file."""

import csv
import io
import re
from bisect import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from facemask.class_names import SPELLINGS, WITHOUT_MASK, same_class
from facemask.data.annotations import coordinates, read_bytes, short
from facemask.errors import FacemaskError
from facemask.evaluate.image_sets import digest
from facemask.geometry import FaceBox
from facemask.images import is_document, list_files

# AGE_GENDER_RACE_NUMBER, as in UTKFace (Zhang et al., "Age Progression/Regression by Conditional
# Adversarial Autoencoder", CVPR 2017), and what the numbers mean there.
NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_\d")
NAME_EXPECTED = "AGE_GENDER_RACE_NUMBER, such as 34_1_2_0001.jpg"
AGE_LIMITS, AGES = (13, 20, 40, 60), ("0-12", "13-19", "20-39", "40-59", "60+")
GENDERS = ("male", "female")
RACES = ("White", "Black", "Asian", "Indian", "other")

# Columns of a CSV file that are no groups.
FILE, SHA256, LABEL, CORNERS = "file", "sha256", "label", ("x1", "y1", "x2", "y2")
# The column that says what covers a face that has no mask: beard, hand, scarf, ...
KIND = "kind"
MAX_CSV_BYTES = 100 * 2**20


@dataclass(frozen=True)
class GroupedFace:
    """A face whose groups are known."""

    path: Path
    box: FaceBox | None  # None: the face that a detector finds
    label: str  # its class, one of the known ones
    groups: Mapping[str, str]  # by column


class GroupTable(NamedTuple):
    """A CSV file that tells groups."""

    name: str
    key: str  # the column that tells the image: FILE or SHA256
    groups: Sequence[str]  # the columns of groups
    rows: Sequence[tuple[int, Mapping[str, str]]]  # line numbers, and cells by column


def read_groups(
    folder: Path, table: GroupTable | None, known: Sequence[str]
) -> tuple[list[GroupedFace], list[str]]:
    """The faces of a folder with their groups, and a line for each kind of what is left out.

    table: see read_table; without it, file names tell the groups, and the faces are unmasked.
    known: the names of the classes.
    Raises FacemaskError for a missing folder, and where no face is left.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise FacemaskError(f"{folder}: {found}; expected a folder of faces")
    images = [path for path in list_files(folder) if not is_document(path)]
    if not images:
        raise FacemaskError(f"{folder}: expected images of faces, found none")
    faces, problems = _by_table(folder, images, table) if table else _by_names(images)
    if not faces:
        expected = (
            f"names like {NAME_EXPECTED}" if table is None else f"images that {table.name} names"
        )
        first = f"; the first problem: {problems[0]}" if problems and table else ""
        raise FacemaskError(
            f"{folder}: expected {expected}; found none among {len(images)} files{first}"
        )
    labelled, unknown = [], Counter[str]()
    for face in faces:
        if label := same_class(face.label, known):
            labelled.append(GroupedFace(face.path, face.box, label, face.groups))
        else:
            unknown[face.label] += 1
    problems += [
        f"{folder}: {count} face(s) of the class {short(label)}, which not all models know; skipped"
        for label, count in unknown.items()
    ]
    if not labelled:
        raise FacemaskError(
            f"{folder}: expected faces of the classes {', '.join(known)}; found"
            f" {', '.join(map(short, unknown))}"
        )
    return labelled, problems + _ungrouped(folder, images, faces)


def _ungrouped(folder: Path, images: Sequence[Path], faces: Sequence[GroupedFace]) -> list[str]:
    """A line on the images that have no group, if there are any."""
    grouped = {face.path for face in faces}
    rest = [path for path in images if path not in grouped]
    if not rest:
        return []
    return [f"{folder}: {len(rest)} image(s) without a group, such as {rest[0].name}; skipped"]


def _by_names(images: Sequence[Path]) -> tuple[list[GroupedFace], list[str]]:
    faces = []
    for path in images:
        if match := NAME.match(path.name):
            age, gender, race = map(int, match.groups())
            groups = {
                "age": AGES[bisect(AGE_LIMITS, age)],
                "gender": GENDERS[gender],
                "race": RACES[race],
            }
            faces.append(GroupedFace(path, None, WITHOUT_MASK, groups))
    return faces, []


def _by_table(
    folder: Path, images: Sequence[Path], table: GroupTable
) -> tuple[list[GroupedFace], list[str]]:
    if table.key == FILE:
        by_key = {path.relative_to(folder).as_posix(): path for path in images}
    else:
        by_key = {digest(path): path for path in images}
    faces, problems = [], []
    for line, row in table.rows:
        place, name = f"{table.name}: line {line}", row[table.key]
        name = name.replace("\\", "/") if table.key == FILE else name.lower()
        path = by_key.get(name.removeprefix("./"))
        if path is None:
            problems.append(f"{place}: no such image, {short(row[table.key])}; skipped")
            continue
        try:
            box = _box(row)
        except ValueError:
            sides = short(", ".join(row.get(side, "") for side in CORNERS))
            problems.append(f"{place}: expected x1, y1, x2, y2 in pixels, found {sides}; skipped")
            continue
        label = row.get(LABEL) or same_class(path.parent.name, SPELLINGS) or WITHOUT_MASK
        of_face = {column: row[column] for column in table.groups if row[column]}
        faces.append(GroupedFace(path, box, label, of_face))
    return faces, problems


def read_table(table: Path) -> GroupTable:
    """A CSV file in UTF-8 with one face a row, and names of columns in its first line.

    Its columns: `file`, the path in the folder, or `sha256` of the file; if wanted x1, y1, x2 and
    y2, the face's box in pixels, and `label`, its class, by default that of the folder that the
    image is in, or unmasked; all others are groups. Commas, semicolons or tabs separate cells.
    Raises FacemaskError for a file that can't be read, is no such file, or has no such columns.
    """
    try:
        text = read_bytes(table, MAX_CSV_BYTES, "a CSV file").decode("utf-8-sig")
        header = text.partition("\n")[0]
        delimiter = max(",;\t", key=header.count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        columns = [name.strip().lower() for name in next(reader, [])]
        rows = []
        for cells in reader:
            values = [cell.strip() for cell in cells]
            if any(values):
                values += [""] * (len(columns) - len(values))
                rows.append((reader.line_num, dict(zip(columns, values, strict=False))))
    except UnicodeDecodeError as error:
        raise FacemaskError(f"{table}: expected a CSV file in UTF-8, found other bytes") from error
    except csv.Error as error:
        raise FacemaskError(f"{table}: expected a CSV file: {error}") from error
    key = FILE if FILE in columns else SHA256
    groups = [name for name in columns if name not in {"", FILE, SHA256, LABEL, *CORNERS}]
    if key not in columns or not groups:
        raise FacemaskError(
            f"{table}: expected a column {FILE} or {SHA256}, and at least one of groups, such as"
            f" age or {KIND}; found {', '.join(map(short, columns)) or 'none'}"
        )
    return GroupTable(table.name, key, groups, rows)


def _box(row: Mapping[str, str]) -> FaceBox | None:
    """The box of a row, or None if it has none. Raises ValueError for one without a size."""
    sides = [row.get(side, "") for side in CORNERS]
    if not any(sides):
        return None
    x1, y1, x2, y2 = map(round, coordinates(sides))
    box = FaceBox(x1, y1, x2, y2, 1.0)
    if not box.area:
        raise ValueError("a box without a size")
    return box
