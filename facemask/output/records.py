"""Detections as JSON and CSV."""

import csv
import errno
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, Self

import numpy as np

from facemask.detect.types import MaskDetection
from facemask.errors import FacemaskError
from facemask.files import encode, reason, replacing

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
    name: str, width: int, height: int, detections: Sequence[MaskDetection]
) -> dict[str, Any]:
    """The record of an image; width and height are in pixels."""
    return {"image": name, "width": width, "height": height, "faces": faces(detections)}


def error_record(name: str, message: str) -> dict[str, Any]:
    """The record of an image that can't be read."""
    return {"image": name, "error": message, "faces": []}


def frame_record(
    number: int,
    time_s: float,
    frame: np.ndarray,
    detections: Sequence[MaskDetection],
    error: str = "",
) -> dict[str, Any]:
    """The record of a video frame (H, W, 3).

    number: of the frame, from 0. time_s: seconds from the start of the video. error: what went
    wrong with the frame, if anything; the record has it as "error" then.
    """
    height, width = frame.shape[:2]
    return {
        "frame": number,
        "time_s": round(time_s, 3),
        "width": width,
        "height": height,
        **({"error": error} if error else {}),
        "faces": faces(detections),
    }


@contextmanager
def record_file(path: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A context manager that gives a function, which writes the record of an image to a file.

    A `.csv` file has a row for each face; an image without faces, or with an error, has one row
    without a face. Any other file is a JSON list with one object for each image.
    Names that are not UTF-8 are written as files.encode does.
    The file grows under a temporary name and gets its own name when the block ends, also by an
    error or Ctrl-C: the records written until then are kept, as a whole file. A run that ends in an
    error before its first record leaves the old file as it was, and so does a file that could not
    be written.
    Raises FacemaskError when the file can't be written.
    """
    is_table = path.suffix.lower() == ".csv"
    count, failed = 0, False
    ended_by: BaseException | None = None
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        table = csv.DictWriter(file, CSV_COLUMNS)

        def write(record: dict[str, Any]) -> None:
            nonlocal count, failed
            try:
                if is_table:
                    table.writerows(_rows(record))
                else:
                    text = json.dumps(record, ensure_ascii=False)
                    file.write(f",\n{text}" if count else f"\n{text}")
            except OSError as error:
                failed = True
                raise FacemaskError(f"{path}: can't be written: {reason(error)}") from error
            count += 1

        if is_table:
            table.writeheader()
        else:
            file.write("[")
        try:
            yield write
        except BaseException as error:
            if failed or not count:
                raise
            ended_by = error
        if not is_table:
            file.write("\n]\n" if count else "]\n")
    if ended_by:
        raise ended_by


def _rows(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of an image's record in a table."""
    image = {key: value for key, value in record.items() if key != "faces"}
    for number, face in enumerate(record["faces"]):
        box = dict(zip(("x1", "y1", "x2", "y2"), face["box"], strict=True))
        other = {key: value for key, value in face.items() if key != "box"}
        yield {**image, "face": number, **box, **other}
    if not record["faces"]:
        yield image


@contextmanager
def open_records(*paths: Path | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A context manager that gives a function: it writes a record to each path that is not None.

    See record_file for the files.
    """
    with ExitStack() as stack:
        writers = [stack.enter_context(record_file(path)) for path in paths if path]

        def write(record: dict[str, Any]) -> None:
            for write_to_file in writers:
                write_to_file(record)

        yield write


class LineFile:
    """A text file that grows by whole lines, also when the process is killed: one write a line.

    A context manager. It replaces an earlier file with the first line or at its end, so that a run
    that fails before has lost nothing. Raises FacemaskError when the file can't be written; a line
    that does not fit on the disk is removed again.
    """

    def __init__(self, path: Path):
        self._path = path
        self._file: FileIO | None = None  # from the first line on

    def write_line(self, line: str) -> None:
        self._write(encode(f"{line}\n"))

    def _write(self, data: bytes) -> None:
        try:
            self._file = self._file or FileIO(self._path, "w")
            written = self._file.write(data)
            if written != len(data):
                self._file.truncate(self._file.tell() - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise FacemaskError(f"{self._path}: can't be written: {reason(error)}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and not self._file:
            self._write(b"")
        if self._file:
            with suppress(OSError):  # write_line has raised it already
                self._file.close()


class JSONLines(LineFile):
    """A file with one JSON object in each line."""

    def write(self, record: dict[str, Any]) -> None:
        self.write_line(json.dumps(record))
