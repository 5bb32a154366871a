"""Detect face masks in the frames of a camera, a video file, a folder of images or a stream.

    python detect_mask_video.py
    python detect_mask_video.py --source street.mp4 --output annotated.mp4 --no-display

Shows the frames with their faces boxed and labelled in a window named Frame: q ends the run, as
Ctrl-C does, p pauses it, and s saves the frame as a picture.
"""

import argparse
from contextlib import ExitStack, closing, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from facemask.console import info, run, warn
from facemask.errors import FacemaskError
from facemask.files import check_writable, find
from facemask.options import (
    ArgumentParser,
    add_detection_arguments,
    file_with_suffix,
    number_above,
    whole_number,
)

if TYPE_CHECKING:
    import numpy as np

    from facemask.detect.types import MaskDetection
    from facemask.video.track_log import Followed

    TimedFrame = tuple[float, np.ndarray]  # seconds from the first frame; (H, W, 3) uint8, BGR

WINDOW = "Frame"
READ_AHEAD = 2  # frames of a file
RECONNECT_S = 120.0  # a camera that was switched off and on again is there by then
ALERT_AFTER_S, ALERT_COOLDOWN_S = 3.0, 60.0


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description="Detect face masks in a video stream.")
    add = parser.add_argument
    add(
        "-s",
        "--source",
        default="0",
        metavar="SOURCE",
        help="camera number, video file, folder of images or URL (camera %(default)s)",
    )
    add(
        "--every",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="look at each N-th frame of a file or folder only (%(default)s)",
    )
    add("--loop", action="store_true", help="begin a file or folder again at its end")
    add(
        "--reconnect",
        type=number_above(-1e-9),
        default=RECONNECT_S,
        metavar="SECONDS",
        help="how long to try a camera or stream again that gives no frames any more"
        " (%(default)g; 0: it has ended)",
    )
    add_detection_arguments(parser)
    add(
        "--track",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="follow faces from frame to frame and label each by its last second (the default), or"
        " label each frame by itself",
    )
    add(
        "-o",
        "--output",
        type=file_with_suffix(".mp4", ".m4v", ".mov", ".webm", ".avi", ".mkv"),
        metavar="FILE",
        help="write the annotated video: .mp4, .m4v, .mov, .webm, .avi or .mkv",
    )
    add(
        "--json",
        type=file_with_suffix(".jsonl", ".json"),
        metavar="FILE",
        help="write what was found, a line for each frame",
    )
    add(
        "--csv",
        type=file_with_suffix(".csv"),
        metavar="FILE",
        help="write a row for each face that was followed: when, its label, its share of frames",
    )
    add(
        "--alert-command",
        type=command,
        default=[],
        metavar="COMMAND",
        help="program to run, with its arguments and without a shell, when a face has been seen"
        " without a mask; FACEMASK_LABEL, FACEMASK_TRACK and FACEMASK_TIME tell it more",
    )
    add(
        "--alert-after",
        type=number_above(-1e-9),
        default=ALERT_AFTER_S,
        metavar="SECONDS",
        help="how long it must have been seen so (%(default)g)",
    )
    add(
        "--alert-cooldown",
        type=number_above(0),
        default=ALERT_COOLDOWN_S,
        metavar="SECONDS",
        help="no second alert for so long (%(default)g)",
    )
    add(
        "--snapshots",
        type=Path,
        metavar="DIR",
        help="keep a picture of the face for each alert: personal data, so off by default",
    )
    add("--no-display", action="store_true", help="open no window")
    args = parser.parse_args(argv)
    args.alerts = bool(args.alert_command or args.snapshots)
    if not args.track and (args.csv or args.alerts):
        parser.error("--no-track: --csv, --alert-command and --snapshots need faces to be followed")
    return args


