"""Writes the drawn sample data set, and recognises one."""

import json
import re
from pathlib import Path

from facemask.class_names import WITH_MASK, WITHOUT_MASK
from facemask.errors import FacemaskError
from facemask.files import reason, replacing, write_text

CLASSES = (WITH_MASK, WITHOUT_MASK)
MARKER = "sample_dataset.json"
COMMAND = "facemask.sample_dataset"


def write_sample_dataset(folder: str | Path, count: int, size: int, seed: int) -> list[Path]:
    """Draw `count` pictures of size x size pixels into each of folder/with_mask and without_mask.

    Picture i of a class depends on (seed, class, i, size) alone. Pictures of an earlier drawn set
    are replaced. Raises FacemaskError, and leaves the folder as it is, where it holds anything else
    or can't be written. Returns the paths of the pictures.
    """
    # Imported here because is_sample_dataset needs none of it.
    import cv2
    import numpy as np

    from facemask.sample_dataset.portrait import draw_portrait

    folder = Path(folder)
    _prepare(folder, {"command": COMMAND, "seed": seed, "count": count, "size": size})
    paths = []
    for index, name in enumerate(CLASSES):
        for i in range(count):
            rng = np.random.default_rng([seed, index, i])
            image = draw_portrait(rng, name == WITH_MASK, size)
            encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
            paths.append(folder / name / f"drawn_{i:04d}.jpg")
            with replacing(paths[-1]) as temporary:
                temporary.write_bytes(encoded.tobytes())
    return paths


def is_sample_dataset(folder: str | Path) -> bool:
    """Whether the folder has the marker file of a set that this module drew."""
    try:
        settings = json.loads((Path(folder) / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and settings.get("command") == COMMAND


def _prepare(folder: Path, settings: dict[str, str | int]) -> None:
    """Make the folders and remove earlier drawings; refuse a folder with other files."""
    try:
        if folder.exists() and not folder.is_dir():
            raise FacemaskError(f"{folder}: expected a folder to draw into, found a file")
        if folder.exists() and any(folder.iterdir()) and not is_sample_dataset(folder):
            raise FacemaskError(
                f"{folder}: expected a new or empty folder, or a set drawn before; found other "
                "files, which were left as they are"
            )
        folder.mkdir(parents=True, exist_ok=True)
        # The marker comes first, so that a set whose drawing was interrupted can be drawn again.
        write_text(folder / MARKER, json.dumps(settings, indent=2) + "\n")
        for name in CLASSES:
            (folder / name).mkdir(exist_ok=True)
            for path in (folder / name).iterdir():
                if re.fullmatch(r"drawn_[0-9]{4,}\.jpg", path.name):
                    path.unlink()
    except OSError as error:
        raise FacemaskError(f"{folder}: can't be written: {reason(error)}") from error
