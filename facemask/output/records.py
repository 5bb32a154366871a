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

    A detection with a track number has "track" as well.
    """
    return [
        {
            "box": [detection.face.x1, detection.face.y1, detection.face.x2, detection.face.y2],
            "confidence": round(detection.face.confidence, 4),
            "label": detection.label,
            "probability": round(detection.probability, 4),
            **({} if detection.track is None else {"track": detection.track}),
        }
        for detection in detections
    ]


def image_record(
    name: str, image: np.ndarray, detections: Sequence[MaskDetection]
) -> dict[str, Any]:
    """The record of an image (H, W, 3); width and height are in pixels."""
    height, width = image.shape[:2]
    return {"image": name, "width": width, "height": height, "faces": faces(detections)}


def error_record(name: str, message: str) -> dict[str, Any]:
    """The record of an image that can't be read."""
    return {"image": name, "error": message, "faces": []}


def frame_record(
    number: int, time_s: float, frame: np.ndarray, detections: Sequence[MaskDetection]
) -> dict[str, Any]:
    """The record of a video frame (H, W, 3).

    number: of the frame, from 0. time_s: seconds from the start of the video.
    """
    height, width = frame.shape[:2]
    return {
        "frame": number,
        "time_s": round(time_s, 3),
        "width": width,
        "height": height,
        "faces": faces(detections),
    }


class RecordFile:
    """A file with a record for each image, written as the records come.

    A context manager. The file grows under a temporary name and gets its own name when the block
    ends, also by an error or Ctrl-C: the records written until then are kept, as a whole file. A
    run that ends in an error before its first record leaves the old file as it was, and so does a
    file that could not be written.
    Raises FacemaskError when the file can't be written.
    """

    def __init__(self, path: Path):
        self._path = path
        self._temporary = beside(path)
        self._count = 0
        self._complete = True
        try:
            self._file = self._temporary.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise FacemaskError(f"{path}: can't be written: {reason(error)}") from error
        self.begin(self._file)

    def begin(self, file: TextIO) -> None:
        """Write what comes before the first record."""

    def add(self, file: TextIO, record: dict[str, Any], number: int) -> None:
        """Write a record; numbers count from 0."""
        raise NotImplementedError

    def end(self, file: TextIO, count: int) -> None:
        """Write what comes after the last record. count: of all records."""

    def write(self, record: dict[str, Any]) -> None:
        try:
            self.add(self._file, record, self._count)
        except OSError as error:
            self._complete = False
            raise FacemaskError(f"{self._path}: can't be written: {reason(error)}") from error
        self._count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._complete or (kind and not self._count):
            with suppress(OSError):
                self._file.close()
            self._temporary.unlink(missing_ok=True)
            return
        with replacing(self._path), self._file:  # it renames the temporary file, self._temporary
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
    """A row for each face. An image without faces, or with an error, has one row without a face."""

    def begin(self, file: TextIO) -> None:
        self._writer = csv.DictWriter(file, CSV_COLUMNS)
        self._writer.writeheader()

    def add(self, file: TextIO, record: dict[str, Any], number: int) -> None:
        image = {key: value for key, value in record.items() if key != "faces"}
        for face_number, face in enumerate(record["faces"]):
            box = dict(zip(("x1", "y1", "x2", "y2"), face["box"], strict=True))
            other = {key: value for key, value in face.items() if key != "box"}
            self._writer.writerow({**image, "face": face_number, **box, **other})
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
    """A text file that grows by whole lines, also when the process is killed: one write a line.

    A context manager. Raises FacemaskError when the file can't be written; a line that does not
    fit on the disk is removed again.
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
        with suppress(OSError):  # write_line has raised it already
            self._file.close()


class JSONLines(LineFile):
    """A file with one JSON object in each line."""

    def write(self, record: dict[str, Any]) -> None:
        self.write_line(json.dumps(record))
