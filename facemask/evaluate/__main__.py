"""Measure mask detectors on class folders, on annotated scenes, and by group of people.

python -m facemask.evaluate --model mask_detector.keras --dataset photos --scenes street
"""

if __name__ == "__main__":
    from facemask.startup import end_quietly_on_ctrl_c

    end_quietly_on_ctrl_c()

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemask.console import error, info, progress, run, warn
from facemask.errors import FacemaskError, UsageError, check_installed
from facemask.evaluate.options import FACE_FOLDER, MAX_PROBLEMS, parse_arguments
from facemask.files import check_writable, file_digest, find, write_text

if TYPE_CHECKING:
    from facemask.detect.classifier import MaskClassifier
    from facemask.detect.types import Classifier, Detector
    from facemask.evaluate.group_figures import Landmarks


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_arguments(argv)
    check_installed("sklearn")
    # Imported once the arguments are known to be good: --help and a typo answer at once.
    from facemask.data.splits import split_path
    from facemask.detect.builtin import WEIGHTS
    from facemask.evaluate.group_figures import measure_groups
    from facemask.evaluate.groups import read_table
    from facemask.evaluate.image_sets import distinct_names, read_trained_on
    from facemask.evaluate.metrics import rounded
    from facemask.evaluate.plots import write_pictures
    from facemask.evaluate.runner import Evaluation
    from facemask.evaluate.tables import tables

    files, merged = find_models(args.model, args.merge_incorrect)
    table, data = args.output / "table.md", args.output / "evaluation.json"
    check_writable(table, data)
    group_table = read_table(find(args.groups_csv)) if args.groups_csv else None
    names = distinct_names(files)
    trained_on = {} if args.include_seen else read_trained_on(names, files)
    for name, split in zip(names, map(split_path, files), strict=True):
        if name not in trained_on and not args.include_seen:
            info(f"{name}: no {split.name} beside it, so that it may know some of the images")
    detectors = load_detectors(args.face, args.detector)
    if "builtin" in detectors and not args.include_seen:
        trained_on |= read_trained_on(["builtin"], [WEIGHTS])
    info("loading face mask detector model...")
    models = load_models(names, files, merged)
    evaluation = Evaluation(
        models, detectors, args.confidence, args.min_face, trained_on,
        partial(progress, unit="images"),
    )  # fmt: skip
    class_names = evaluation.class_names
    jobs = [(evaluation.class_folders, find(text)) for text in args.dataset]
    jobs += [(evaluation.scenes, find(text)) for text in args.scenes]
    if args.groups:
        by_group = partial(measure_groups, evaluation, load_landmarks(args.face), group_table)
        jobs += [(by_group, find(text)) for text in args.groups]
    sets, failed = measure(jobs)
    if not sets:
        return 1

    text = tables(sets, class_names, args.confidence)
    print(f"\n{text}", flush=True)
    write_text(table, text)
    mistakes = None if args.no_pictures else evaluation.mistakes
    pictures = write_pictures(args.output, sets, mistakes)
    kept = ("confidence", "min_face", "include_seen", "merge_incorrect")
    settings = {name: getattr(args, name) for name in kept}
    record = {
        "settings": settings | {"detectors": list(detectors)},
        "models": [
            describe(name, file, models[name]) for name, file in zip(names, files, strict=True)
        ],
        "sets": rounded(sets),
        "failed": failed,
        "pictures": pictures,
    }
    write_text(data, json.dumps(record, indent=2) + "\n")
    info(f"wrote {table}, {data.name} and {len(pictures)} pictures beside them")
    return 1 if failed else 0


def describe(name: str, file: Path, model: "Classifier") -> dict[str, Any]:
    """What evaluation.json says of a model."""
    from facemask.data.splits import split_path

    return {
        "name": name,
        "sha256": file_digest(file),
        "class_names": list(model.class_names),
        "margin": model.margin,
        "split_known": split_path(file).is_file(),
    }


def measure(
    jobs: Sequence[tuple[Callable[[Path, str], dict[str, Any]], Path]],
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The records of sets, and by name the errors of those that can't be measured.

    jobs: for each set what measures it, and its folder.
    """
    from facemask.evaluate.image_sets import distinct_names, without_paths

    sets: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    names = distinct_names([folder for _, folder in jobs])
    for name, (measure_folder, folder) in zip(names, jobs, strict=True):
        info(f"evaluating {folder}...")
        try:
            sets.append(measure_folder(folder, name))
        except FacemaskError as problem:
            error(str(problem))
            failed[name] = without_paths(str(problem), folder, name)
        else:
            report_skipped(sets[-1])
    return sets, failed


def find_models(
    given: Sequence[str | None], merge_incorrect: str | None
) -> tuple[list[Path], dict[Path, str]]:
    """The model files, and for those whose classes are merged the class they are merged into.

    Models without those classes stay as they are, so that one of two classes can be compared with
    one of three. Raises FacemaskError for a file that is no model, and UsageError where classes are
    to be merged and no model has them.
    """
    from facemask.detect.classifier import check_model_file
    from facemask.detect.model_choice import class_names, describe_model, find_model

    files = [find_model(text) for text in given]
    for file in files:
        check_model_file(file)
    merged: dict[Path, str] = {}
    problems = []
    if merge_incorrect:
        for file in files:
            try:
                class_names(file, merge_incorrect)
                merged[file] = merge_incorrect
            except UsageError as problem:
                problems.append(problem)
        if not merged:
            raise problems[0]
    if given == [None]:
        info(describe_model(files[0]))
    return files, merged


def load_models(
    names: Sequence[str], files: Sequence[Path], merged: Mapping[Path, str]
) -> "dict[str, MaskClassifier]":
    """The mask classifiers by name; all spell their classes as the first one does.

    merged: for some files, a class for MaskClassifier.merge_incorrect.
    """
    from facemask.detect.classifier import MaskClassifier

    models: dict[str, MaskClassifier] = {}
    for name, file in zip(names, files, strict=True):
        model = MaskClassifier.load(file, announce=info)
        if file in merged:
            model = model.merge_incorrect(merged[file])
        first = next(iter(models.values()), model)
        models[name] = model.in_terms_of(first.class_names)
    return models


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
    return {name: registry.load_detector(name, weights) for name in names}


def load_landmarks(folder: str | None) -> "Landmarks | None":
    """What finds the landmarks that masks are drawn by; None without YuNet's weights."""
    from facemask.detect.yunet import YuNetFaceDetector

    weights = find(folder or FACE_FOLDER)
    if YuNetFaceDetector.has_weights(weights):
        return YuNetFaceDetector.load(weights).detect_landmarks
    warn(
        f"{weights}: without YuNet's weights no masks are drawn on"
        " (python -m facemask.downloads yunet)"
    )
    return None


def report_skipped(record: Mapping[str, Any]) -> None:
    """Say how many images of a set were left out, and what was skipped."""
    name, problems, ratio = record["name"], record["problems"], record["left_out_of"]
    if ratio.count:
        by_model = " or ".join(
            model if count == ratio.count else f"{model} ({count})"
            for model, count in record["left_out"].items()
        )
        info(
            f"{name}: left out {ratio.count} of {ratio.total} images that {by_model} was"
            " trained on; --include-seen keeps them"
        )
    for problem in problems[:MAX_PROBLEMS]:
        warn(problem)
    if len(problems) > MAX_PROBLEMS:
        more = len(problems) - MAX_PROBLEMS
        warn(f"{name}: {more} more such lines are in evaluation.json")


if __name__ == "__main__":
    run(main)
