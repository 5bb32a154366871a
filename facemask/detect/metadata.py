"""What a model file says about itself: `facemask.json`, an entry of the `.keras` archive.

A `.tflite` file has it too, in a zip archive behind the model, where TFLite Metadata has its files.
A model without it is one that the classic scripts made.
"""

import hashlib
import json
import os
import zipfile
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from facemask.errors import FacemaskError

ENTRY = "facemask.json"
WEIGHTS = "model.weights.h5"  # Keras's entry of the .keras archive that holds the weights
CLASSIC_CLASSES = ("with_mask", "without_mask")


@dataclass(frozen=True)
class ModelMetadata:
    """What detection must know to use a model, and what a reader may want to know of it."""

    class_names: tuple[str, ...] = CLASSIC_CLASSES
    input_size: tuple[int, int] = (224, 224)  # height, width, pixels
    preprocessing: str = "rgb[-1,1]"  # as images.model_input makes it
    margin: float = 0.0  # how far face boxes are grown before cropping, as FaceBox.expand
    training: dict[str, Any] = field(default_factory=dict)  # data, split, versions, figures
    twin_of: str | None = None  # weights_digest of the .keras file that a .tflite was made from


def write(path: str | os.PathLike[str], facts: ModelMetadata) -> None:
    """Add the facts to a `.keras` archive, or to a `.tflite` file, that has none yet."""
    known = {key: value for key, value in asdict(facts).items() if value is not None}
    with zipfile.ZipFile(path, "a") as archive:  # starts an archive at the end of other files
        archive.writestr(ENTRY, json.dumps(known, indent=2))


def read(path: str | os.PathLike[str]) -> ModelMetadata | None:
    """The facts inside a model file; None for a file that carries none.

    Raises FacemaskError for facts that can't be read or understood.
    """
    path = Path(path)
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if ENTRY not in archive.namelist():
                return None
            found = json.loads(archive.read(ENTRY))
        known = {item.name for item in fields(ModelMetadata)}
        facts = ModelMetadata(**{key: value for key, value in found.items() if key in known})
        return _checked(facts)
    except Exception as error:  # zipfile raises a dozen kinds for a damaged or locked archive
        raise FacemaskError(f"{path}: its {ENTRY} can't be used: {error}") from error


def weights_digest(path: str | os.PathLike[str]) -> str | None:
    """The sha256 of a `.keras` file's weights, hexadecimal; None for any other file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return hashlib.sha256(archive.read(WEIGHTS)).hexdigest()
    except Exception:  # zipfile raises a dozen kinds for a damaged archive; loading it says which
        return None


def _checked(facts: ModelMetadata) -> ModelMetadata:
    """The facts with tuples where JSON has lists. Raises ValueError for what can't be right."""
    names, size = tuple(facts.class_names), tuple(facts.input_size)
    if len(names) < 2 or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"class_names: expected two or more names, found {facts.class_names!r}")
    if len(size) != 2 or not all(isinstance(side, int) and 0 < side <= 4096 for side in size):
        raise ValueError(f"input_size: expected [height, width], found {facts.input_size!r}")
    if facts.preprocessing != ModelMetadata.preprocessing:
        raise ValueError(
            f"preprocessing: expected {ModelMetadata.preprocessing!r}, found"
            f" {facts.preprocessing!r}"
        )
    if not 0.0 <= facts.margin <= 4.0:
        raise ValueError(f"margin: expected 0 to 4, found {facts.margin!r}")
    if not isinstance(facts.twin_of, str | None):
        raise ValueError(f"twin_of: expected a digest, found {facts.twin_of!r}")
    return replace(facts, class_names=names, input_size=size, margin=float(facts.margin))
