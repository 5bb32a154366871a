"""The metadata of a model file: `facemask.json`, an entry of the `.keras` archive.

In a `.tflite` file it is in a zip archive appended to the model, as in TFLite Metadata. A model
without metadata comes from the classic scripts; the defaults of ModelMetadata describe it.
"""

import hashlib
import json
import os
import zipfile
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from facemask.class_names import WITH_MASK, WITHOUT_MASK, same_meaning
from facemask.errors import FacemaskError

ENTRY = "facemask.json"
WEIGHTS = "model.weights.h5"  # the entry of a .keras archive in which Keras puts the weights
CLASSIC_CLASSES = (WITH_MASK, WITHOUT_MASK)


@dataclass(frozen=True)
class ModelMetadata:
    """What detection needs to use a model, and how the model was trained."""

    class_names: tuple[str, ...] = CLASSIC_CLASSES
    input_size: tuple[int, int] = (224, 224)  # height, width, pixels
    preprocessing: str = "rgb[-1,1]"  # that of images.model_input
    margin: float = 0.0  # how far face boxes are grown before cropping; see FaceBox.expand
    training: dict[str, Any] = field(default_factory=dict)  # data, split, versions, metrics
    twin_of: str | None = None  # of a TFLite export: the weights_digest of its .keras file


def write(path: str | os.PathLike[str], metadata: ModelMetadata) -> None:
    """Add the metadata to a `.keras` or `.tflite` file that has none yet."""
    entries = {key: value for key, value in asdict(metadata).items() if value is not None}
    with zipfile.ZipFile(path, "a") as archive:  # appends a new archive to a .tflite file
        archive.writestr(ENTRY, json.dumps(entries, indent=2))


def read(path: str | os.PathLike[str]) -> ModelMetadata | None:
    """The metadata of a model file; None for a file without. Keys of later versions are ignored.

    Raises FacemaskError for metadata that can't be read or is not valid.
    """
    path = Path(path)
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if ENTRY not in archive.namelist():
                return None
            entries = json.loads(archive.read(ENTRY))
        known = {item.name for item in fields(ModelMetadata)}
        return _validated(
            ModelMetadata(**{key: value for key, value in entries.items() if key in known})
        )
    except Exception as error:  # zipfile raises many kinds for a damaged or encrypted archive
        raise FacemaskError(f"{path}: its {ENTRY} can't be used: {error}") from error


def weights_digest(path: str | os.PathLike[str]) -> str | None:
    """The sha256 of a `.keras` file's weights, hexadecimal; None for any other file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return hashlib.sha256(archive.read(WEIGHTS)).hexdigest()
    except Exception:  # zipfile raises many kinds; loading the model reports a damaged file
        return None


def _validated(metadata: ModelMetadata) -> ModelMetadata:
    """The metadata with tuples in place of JSON's lists. Raises ValueError for invalid values."""
    names, size = tuple(metadata.class_names), tuple(metadata.input_size)
    valid = not isinstance(metadata.class_names, str) and len(names) >= 2
    if not valid or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"class_names: expected two or more names, found {metadata.class_names!r}")
    if len(set(names)) < len(names) or same_meaning(names):
        raise ValueError(f"class_names: expected each class once, found {', '.join(names)}")
    if len(size) != 2 or not all(isinstance(side, int) and 0 < side <= 4096 for side in size):
        raise ValueError(f"input_size: expected [height, width], found {metadata.input_size!r}")
    if metadata.preprocessing != ModelMetadata.preprocessing:
        raise ValueError(
            f"preprocessing: expected {ModelMetadata.preprocessing!r}, found"
            f" {metadata.preprocessing!r}"
        )
    if not 0.0 <= metadata.margin <= 4.0:
        raise ValueError(f"margin: expected 0 to 4, found {metadata.margin!r}")
    if not isinstance(metadata.twin_of, str | None):
        raise ValueError(f"twin_of: expected a digest, found {metadata.twin_of!r}")
    return replace(metadata, class_names=names, input_size=size, margin=float(metadata.margin))
