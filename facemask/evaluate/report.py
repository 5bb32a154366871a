"""An evaluation as plain data: what evaluation.json holds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from facemask.data.splits import split_path
from facemask.evaluate.crops import CropSet, Models
from facemask.evaluate.metrics import Ratios, classification_record, rounded
from facemask.evaluate.runner import SetResult
from facemask.files import file_digest


def report(
    settings: Mapping[str, Any],
    models: Models,
    files: Sequence[Path],
    results: Sequence[SetResult],
    failed: Mapping[str, str],
    pictures: Sequence[str],
) -> dict[str, Any]:
    """The whole of evaluation.json. Fractions are 0 to 1; None where there is nothing to divide by.

    files: of the models, in their order; failed: the error of each set that can't be measured;
    pictures: the names of the files beside it.
    """
    return {
        "settings": dict(settings),
        "models": [
            {
                "name": name,
                "sha256": file_digest(file),
                "class_names": list(model.class_names),
                "margin": model.margin,
                "split_known": split_path(file).is_file(),
            }
            for (name, model), file in zip(models.items(), files, strict=True)
        ],
        "sets": [rounded(_set_record(result)) for result in results],
        "failed": dict(failed),
        "pictures": list(pictures),
    }


def _set_record(result: SetResult) -> dict[str, Any]:
    detectors = result.detectors
    by_model = {
        detector: {model: asdict(each) for model, each in figures.precision.items()}
        for detector, figures in detectors.items()
    }

    def precision(measure: str) -> dict[str, Any]:
        return {
            detector: {model: each[measure] for model, each in models.items()}
            for detector, models in by_model.items()
        }

    return {
        "name": result.name,
        "rows": [_crop_set_record(crops) for crops in result.crop_sets],
        "images": result.images,
        "left_out": result.left_out,
        "left_out_of": asdict(result.left_out_of),
        "problems": result.problems,
        "findings": {name: asdict(figures.metrics) for name, figures in detectors.items()},
        "face_average_precision": {
            name: {"AP50": figures.face_precision.ap50, "AP": figures.face_precision.ap}
            for name, figures in detectors.items()
        },
        # At an IoU of .5; those at .5 to .95 came later, under names of their own.
        "precisions": precision("ap50_by_class"),
        "mean_average_precision": precision("ap50"),
        "precisions_50_95": precision("ap_by_class"),
        "mean_average_precision_50_95": precision("ap"),
        "milliseconds": {name: figures.milliseconds for name, figures in detectors.items()},
        "box_counts": {name: asdict(counts) for name, counts in result.box_counts.items()},
        "by_width": _ratios_record(result.by_width),
        "by_colour": _ratios_record(result.by_colour),
    }


def _crop_set_record(crops: CropSet) -> dict[str, Any]:
    return {
        "name": crops.name,
        "crops": crops.crops,
        "figures": {name: classification_record(each) for name, each in crops.figures.items()},
        "agreements": {name: asdict(each) for name, each in crops.agreements.items()},
        "note": crops.note,
    }


def _ratios_record(ratios: Ratios) -> dict[str, Any]:
    return {
        group: {model: {"right": ratio.count, "total": ratio.total} for model, ratio in row.items()}
        for group, row in ratios.items()
    }


def unique(names: Sequence[str]) -> list[str]:
    """The names, with a number where one comes again."""
    taken: list[str] = []
    for name in names:
        free, number = name, 1
        while free in taken:
            number += 1
            free = f"{name} ({number})"
        taken.append(free)
    return taken
