"""Detect face masks in the frames of a camera, a video file or a stream.

    python detect_mask_video.py
    python detect_mask_video.py --source street.mp4 --output annotated.mp4 --no-display

Shows the frames with their faces boxed and labelled in a window named Frame; q ends the run, and
so does Ctrl-C.
"""

import argparse
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING

from facemask.console import (
    ArgumentParser,
    add_detection_arguments,
    file_with_suffix,
    info,
    run,
    warn,
)
from facemask.errors import FacemaskError
from facemask.files import check_writable, find

if TYPE_CHECKING:
    import numpy as np

    from facemask.pipeline import MaskDetection

    TimedFrame = tuple[float, np.ndarray]  # seconds from the first frame; (H, W, 3) uint8, BGR

WINDOW = "Frame"
READ_AHEAD = 2  # frames of a file


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description="Detect face masks in a video stream.")
    add = parser.add_argument
    add(
        "-s",
        "--source",
        default="0",
        metavar="SOURCE",
        help="camera number, video file or URL (camera %(default)s)",
    )
    add_detection_arguments(parser)
    add(
        "-o",
        "--output",
        type=file_with_suffix(".mp4", ".m4v", ".mov", ".avi", ".mkv"),
        metavar="FILE",
        help="write the annotated video: .mp4, .m4v, .mov, .avi or .mkv",
    )
    add(
        "--json",
        type=file_with_suffix(".jsonl", ".json"),
        metavar="FILE",
        help="write what was found, a line for each frame",
    )
    add("--no-display", action="store_true", help="open no window")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    # Imported once the arguments are known to be good: --help and a typo answer at once.
    from imutils.video import FPS

    from facemask import display
    from facemask.ahead import in_order, read_ahead
    from facemask.classifier import check_model_file
    from facemask.detectors import prepare
    from facemask.drawing import draw_detections
    from facemask.networks import Networks, side_by_side
    from facemask.pipeline import detect_masks
    from facemask.results import JSONLines, frame_record
    from facemask.timings import NO_TIMINGS, Timings
    from facemask.video import VideoSource, VideoWriter

    face, model = find(args.face), find(args.model)
    if args.output and args.output.resolve() == find(args.source).resolve():
        raise FacemaskError(f"{args.output}: is the video to read; give another --output")
    check_writable(*(file for file in (args.output, args.json) if file))
    check_model_file(model)
    with ExitStack() as stack:
        source = stack.enter_context(VideoSource.open(args.source))
        detector = prepare(args.detector, face, info)
        show = not args.no_display and display.can_show_windows()
        if not (show or args.no_display):
            warn("no display to open a window on; Ctrl-C ends the run")
        networks = Networks(face, model, info, detector, args.tiles, many=True)
        networks.load()

        info("starting video stream...")
        writer = stack.enter_context(VideoWriter(args.output, source.fps)) if args.output else None
        lines = stack.enter_context(JSONLines(args.json)) if args.json else None
        timings = Timings() if args.timings else NO_TIMINGS

        def label(frame: "TimedFrame") -> "tuple[TimedFrame, list[MaskDetection]]":
            """Find the faces of a frame and draw on it; several threads may do that at once."""
            with networks.borrowed() as pair:
                found = detect_masks(frame[1], *pair, args.confidence, args.uncertain, timings)
            if writer or show:
                with timings.stage("draw"):
                    draw_detections(frame[1], found, in_place=True)
            return frame, found

        # Of a file, the frames to come are read and labelled while one is written and shown. What
        # a camera sees is labelled at once, and shown before the next frame is taken.
        workers = stack.enter_context(side_by_side(wanted=source.is_file))
        frames = timings.taking("read", source.frames())
        if workers > 1:
            frames = stack.enter_context(closing(read_ahead(frames, READ_AHEAD)))
        labelled = stack.enter_context(closing(in_order(label, frames, workers, workers + 2)))
        number, to_the_end = 0, False
        fps = FPS().start()
        with suppress(KeyboardInterrupt):  # Ctrl-C ends the run as q does
            for number, ((time_s, frame), detections) in enumerate(labelled, start=1):
                with timings.stage("write"):
                    if writer:
                        writer.write(frame, time_s)
                    if lines:
                        lines.write(frame_record(number - 1, time_s, frame, detections))
                fps.update()
                if show:
                    with timings.stage("show"):
                        go_on = display.show_frame(WINDOW, frame)
                    if not go_on:
                        break
            else:
                to_the_end = True
        fps.stop()
    if to_the_end and source.cut_short(number):
        warn(
            f"{source.name}: ended after {number} of the {source.frame_count} frames it should have"
        )
    info(f"{number} frames in {fps.elapsed():.1f} seconds, {fps.fps():.1f} FPS")
    if args.timings:
        for line in timings.table(number, "frame"):
            info(line)
    return 0


if __name__ == "__main__":
    run(main)
