"""Detections as JSON and CSV."""

import csv
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np

from facemask.errors import FacemaskError
from facemask.files import reason, replacing
from facemask.pipeline import MaskDetection

CSV_COLUMNS: tuple[str, ...] = (
    "image", "width", "height", "face", "x1", "y1", "x2", "y2",
    "confidence", "label", "probability", "error",
)  # fmt: skip


def faces(detections: Sequence[MaskDetection]) -> list[dict[str, Any]]:
    """The detections as plain data: box is xyxy in pixels, the other numbers are 0 to 1."""
    return [
        {
            "box": [found.face.x1, found.face.y1, found.face.x2, found.face.y2],
            "confidence": round(found.face.confidence, 4),
            "label": found.label,
            "probability": round(found.probability, 4),
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


def write_json(path: str | os.PathLike[str], records: Iterable[dict[str, Any]]) -> None:
    """A list with one object for each image. Raises FacemaskError when it can't be written."""
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        lines = ",\n".join(json.dumps(record, ensure_ascii=False) for record in records)
        file.write(f"[\n{lines}\n]\n" if lines else "[]\n")


def write_csv(path: str | os.PathLike[str], records: Iterable[dict[str, Any]]) -> None:
    """A row for each face; an image without faces, or with an error, has one row with no face.

    Raises FacemaskError when it can't be written.
    """
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, CSV_COLUMNS)
        writer.writeheader()
        for record in records:
            image = {key: value for key, value in record.items() if key != "faces"}
            for number, face in enumerate(record["faces"]):
                x1, y1, x2, y2 = face["box"]
                box = {"face": number, "x1": x1, "y1": y1, "x2": x2, "y2": y2}
                rest = {key: value for key, value in face.items() if key != "box"}
                writer.writerow({**image, **box, **rest})
            if not record["faces"]:
                writer.writerow(image)


class JSONLines:
    """A file of one JSON object a line; each line is on its way to the disk before the next.

    A context manager. Raises FacemaskError when the file can't be written.
    """

    def __init__(self, path: Path):
        self._path = path
        try:
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise FacemaskError(f"{path}: can't be written: {reason(error)}") from error

    def write(self, record: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
        except OSError as error:
            raise FacemaskError(f"{self._path}: can't be written: {reason(error)}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # write() has said so already
            self._file.close()
