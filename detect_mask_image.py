"""Detect face masks in images.

    python detect_mask_image.py --image examples/example_01.png
    python detect_mask_image.py --image photos/ more.jpg --output annotated/ --json found.json

Shows each image with its faces boxed and labelled in a window named Output; any key goes on to
the next image, and q ends the run.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from facemask.console import (
    ArgumentParser,
    add_detection_arguments,
    error,
    file_with_suffix,
    info,
    run,
    warn,
)
from facemask.errors import FacemaskError
from facemask.files import PROJECT, check_writable, find

if TYPE_CHECKING:
    from facemask.pipeline import Classifier, Detector

WINDOW = "Output"


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description="Detect face masks in images.")
    add = parser.add_argument
    add(
        "-i", "--image", required=True, nargs="+", metavar="PATH", help="images, or folders of them"
    )
    add_detection_arguments(parser)
    add(
        "-o",
        "--output",
        type=Path,
        metavar="PATH",
        help="write the annotated image there; for several images or a folder: a folder",
    )
    add("--json", type=file_with_suffix(".json"), metavar="FILE", help="write what was found")
    add("--csv", type=file_with_suffix(".csv"), metavar="FILE", help="write the same as a table")
    add("--no-display", action="store_true", help="open no window")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    # Imported once the arguments are known to be good: --help and a typo answer at once.
    from facemask import display, inputs, results
    from facemask.classifier import check_model_file
    from facemask.downloads import ensure_face_detector
    from facemask.drawing import draw_detections, label_text
    from facemask.images import read_image, write_image
    from facemask.pipeline import detect_masks

    face, model = find(args.face), find(args.model)
    jobs, passed_over = inputs.find_images(args.image)
    if passed_over:
        info(f"passed over files that are no images: {', '.join(map(str, passed_over))}")
    headless = not args.no_display and not display.can_show_windows()
    show = not (args.no_display or headless)
    if args.output:
        single = len(args.image) == 1 and not find(args.image[0]).is_dir()
        jobs = inputs.plan_outputs(jobs, args.output, single)
    elif headless and not (args.json or args.csv):
        jobs = inputs.plan_fallback(jobs)
    if headless:
        written = f"; writing {jobs[0].output}" if jobs[0].output else ""
        warn(f"no display to open a window on{written}")
    outputs = {job.output.parent: job.output for job in jobs if job.output}
    check_writable(*outputs.values(), *(file for file in (args.json, args.csv) if file))
    check_model_file(model)
    if face.resolve() == PROJECT / "face_detector":
        ensure_face_detector(face, info)

    networks = None
    records = []
    failed = 0
    try:
        for job in jobs:
            try:
                image = read_image(job.path)
            except FacemaskError as problem:
                error(str(problem))
                records.append(results.error_record(job.name, str(problem)))
                failed += 1
                continue
            networks = networks or load_networks(face, model)
            detections = detect_masks(image, *networks, args.confidence, args.uncertain)
            records.append(results.image_record(job.name, image, detections))
            found = ", ".join(map(label_text, detections)) or "no face"
            info(f"{job.name}: {found}")
            if not (job.output or show):
                continue
            annotated = draw_detections(image, detections)
            if job.output:
                write_image(job.output, annotated)
                info(f"wrote {job.output}")
            if show and display.show_until_key(WINDOW, annotated) == "q":
                break
    finally:  # also what an interrupted run has found is kept
        if args.json:
            results.write_json(args.json, records)
        if args.csv:
            results.write_csv(args.csv, records)
    return 1 if failed else 0


def load_networks(face: Path, model: Path) -> "tuple[Detector, Classifier]":
    """Both networks, loaded only once there is an image to show them."""
    from facemask.classifier import MaskClassifier, prefer_twin
    from facemask.detector import FaceDetector

    info("loading face detector model...")
    detector = FaceDetector.load(face)
    info("loading face mask detector model...")
    classifier = MaskClassifier.load(prefer_twin(model, info))
    info("computing face detections...")
    return detector, classifier


if __name__ == "__main__":
    run(main)