def command(text: str) -> list[str]:
    """Argument type: a program and its arguments."""
    from facemask.video.alerts import (
        split_command,  # which takes OpenCV, for which --help need not wait
    )

    return split_command(text)


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    # Imported once the arguments are known to be good: --help and a typo answer at once.
    from imutils.video import FPS

    from facemask.detect.classifier import check_model_file
    from facemask.detect.pipeline import detect_masks
    from facemask.detect.pool import Networks
    from facemask.detect.registry import ensure_weights
    from facemask.output import display
    from facemask.output.drawing import draw_detections
    from facemask.output.records import JSONLines, frame_record
    from facemask.threads import in_order, one_thread_per_image, read_ahead
    from facemask.timings import NO_TIMINGS, Timings
    from facemask.video.alerts import Alerts
    from facemask.video.sources import open_source
    from facemask.video.track_log import Followed
    from facemask.video.writer import VideoWriter

    face, model = find(args.face), find(args.model)
    if args.output and args.output.resolve() == find(args.source).resolve():
        raise FacemaskError(f"{args.output}: is the video to read; give another --output")
    check_writable(*(file for file in (args.output, args.json, args.csv) if file))
    check_model_file(model)
    with ExitStack() as stack:
        enter = stack.enter_context
        source = enter(open_source(args.source, warn, args.every, args.loop, args.reconnect))
        detector = ensure_weights(args.detector, face, info)
        show = not args.no_display and display.can_show_windows()
        if not (show or args.no_display):
            warn("no display to open a window on; Ctrl-C ends the run")
        networks = Networks(face, model, info, detector, args.tiles, bulk=True)
        networks.load()

        info("starting video stream...")
        writer = enter(VideoWriter(args.output, source.fps)) if args.output else None
        lines = enter(JSONLines(args.json)) if args.json else None
        followed = enter(Followed(args.csv)) if args.track else None
        when = args.alert_after, args.alert_cooldown
        alerts = (
            enter(Alerts(args.alert_command, *when, args.snapshots, warn)) if args.alerts else None
        )
        timings = Timings() if args.timings else NO_TIMINGS

        def label(frame: "TimedFrame") -> "tuple[TimedFrame, list[MaskDetection]]":
            """Find and label the faces of a frame; several threads may do that at once."""
            with networks.acquire() as pair:
                return frame, detect_masks(
                    frame[1], *pair, args.confidence, args.uncertain, timings
                )

        # Of a file, the frames to come are read and labelled while one is written and shown. What
        # a camera sees is labelled at once, and shown before the next frame is taken.
        workers = enter(one_thread_per_image(wanted=not source.live))
        frames = timings.taking("read", source.frames())
        if workers > 1:
            frames = enter(closing(read_ahead(frames, READ_AHEAD)))
        labelled = enter(closing(in_order(label, frames, workers, workers + 2)))
        number, to_the_end = 0, False

        def quit_while_waiting() -> None:
            if number and display.asks_to_quit(WINDOW):  # before the first frame there is no window
                raise KeyboardInterrupt

        if show:
            source.idle = quit_while_waiting
        fps = FPS().start()
        with suppress(KeyboardInterrupt):  # Ctrl-C ends the run as q does
            for number, ((time_s, frame), detections) in enumerate(labelled, start=1):
                if followed:
                    with timings.stage("track"):
                        detections = followed.update(detections, time_s)
                if alerts:
                    alerts.update(detections, frame, time_s)
                if writer or show:
                    with timings.stage("draw"):
                        draw_detections(frame, detections, in_place=True)
                with timings.stage("write"):
                    if writer:
                        writer.write(frame, time_s)
                    if lines:
                        lines.write(frame_record(number - 1, time_s, frame, detections))
                fps.update()
                if show:
                    with timings.stage("show"):
                        go_on = show_frame(frame, followed)
                    if not go_on:
                        break
            else:
                to_the_end = True
        fps.stop()
    if to_the_end and source.truncated(number):
        warn(
            f"{source.name}: ended after {number} of the {source.frame_count} frames it should have"
        )
    if source.live:
        info(f"{source.passed_over} frames passed by while others were looked at")
    info(f"{number} frames in {fps.elapsed():.1f} seconds, {fps.fps():.1f} FPS")
    if followed:
        info(followed.summary())
    if args.timings:
        for line in timings.table(number, "frame"):
            info(line)
    return 0


def show_frame(frame: "np.ndarray", followed: "Followed | None") -> bool:
    """Show a frame and do what its viewer asks by a key; whether to go on."""
    from facemask.output import display
    from facemask.output.drawing import draw_status

    shown = frame
    if followed:
        shown = frame.copy()
        draw_status(shown, followed.status())
    key = display.show_frame(WINDOW, shown)
    paused = key == "p"
    while paused or key == "s":
        if key == "s":
            save_frame(frame)
        key = display.pause(WINDOW) if paused else ""
        paused = paused and key == "s"
    return key != "q"


def save_frame(frame: "np.ndarray") -> None:
    """Write a frame into the working folder; what goes wrong is said and ends nothing."""
    from facemask.images import write_image

    path = Path(f"frame_{datetime.now():%Y-%m-%dT%H-%M-%S.%f}.png")
    try:
        write_image(path, frame)
        info(f"wrote {path}")
    except FacemaskError as problem:
        warn(str(problem))


if __name__ == "__main__":
    run(main)
