"""Measure mask detectors on class folders and on annotated scenes.

python -m facemask.evaluate --model mask_detector.keras --dataset photos --scenes street
"""

import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from facemask.console import error, info, run, warn
from facemask.errors import FacemaskError
from facemask.evaluate.options import FACE_FOLDER, MAX_PROBLEMS, parse_arguments
from facemask.files import check_writable, find, replacing

if TYPE_CHECKING:
    from facemask.detect.types import Detector
    from facemask.evaluate.runner import SetResult


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_arguments(argv)
    # Imported once the arguments are known to be good: --help and a typo answer at once.
    from tqdm import tqdm

    from facemask.data.splits import split_path
    from facemask.detect.classifier import MaskClassifier, check_model_file
    from facemask.evaluate import plots, report, runner, tables
    from facemask.evaluate.image_sets import read_trained_on

    files = [find(text) for text in args.model]
    for file in files:
        check_model_file(file)
    table, data = args.output / "table.md", args.output / "evaluation.json"
    check_writable(table, data)
    names = report.unique([file.name for file in files])
    trained_on = {} if args.include_seen else read_trained_on(names, files)
    for name, record in zip(names, map(split_path, files), strict=True):
        if name not in trained_on and not args.include_seen:
            info(f"{name}: no {record.name} beside it, so that it may know some of the images")
    detectors = load_detectors(args.face, args.detector)
    info("loading face mask detector model...")
    models = {name: MaskClassifier.load(file) for name, file in zip(names, files, strict=True)}
    known = runner.common_classes(models)

    common = {
        "models": models,
        "detectors": detectors,
        "confidence": args.confidence,
        "trained_on": trained_on,
        "progress": partial(tqdm, disable=None, unit=" images"),
    }
    measures = [runner.evaluate_folders] * len(args.dataset)
    measures += [partial(runner.evaluate_scenes, min_face=args.min_face)] * len(args.scenes)
    folders = [find(text) for text in (*args.dataset, *args.scenes)]
    set_names = report.unique([folder.resolve().name for folder in folders])
    results: list[SetResult] = []
    failed: dict[str, str] = {}
    for name, folder, measure in zip(set_names, folders, measures, strict=True):
        info(f"evaluating {folder}...")
        try:
            results.append(measure(folder, name, **common))
        except FacemaskError as problem:
            error(str(problem))
            # No path of this machine goes into the file; a relative path is as the user gave it.
            text = str(problem)
            failed[name] = text.replace(str(folder), name) if folder.is_absolute() else text
            continue
        report_skipped(results[-1])
    if not results:
        return 1

    text = tables.tables(results, known, args.confidence)
    print(f"\n{text}", flush=True)
    with replacing(table) as temporary:
        temporary.write_text(text, encoding="utf-8")
    pictures = plots.write_pictures(args.output, results, sheets=not args.no_pictures)
    settings = {name: getattr(args, name) for name in ("confidence", "min_face", "include_seen")}
    settings["detectors"] = list(detectors)
    record = report.report(settings, models, files, results, failed, pictures)
    with replacing(data) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    info(f"wrote {table}, {data.name} and {len(pictures)} pictures beside them")
    return 1 if failed else 0


def load_detectors(folder: str | None, names: Sequence[str] | None) -> "dict[str, Detector]":
    """The face detectors by name; without names, all that are available, the SSD first."""
    from facemask.detect import registry
    from facemask.detect.ssd import SSDFaceDetector
    from facemask.detect.yunet import YuNetFaceDetector

    weights = find(folder or FACE_FOLDER)
    if folder and not weights.is_dir():
        raise FacemaskError(f"{folder}: no such folder; expected one with face detectors' weights")
    if not names:
        fetched = {"ssd": SSDFaceDetector, "yunet": YuNetFaceDetector}
        names = [name for name, kind in fetched.items() if kind.has_weights(weights)] + ["builtin"]
    info(f"loading face detector models: {', '.join(names)}...")
    return {name: registry.load_detector(name, weights, bulk=True) for name in names}


def report_skipped(result: "SetResult") -> None:
    """Say how many images were left out, and what was skipped."""
    ratio = result.left_out_of
    if ratio.count:
        by_model = " or ".join(
            model if count == ratio.count else f"{model} ({count})"
            for model, count in result.left_out.items()
        )
        info(
            f"{result.name}: left out {ratio.count} of {ratio.total} images that {by_model} was"
            " trained on; --include-seen keeps them"
        )
    for problem in result.problems[:MAX_PROBLEMS]:
        warn(problem)
    more = len(result.problems) - MAX_PROBLEMS
    if more > 0:
        warn(f"{result.name}: {more} more such lines are in evaluation.json")


if __name__ == "__main__":
    run(main)
