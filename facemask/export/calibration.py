"""Faces from which an int8 model takes the ranges of its numbers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facemask.data.splits import PARTS
from facemask.detect.metadata import ModelMetadata
from facemask.detect.types import Detector
from facemask.errors import FacemaskError
from facemask.files import file_digest
from facemask.images import ImageError, crop_face, list_files, model_input, read_image

PHOTOGRAPHS = 300
FACES = 2  # of a photograph, the highest-scoring ones


def training_photographs(folders: Sequence[Path], parts: Mapping[str, str]) -> list[Path]:
    """About PHOTOGRAPHS of the files in folders, evenly spread, of the training part.

    parts: those of data.splits.read_split; photographs that it does not know are taken too.
    Raises FacemaskError where there are none.
    """
    paths = [path for folder in folders for path in list_files(folder)]
    if parts:
        paths = [path for path in paths if parts.get(file_digest(path), PARTS[0]) == PARTS[0]]
    if not paths:
        raise FacemaskError(
            f"{', '.join(map(str, folders))}: expected photographs that are not kept for"
            " validation or test, found none"
        )
    return paths[:: max(1, len(paths) // PHOTOGRAPHS)]


def calibration_inputs(
    paths: Sequence[Path],
    detector: Detector,
    model_metadata: ModelMetadata,
    progress: Callable[..., Any],
) -> Iterator[np.ndarray]:
    """Inputs of the model, (height, width, 3) float32 each, of the faces in photographs.

    Files that are no images are left out.
    """
    for path in progress(paths, total=len(paths)):
        try:
            image = read_image(path)
        except ImageError:
            continue
        for face in detector.detect(image)[:FACES]:
            crop = crop_face(image, face, model_metadata.margin)
            yield model_input(crop, model_metadata.input_size)
