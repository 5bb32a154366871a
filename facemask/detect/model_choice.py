"""Which mask detector a command uses, and what is known of it before it is loaded."""

import os
from pathlib import Path

from facemask.class_names import without_incorrect
from facemask.detect import metadata
from facemask.detect.metadata import ModelMetadata
from facemask.files import find

TRAINED = "mask_detector.keras"  # what train_mask_detector.py writes by default
SHIPPED = "pretrained/mask_detector.keras"


def find_model(given: str | os.PathLike[str] | None) -> Path:
    """The model file that a command uses: the given one, as files.find does.

    given: None for the user's own TRAINED model or, where there is none, the SHIPPED one.
    """
    if given is not None:
        return find(given)
    trained, shipped = find(TRAINED), find(SHIPPED)
    return shipped if shipped.exists() and not trained.exists() else trained


def describe_model(path: Path) -> str:
    """Which model was found without a given one, and what it was trained on, in one line.

    Raises FacemaskError for metadata that can't be read.
    """
    shipped = path == find(SHIPPED)
    name = f"{SHIPPED}, which comes with the project" if shipped else str(path)
    return f"face mask detector: {name}, {describe_training(path)}"


def describe_training(path: Path) -> str:
    """What a model file says of its training: `trained on 1,104 images of dataset on 2026-11-26`.

    The images are those of the training part. Raises FacemaskError for metadata that can't be read.
    """
    training = (metadata.read(path) or ModelMetadata()).training
    try:
        count, date = f"{training['images']['train']:,}", training.get("date")
        sources = ", ".join(map(str, training["sources"]))
    except (AttributeError, KeyError, TypeError, ValueError):  # made by other scripts
        return "without a record of what it was trained on"
    return f"trained on {count} images of {sources}" + (f" on {date}" if date else "")


def class_names(path: Path, merge_incorrect: str | None = None) -> tuple[str, ...]:
    """The classes that a model file states or, of a model without metadata, the classic ones.

    merge_incorrect: what MaskClassifier.merge_incorrect will merge the third class into, if it is
    to. Raises FacemaskError for metadata that can't be read, and UsageError as without_incorrect.
    """
    names = (metadata.read(path) or ModelMetadata()).class_names
    return without_incorrect(names, merge_incorrect) if merge_incorrect else names
