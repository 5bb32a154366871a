"""Write the drawn sample data set, and recognise one."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from facemask.errors import FacemaskError
from facemask.files import reason, replacing

CLASSES = ("with_mask", "without_mask")
MARKER = "sample_dataset.json"
COMMAND = "facemask.sample_dataset"


def write_sample_dataset(folder: str | Path, count: int, size: int, seed: int) -> list[Path]:
    """Draw `count` pictures of size x size pixels into each of folder/with_mask and without_mask.

    Picture i of a class depends on (seed, class, i, size) alone. An earlier drawn set is drawn
    again; a folder that holds anything else raises FacemaskError and is left as it is.
    """
    folder = Path(folder)
    _prepare(folder, {"command": COMMAND, "seed": seed, "count": count, "size": size})
    paths = []
    for index, name in enumerate(CLASSES):
        for i in range(count):
            picture = _drawn_jpeg([seed, index, i], name == "with_mask", size)
            paths.append(folder / name / f"drawn_{i:04d}.jpg")
            with replacing(paths[-1]) as part:
                part.write_bytes(picture)
    return paths


def is_sample_dataset(folder: str | Path) -> bool:
    """Whether the folder is a set that this module drew, by the marker file inside."""
    try:
        facts = json.loads((Path(folder) / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(facts, dict) and facts.get("command") == COMMAND


def _drawn_jpeg(seed: Sequence[int], with_mask: bool, size: int) -> bytes:
    """The portrait of size x size pixels that the seed chooses, as a JPEG file."""
    # Imported here: who only asks is_sample_dataset needs none of it.
    import cv2
    import numpy as np

    from facemask.sample_dataset.portrait import draw_portrait

    image = draw_portrait(np.random.default_rng(seed), with_mask, size)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


def _prepare(folder: Path, facts: dict[str, str | int]) -> None:
    """Make the folders, empty of earlier drawings; refuse a folder of someone else's."""
    try:
        if folder.exists() and not folder.is_dir():
            raise FacemaskError(f"{folder}: expected a folder to draw into, found a file")
        if folder.exists() and any(folder.iterdir()) and not is_sample_dataset(folder):
            raise FacemaskError(
                f"{folder}: expected a new or empty folder, or a set drawn before; found other "
                "files, which were left as they are"
            )
        folder.mkdir(parents=True, exist_ok=True)
        # First the marker: a set whose drawing was interrupted can then be drawn again.
        with replacing(folder / MARKER) as part:
            part.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        for name in CLASSES:
            (folder / name).mkdir(exist_ok=True)
            for path in (folder / name).iterdir():
                if re.fullmatch(r"drawn_[0-9]{4,}\.jpg", path.name):
                    path.unlink()
    except OSError as error:
        raise FacemaskError(f"{folder}: can't be written: {reason(error)}") from error
