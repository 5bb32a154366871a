"""Measure mask detectors on class folders and on annotated scenes.

python -m facemask.evaluate --model mask_detector.keras --dataset photos --scenes street
"""

import argparse
import json
import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemask.console import error, info, run, warn
from facemask.errors import FacemaskError
from facemask.files import check_writable, find, replacing
from facemask.options import DETECTORS, ArgumentParser, fraction, whole_number

if TYPE_CHECKING:
    from facemask.detect.types import Detector
    from facemask.evaluate.metrics import Ratios
    from facemask.evaluate.runner import Models, SetResult

COMMAND = "facemask.evaluate"
FACE = "face_detector"
# More lines than this on what was skipped are found in evaluation.json alone.
MOST_PROBLEMS = 5


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(
        prog=f"python -m {COMMAND}",
        description="Measure mask detectors on class folders and on annotated scenes, all on the"
        " same images. Images that one of them was trained on, as the .split.json beside it says,"
        " are left out. Writes table.md, evaluation.json, and pictures: a confusion matrix for"
        " each figure and, unless --no-pictures is given, sheets of the surest mistakes, which"
        " show people's faces.",
    )
    add = parser.add_argument
    add(
        "-m",
        "--model",
        nargs="+",
        default=["mask_detector.keras"],
        metavar="FILE",
        help="trained mask detectors, .keras, .tflite or HDF5 (mask_detector.keras)",
    )
    add(
        "-d",
        "--dataset",
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders with a sub-folder of images for each class",
    )
    add(
        "--scenes",
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of photographs with annotated faces (Pascal VOC XML)",
    )
    add("-f", "--face", metavar="DIR", help=f"folder with face detectors' weights ({FACE})")
    add(
        "--detector",
        nargs="+",
        choices=DETECTORS[1:],
        help="what finds the faces; all are measured, and the first crops the images of --dataset"
        " (all whose weights are at hand)",
    )
    add(
        "-c",
        "--confidence",
        type=fraction,
        default=0.5,
        help="faces of more detector confidence than this count (%(default)s)",
    )
    add(
        "--min-face",
        type=whole_number(1),
        default=24,
        metavar="PX",
        help="width of the annotated faces that are classified in their own boxes; the figures by"
        " width are of all (%(default)s)",
    )
    add(
        "-o",
        "--output",
        type=Path,
        default=Path("evaluation"),
        metavar="DIR",
        help="folder to write to (%(default)s)",
    )
    add("--include-seen", action="store_true", help="keep images that a model was trained on")
    add("--no-pictures", action="store_true", help="write no sheets of mistakes")
    args = parser.parse_args(argv)
    if not args.dataset and not args.scenes:
        parser.error("expected --dataset or --scenes, found neither")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_arguments(argv)
    # Imported once the arguments are known to be good: --help and a typo answer at once.
    from tqdm import tqdm

    from facemask.detect.classifier import MaskClassifier, check_model_file
    from facemask.evaluate import runner, tables

    files = [find(text) for text in args.model]
    for file in files:
        check_model_file(file)
    table, data = args.output / "table.md", args.output / "evaluation.json"
    check_writable(table, data)
    names = unique([file.name for file in files])
    trained_on = {} if args.include_seen else read_trained_on(dict(zip(names, files, strict=True)))
    detectors = load_detectors(args.face, args.detector)
    info("loading face mask detector model...")
    models = {name: MaskClassifier.load(file) for name, file in zip(names, files, strict=True)}
    known = runner.common_classes(models)

    common = {
        "confidence": args.confidence,
        "trained_on": trained_on,
        "progress": partial(tqdm, disable=None, unit=" images"),
    }
    evaluate_folders = partial(runner.evaluate_folders, **common)
    evaluate_scenes = partial(runner.evaluate_scenes, min_face=args.min_face, **common)
    folders = [find(text) for text in (*args.dataset, *args.scenes)]
    kinds = [evaluate_folders] * len(args.dataset) + [evaluate_scenes] * len(args.scenes)
    set_names = unique([folder.resolve().name for folder in folders])
    results: list[SetResult] = []
    failed: dict[str, str] = {}
    for name, folder, evaluate in zip(set_names, folders, kinds, strict=True):
        info(f"evaluating {folder}...")
        try:
            results.append(evaluate(folder, name, models, detectors))
        except FacemaskError as problem:
            error(str(problem))
            # The file tells nothing of the machine; a relative path is as the user gave it.
            told = str(problem)
            failed[name] = told.replace(str(folder), name) if folder.is_absolute() else told
            continue
        say_what_is_missing(results[-1])
    if not results:
        return 1

    text = tables.tables(results, known, args.confidence)
    print(f"\n{text}", flush=True)
    with replacing(table) as part:
        part.write_text(text, encoding="utf-8")
    pictures = write_pictures(args.output, results, sheets=not args.no_pictures)
    settings = {name: getattr(args, name) for name in ("confidence", "min_face", "include_seen")}
    record = {
        "settings": {**settings, "detectors": list(detectors)},
        "models": model_records(models, files),
        "sets": [set_record(result) for result in results],
        "failed": failed,
        "pictures": pictures,
    }
    with replacing(data) as part:
        part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    info(f"wrote {table}, {data.name} and {len(pictures)} pictures beside them")
    return 1 if failed else 0


