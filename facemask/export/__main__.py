"""Write the TFLite export of a model that is already trained, in whole numbers for example.

python -m facemask.export --model mask_detector.keras --quantize int8 --images dataset
"""

if __name__ == "__main__":
    from facemask.startup import end_quietly_on_ctrl_c

    end_quietly_on_ctrl_c()

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from facemask.console import info, progress, run
from facemask.errors import FacemaskError, check_installed
from facemask.export.options import parse_arguments
from facemask.files import check_writable, find

if TYPE_CHECKING:
    import numpy as np

    from facemask.detect.metadata import ModelMetadata


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_arguments(argv)
    check_writable(args.output)
    check_installed("keras")
    from facemask.detect import classifier, metadata
    from facemask.train.export import export_tflite

    path = find(args.model)
    classifier.check_model_file(path)
    if metadata.read(path) is None:  # its input may be scaled in another way, see detect.foreign
        raise FacemaskError(
            f"{path}: expected a model of train_mask_detector.py, found one without"
            f" {metadata.ENTRY} inside"
        )
    info("loading face mask detector model...")
    model, known = classifier.load_keras_model(path)
    inputs = calibration_inputs(args, known) if args.quantize == "int8" else None
    known = replace(known, twin_of=metadata.weights_digest(path))
    export_tflite(args.output, model, known, args.quantize, inputs)
    info(f"wrote {args.output}, {args.output.stat().st_size / 1e6:.1f} MB")
    return 0


def calibration_inputs(args: argparse.Namespace, known: "ModelMetadata") -> "Iterator[np.ndarray]":
    """See calibration.calibration_inputs; the detector and the photographs of the arguments."""
    from facemask.data.splits import read_split, split_path
    from facemask.detect import registry
    from facemask.export import calibration

    split = split_path(find(args.model))
    parts = read_split(split) if split.is_file() else {}
    paths = calibration.training_photographs(list(map(find, args.images)), parts)
    info("loading face detector model...")
    folder = find(args.face)
    detector = registry.load_detector(registry.resolve(args.detector, folder, info), folder)
    shown = partial(progress, unit="images")
    return calibration.calibration_inputs(paths, detector, known, shown)


if __name__ == "__main__":
    run(main)
