"""Pictures of faces, kept for alerts: personal data, so only their owner can read the files."""

import os
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from facemask.errors import FacemaskError
from facemask.files import check_writable, reason


def check_folder(folder: Path) -> None:
    """Make the folder where it is missing, and check that files can be written to it.

    Raises FacemaskError naming the folder and the reason.
    """
    if folder.exists() and not folder.is_dir():
        raise FacemaskError(f"{folder}: expected a folder for snapshots, found a file")
    check_writable(folder / "snapshot.jpg")


def save_snapshot(folder: Path, stem: str, image: np.ndarray) -> Path:
    """Write an image (H, W, 3) uint8, BGR, to a new file of mode 0600; returns its path.

    The file is stem.jpg or, where that name is taken, stem-2.jpg and so on.
    Raises FacemaskError where it can't be written; no part of it is left then.
    """
    picture = cv2.imencode(".jpg", image)[1].tobytes()
    path, number = folder / f"{stem}.jpg", 1
    while True:
        try:
            with open(path, "xb", opener=_open_privately) as file:
                file.write(picture)
            return path
        except FileExistsError:
            number += 1
            path = folder / f"{stem}-{number}.jpg"
        except OSError as error:
            with suppress(OSError):
                path.unlink()
            raise FacemaskError(f"{folder}: can't be written to: {reason(error)}") from error


def _open_privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