def load_detectors(folder: str | None, names: Sequence[str] | None) -> "dict[str, Detector]":
    """The face detectors by name; where none is named, all that are at hand, the SSD first."""
    from facemask.detect import registry
    from facemask.detect.ssd import SSDFaceDetector
    from facemask.detect.yunet import YuNetFaceDetector

    given = find(folder or FACE)
    if folder and not given.is_dir():
        raise FacemaskError(f"{folder}: no such folder; expected one with face detectors' weights")
    if not names:
        fetched = {"ssd": SSDFaceDetector, "yunet": YuNetFaceDetector}
        names = [name for name, kind in fetched.items() if kind.has_weights(given)] + ["builtin"]
    info(f"loading face detector models: {', '.join(names)}...")
    return {name: registry.load_detector(name, given, bulk=True) for name in names}


def read_trained_on(models: dict[str, Path]) -> dict[str, frozenset[str]]:
    """The digests of the images that each model was trained on, as far as that is recorded.

    What was watched while training counts too: the best epoch was chosen by it.
    """
    from facemask.data.splits import read_split, split_path

    trained_on = {}
    for name, file in models.items():
        record = split_path(file)
        if not record.is_file():
            info(f"{name}: no {record.name} beside it, so that it may know some of the images")
            continue
        parts = read_split(record)
        trained_on[name] = frozenset(digest for digest, part in parts.items() if part != "test")
    return trained_on


def say_what_is_missing(result: "SetResult") -> None:
    share = result.left_out_of
    if share.count:
        by_model = " or ".join(
            model if count == share.count else f"{model} ({count})"
            for model, count in result.left_out.items()
        )
        info(
            f"{result.name}: left out {share.count} of {share.total} images that {by_model} was"
            " trained on; --include-seen keeps them"
        )
    for problem in result.problems[:MOST_PROBLEMS]:
        warn(problem)
    more = len(result.problems) - MOST_PROBLEMS
    if more > 0:
        warn(f"{result.name}: {more} more such lines are in evaluation.json")


def write_pictures(folder: Path, results: "Iterable[SetResult]", sheets: bool) -> list[str]:
    """Confusion matrices and sheets of mistakes, each for a set, a row and a model; their names."""
    from facemask.evaluate.plots import confusion_figure, mistakes_figure, save_figure

    figures = {
        (result.name, row.name, model): found
        for result in results
        for row in result.rows
        for model, found in row.figures.items()
    }
    mistakes = {
        (result.name, row, model): found
        for result in results
        for row, by_model in result.mistakes.items()
        for model, found in by_model.items()
    }
    stems = unique(["-".join(map(_slug, key)) for key in figures])
    written = []
    for stem, key in zip(stems, figures, strict=True):
        title = f"{key[2]}: {key[0]}, {key[1]}"
        confusion = folder / f"{stem}-confusion.png"
        save_figure(confusion, confusion_figure(figures[key], title))
        written.append(confusion.name)
        sheet = folder / f"{stem}-mistakes.png"
        if sheets and mistakes[key]:
            save_figure(sheet, mistakes_figure(mistakes[key], f"surest mistakes of {title}"))
            written.append(sheet.name)
        elif sheets:  # one of an earlier run would be taken for this one's
            sheet.unlink(missing_ok=True)
    return written


def model_records(models: "Models", files: Sequence[Path]) -> list[dict[str, Any]]:
    from facemask.data.dataset import file_digest
    from facemask.data.splits import split_path

    return [
        {
            "name": name,
            "sha256": file_digest(file),
            "class_names": list(model.class_names),
            "margin": model.margin,
            "split_known": split_path(file).is_file(),
        }
        for (name, model), file in zip(models.items(), files, strict=True)
    ]


def set_record(result: "SetResult") -> dict[str, Any]:
    """The figures of a set as plain data; None where there was nothing to divide by."""
    from dataclasses import asdict, replace

    from facemask.evaluate.metrics import nanmean, rounded

    record = asdict(replace(result, mistakes={}))
    del record["mistakes"]
    for name in ("by_width", "by_colour"):
        shares: Ratios = getattr(result, name)
        record[name] = {
            group: {
                model: {"right": share.count, "total": share.total}
                for model, share in by_model.items()
            }
            for group, by_model in shares.items()
        }
    record["mean_average_precision"] = {
        detector: {model: nanmean([*found.values()]) for model, found in by_model.items()}
        for detector, by_model in result.precisions.items()
    }
    return rounded(record)


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


def _slug(name: str) -> str:
    """A name as a part of a file name."""
    return re.sub(r"[^\w.]+", "_", name).strip("_")[:60]


if __name__ == "__main__":
    run(main)
