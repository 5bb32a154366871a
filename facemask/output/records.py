"""Detections as JSON and CSV."""

import csv
import errno
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TextIO

import numpy as np

from facemask.detect.types import MaskDetection
from facemask.errors import FacemaskError
from facemask.files import beside, reason, replacing

CSV_COLUMNS: tuple[str, ...] = (
    "image", "width", "height", "face", "x1", "y1", "x2", "y2",
    "confidence", "label", "probability", "error",
)  # fmt: skip


def faces(detections: Sequence[MaskDetection]) -> list[dict[str, Any]]:
    """The detections as plain data: box is xyxy in pixels, the other numbers are 0 to 1.

    In a video whose faces are followed there is "track" as well, the face's number.
    """
    return [
        {
            "box": [found.face.x1, found.face.y1, found.face.x2, found.face.y2],
            "confidence": round(found.face.confidence, 4),
            "label": found.label,
            "probability": round(found.probability, 4),
            **({} if found.track is None else {"track": found.track}),
        }
        for found in detections
    ]


def image_record(
    name: str, image: np.ndarray, detections: Sequence[MaskDetection]
) -> dict[str, Any]:
    """The entry of an image (H, W, 3); width and height in pixels."""
    height, width = image.shape[:2]
    return {"image": name, "width": width, "height": height, "faces": faces(detections)}


def error_record(name: str, message: str) -> dict[str, Any]:
    """The entry of an image that can't be read."""
    return {"image": name, "error": message, "faces": []}


def frame_record(
    number: int, time_s: float, frame: np.ndarray, detections: Sequence[MaskDetection]
) -> dict[str, Any]:
    """The entry of a video frame (H, W, 3); numbers count from 0, time_s from the start."""
    height, width = frame.shape[:2]
    return {
        "frame": number,
        "time_s": round(time_s, 3),
        "width": width,
        "height": height,
        "faces": faces(detections),
    }


class RecordFile:
    """A file of one record an image, written as the records come.

    A context manager. The file grows beside its place and takes it when the block ends, also by
    an error or Ctrl-C: what such a run has found is kept, whole. A run that ends in an error
    before its first record, and a file that could not be written, leave what stood there.
    Raises FacemaskError when the file can't be written.
    """

    def __init__(self, path: Path):
        self._path = path
        self._part = beside(path)
        self._count = 0
        self._whole = True
        try:
            self._file = self._part.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise FacemaskError(f"{path}: can't be written: {reason(error)}") from error
        self.begin(self._file)

    def begin(self, file: TextIO) -> None:
        """Write what stands before the first record."""

    def add(self, file: TextIO, record: dict[str, Any], number: int) -> None:
        """Write a record; numbers count from 0."""
        raise NotImplementedError

    def end(self, file: TextIO, count: int) -> None:
        """Write what stands behind the last of so many records."""

    def write(self, record: dict[str, Any]) -> None:
        try:
            self.add(self._file, record, self._count)
        except OSError as error:
            self._whole = False
            raise FacemaskError(f"{self._path}: can't be written: {reason(error)}") from error
        self._count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._whole or (kind and not self._count):
            with suppress(OSError):
                self._file.close()
            self._part.unlink(missing_ok=True)
            return
        with replacing(self._path), self._file:  # replacing's temporary file is the one that grew
            self.end(self._file, self._count)


class JSONList(RecordFile):
    """A JSON list with one object for each image."""

    def begin(self, file: TextIO) -> None:
        file.write("[")

    def add(self, file: TextIO, record: dict[str, Any], number: int) -> None:
        file.write((",\n" if number else "\n") + json.dumps(record, ensure_ascii=False))

    def end(self, file: TextIO, count: int) -> None:
        file.write("\n]\n" if count else "]\n")


class CSVTable(RecordFile):
    """A row for each face; an image without faces, or with an error, has one row with no face."""

    def begin(self, file: TextIO) -> None:
        self._writer = csv.DictWriter(file, CSV_COLUMNS)
        self._writer.writeheader()

    def add(self, file: TextIO, record: dict[str, Any], number: int) -> None:
        image = {key: value for key, value in record.items() if key != "faces"}
        for face_number, face in enumerate(record["faces"]):
            x1, y1, x2, y2 = face["box"]
            box = {"face": face_number, "x1": x1, "y1": y1, "x2": x2, "y2": y2}
            rest = {key: value for key, value in face.items() if key != "box"}
            self._writer.writerow({**image, **box, **rest})
        if not record["faces"]:
            self._writer.writerow(image)


@contextmanager
def open_records(
    json_file: Path | None, csv_file: Path | None
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A context manager that gives a function: it writes a record to each file that is wanted.

    The files are finished when the block ends; see RecordFile.
    """
    with ExitStack() as stack:
        kinds = ((JSONList, json_file), (CSVTable, csv_file))
        files = [stack.enter_context(kind(path)) for kind, path in kinds if path]

        def write(record: dict[str, Any]) -> None:
            for file in files:
                file.write(record)

        yield write


class LineFile:
    """A text file that grows by whole lines, each written at once: kill -9 leaves none cut.

    A context manager. Raises FacemaskError when the file can't be written; a line for which the
    disk had no room is taken back.
    """

    def __init__(self, path: Path):
        self._path = path
        self._end = 0  # bytes
        try:
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise FacemaskError(f"{path}: can't be written: {reason(error)}") from error

    def write_line(self, line: str) -> None:
        data = f"{line}\n".encode()
        try:
            written = self._file.write(data)
            if written != len(data):
                self._file.truncate(self._end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise FacemaskError(f"{self._path}: can't be written: {reason(error)}") from error
        self._end += written

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # write_line has said so already
            self._file.close()


class JSONLines(LineFile):
    """A file of one JSON object a line."""

    def write(self, record: dict[str, Any]) -> None:
        self.write_line(json.dumps(record))
