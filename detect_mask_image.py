"""Detect face masks in images.

    python detect_mask_image.py --image examples/example_01.png
    python detect_mask_image.py --image photos/ more.jpg --output annotated/ --json found.json
    python detect_mask_image.py --image archive/ --engine dask --parts found/

Shows each image with its faces boxed and labelled in a window named Output; any key goes on to
the next image, and q ends the run. With an engine there is no window: several worker processes
label the images, and write what they find in parts.
"""

import argparse
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemask.console import error, info, run, warn
from facemask.errors import FacemaskError
from facemask.files import check_writable, find
from facemask.options import (
    ArgumentParser,
    add_detection_arguments,
    file_with_suffix,
    parse_address,
    whole_number,
)

if TYPE_CHECKING:
    import numpy as np

    from facemask.batch.inputs import ImageJob
    from facemask.detect.pool import Networks
    from facemask.timings import Timings

WINDOW = "Output"
PART_SIZE = 100  # images: what a killed worker was at is seconds of work
MANY = 10  # more images than this get a progress bar, and networks made ready for many


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description="Detect face masks in images.")
    add = parser.add_argument
    add(
        "-i",
        "--image",
        required=True,
        nargs="+",
        metavar="PATH",
        help="images, or folders of them; with an engine also URLs such as s3://bucket/folder",
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
    add_engine_arguments(parser)
    args = parser.parse_args(argv)
    check_engine_arguments(parser, args)
    return args


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """What spreads the work over processes."""
    add = parser.add_argument
    add(
        "--engine",
        choices=("local", "dask"),
        default="local",
        help="what does the work: this process, or workers of Dask, which write --parts"
        " (%(default)s)",
    )
    add("--parts", metavar="DIR", help="folder or URL that the engine's workers write to")
    add(
        "--part-size",
        type=whole_number(1),
        metavar="N",
        help=f"images in each part ({PART_SIZE})",
    )
    add(
        "--workers",
        type=whole_number(1, 4096),
        metavar="N",
        help="worker processes to start here (one for each core)",
    )
    add(
        "--engine-address",
        type=scheduler_address,
        metavar="HOST:PORT",
        help="scheduler of a running cluster, whose workers to use instead",
    )


def scheduler_address(text: str) -> str:
    """Argument type: HOST:PORT, with tcp:// or tls:// before it or not."""
    try:
        parse_address(text.removeprefix("tcp://").removeprefix("tls://"))
    except FacemaskError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from problem
    return text


def check_engine_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    local_only = ("output", "json", "csv", "timings")
    engine_only = ("parts", "part_size", "workers", "engine_address")
    unusable = engine_only if args.engine == "local" else local_only
    given = [f"--{name.replace('_', '-')}" for name in unusable if getattr(args, name)]
    if given and args.engine == "local":
        parser.error(f"argument {given[0]}: expected --engine dask with it")
    if given:
        parser.error(f"argument {given[0]}: not with --engine {args.engine}, which writes --parts")
    if args.engine != "local" and not args.parts:
        parser.error(f"argument --engine {args.engine}: expected --parts with it")
    if args.workers and args.engine_address:
        parser.error("argument --workers: not with --engine-address, whose cluster has its own")


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    if args.engine != "local":
        return label_archive(args)
    # Imported once the arguments are known to be good: --help and a typo answer at once.
    from facemask.batch import inputs
    from facemask.detect.classifier import check_model_file
    from facemask.detect.pool import Networks
    from facemask.detect.registry import ensure_weights
    from facemask.output import display, records
    from facemask.threads import in_order, one_thread_per_image
    from facemask.timings import NO_TIMINGS, Timings

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
    detector = ensure_weights(args.detector, face, info)

    timings = Timings() if args.timings else NO_TIMINGS
    networks = Networks(face, model, info, detector, args.tiles, bulk=len(jobs) > MANY)
    failed = number = 0
    try:
        with ExitStack() as stack:
            # Files of records are finished last, and also by Ctrl-C: what was found is kept.
            files = [stack.enter_context(records.JSONList(args.json))] if args.json else []
            files += [stack.enter_context(records.CSVTable(args.csv))] if args.csv else []
            # A window is shown image by image; otherwise images are worked on side by side.
            workers = stack.enter_context(one_thread_per_image(wanted=len(jobs) > 1 and not show))
            label = partial(label_image, networks=networks, args=args, show=show, timings=timings)
            labelled = stack.enter_context(closing(in_order(label, jobs, workers, workers + 2)))
            for one in with_progress(labelled, len(jobs)):
                number += 1
                for file in files:
                    file.write(one.record)
                if one.problem:
                    error(one.problem)
                    failed += 1
                    continue
                info(f"{one.job.name}: {one.found}")
                if one.job.output:
                    info(f"wrote {one.job.output}")
                if one.picture is None:
                    continue
                if display.show_until_key(WINDOW, one.picture) == "q":
                    break
    finally:
        if args.timings:
            for line in timings.table(number, "image"):
                info(line)
    return 1 if failed else 0


@dataclass(frozen=True)
class Labelled:
    """What became of an image: its record and either the problem with it or what was found."""

    job: "ImageJob"
    record: dict[str, Any]
    problem: str = ""
    found: str = ""
    picture: "np.ndarray | None" = None  # annotated, where it is to be shown


def label_image(
    job: "ImageJob",
    networks: "Networks",
    args: argparse.Namespace,
    show: bool,
    timings: "Timings",
) -> Labelled:
    """Read, label and write one image; several threads may do that side by side.

    The networks are loaded only once there is an image to show them.
    """
    from facemask.detect.pipeline import detect_masks
    from facemask.images import read_image, write_image
    from facemask.output.drawing import draw_detections
    from facemask.output.labels import label_text
    from facemask.output.records import error_record, image_record

    try:
        with timings.stage("read"):
            image = read_image(job.path)
    except FacemaskError as problem:
        return Labelled(job, error_record(job.name, str(problem)), problem=str(problem))
    if networks.load():
        info("computing face detections...")
    with networks.acquire() as pair:
        detections = detect_masks(image, *pair, args.confidence, args.uncertain, timings)
    if job.output or show:
        with timings.stage("draw"):
            draw_detections(image, detections, in_place=True)
    if job.output:
        with timings.stage("write"):
            write_image(job.output, image)
    return Labelled(
        job,
        image_record(job.name, image, detections),
        found=", ".join(map(label_text, detections)) or "no face",
        picture=image if show else None,
    )


def label_archive(args: argparse.Namespace) -> int:
    """Label the images with several worker processes, which write what they find in parts."""
    from tqdm import tqdm

    from facemask.batch.archive import Run, Settings, find_items
    from facemask.batch.dask_engine import open_cluster
    from facemask.detect.classifier import check_model_file, prefer_tflite
    from facemask.detect.registry import ensure_weights

    face, model = find(args.face), find(args.model)
    items, passed_over = find_items(args.image)
    if passed_over:
        more = f" and {len(passed_over) - MANY} more" if len(passed_over) > MANY else ""
        info(f"passed over files that are no images: {', '.join(passed_over[:MANY])}{more}")
    check_model_file(model)
    detector = ensure_weights(args.detector, face, info)
    model = prefer_tflite(model, info)
    settings = Settings(
        str(model), str(face), detector, args.tiles, args.confidence, args.uncertain
    )
    archive = Run(items, settings, args.parts, args.part_size or PART_SIZE)
    there = archive.check_folder(args.image)
    if there:
        info(f"{args.parts} has {there} of {len(archive.parts)} parts already")

    faces = unread = missing = 0
    with open_cluster(args.engine_address, args.workers, warn) as cluster:
        workers = cluster.workers()
        info(f"labelling {len(items)} images in {len(archive.parts)} parts, {workers} at a time...")
        with tqdm(total=len(items), unit=" images", disable=None) as bar:
            for done in archive.label(cluster.each):
                for problem in done.problems:
                    error(problem)
                faces += done.faces
                missing += done.missing
                unread += 0 if done.missing else len(done.problems)
                bar.update(done.images)
    info(f"{len(items) - missing} images, {faces} faces, {unread} could not be read")
    info(f"wrote {args.parts}")
    return 1 if unread or missing else 0


def with_progress(labelled: Iterable[Labelled], total: int) -> Iterable[Labelled]:
    """The images and, where there are many and a terminal to show it on, a progress bar."""
    if total <= MANY:
        return labelled
    from tqdm import tqdm

    return tqdm(labelled, total=total, unit=" images", disable=None)


if __name__ == "__main__":
    run(main)
