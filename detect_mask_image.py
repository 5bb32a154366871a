"""Detect face masks in images.

    python detect_mask_image.py --image examples/example_01.png
    python detect_mask_image.py --image photos/ more.jpg --output annotated/ --json faces.json
    python detect_mask_image.py --image archive/ --engine dask --parts labels/

Shows each image with its faces boxed and labelled in a window named Output: any key shows the next
image, and q ends the run. With an engine there is no window: several worker processes label the
images and write their records in parts.
"""

if __name__ == "__main__":
    from facemask.startup import end_quietly_on_ctrl_c

    end_quietly_on_ctrl_c()

from contextlib import ExitStack
from typing import TYPE_CHECKING

from facemask.batch.options import check_files, parse_arguments, show_progress
from facemask.console import error, info, run, warn
from facemask.files import find

if TYPE_CHECKING:
    import argparse

    from facemask.batch.inputs import ImageJob

WINDOW = "Output"


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    if args.engine != "local":
        return label_archive(args)
    # Imported after the arguments are checked, so that --help and a typo are answered at once.
    from facemask.batch import inputs
    from facemask.batch.labelling import LabelledImage, annotate, labelled_images
    from facemask.detect.pipeline import detect_masks
    from facemask.detect.pool import Networks
    from facemask.detect.registry import ensure_weights
    from facemask.output import display
    from facemask.output.records import image_record, open_records
    from facemask.timings import NO_TIMINGS, Timings

    # Find the images, and plan whether each is shown or written.
    jobs, skipped = inputs.find_images(args.image)
    if skipped:
        info(inputs.describe_skipped(skipped))
    show = not args.no_display and display.can_show_windows()
    no_screen = not (show or args.no_display)
    beside = no_screen and not (args.json or args.csv)
    jobs = inputs.plan_outputs(jobs, args.image, args.output, beside)
    if no_screen:
        first = f"; writing {jobs[0].output}" if jobs[0].output else ""
        warn(f"no display to open a window on{first}")
    check_files(args, [job.output for job in jobs if job.output])
    if show:
        info("a key in the window shows the next image, q ends; --no-display opens no window")

    # Load the face detector and the mask classifier: as the first image is read, each announced.
    face = find(args.face)
    detector = ensure_weights(args.detector, face, info)
    options = detector, args.tiles, args.merge_incorrect
    networks = Networks(face, args.model, info, *options)
    reader = inputs.ImageReader(args.max_pixels, inputs.least_side(args.tiles))
    timings = Timings() if args.timings else NO_TIMINGS

    def label_image(job: "ImageJob") -> LabelledImage:
        """Read an image, find its faces, label and draw them; several threads do so at once."""
        with reader.read(job.path, str(job.path), timings) as picture:
            if networks.load():  # says "loading face detector model..." and so on, once
                info("computing face detections...")
            with networks.acquire() as pair:
                thresholds = args.confidence, args.uncertain
                detections = detect_masks(picture.image, *pair, *thresholds, timings)
            detections = picture.in_own_size(detections)  # large JPEGs are decoded at reduced scale
            record = image_record(job.name, picture.width, picture.height, detections)
            result = LabelledImage(job, record, detections)
            return annotate(result, picture, show, args.blur, timings)

    number = failed = 0
    with ExitStack() as stack:
        # What is opened here is finished when the block ends, also by q, Ctrl-C or an error.
        stack.callback(lambda: timings.report(number, "image", info))
        write_record = stack.enter_context(open_records(args.json, args.csv))
        results = stack.enter_context(labelled_images(jobs, label_image, one_by_one=show))
        for result in show_progress(results, len(jobs)):
            number += 1
            write_record(result.record)
            if result.problem:
                error(result.problem)
                failed += 1
                continue
            info(f"{result.job.name}: {result.labels}")
            if result.job.output:
                info(f"wrote {result.job.output}")
            if result.image is not None and display.show_until_key(WINDOW, result.image) == "q":
                break
    return 1 if failed else 0


def label_archive(args: "argparse.Namespace") -> int:
    """Label the images with an engine's worker processes, which write their records in parts."""
    from tqdm import tqdm

    from facemask.batch import archive
    from facemask.batch.dask_engine import open_cluster
    from facemask.detect.classifier import prefer_tflite
    from facemask.detect.registry import ensure_weights

    check_files(args)
    face = find(args.face)
    detector = ensure_weights(args.detector, face, info)
    model = prefer_tflite(args.model, info)
    thresholds = args.tiles, args.confidence, args.uncertain, args.max_pixels
    networks = str(model), str(face), detector
    settings = archive.Settings(*networks, *thresholds, args.merge_incorrect)
    cluster = open_cluster(args.engine_address, args.workers, warn)
    plan = args.image, settings, args.parts, args.part_size
    return 0 if archive.label_archive(*plan, cluster, info, error, tqdm) else 1


if __name__ == "__main__":
    run(main)
