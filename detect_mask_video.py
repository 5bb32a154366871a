"""Detect face masks in the frames of a camera, a video file, a folder of images or a stream.

    python detect_mask_video.py
    python detect_mask_video.py --source street.mp4 --output annotated.mp4 --no-display

Shows the frames with their faces boxed and labelled in a window named Frame: q ends the run, as
Ctrl-C does, p pauses it, and s saves the frame as a picture.
"""

if __name__ == "__main__":
    from facemask.startup import end_quietly_on_ctrl_c

    end_quietly_on_ctrl_c()

import argparse
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from facemask.console import error, info, run, warn
from facemask.errors import plain_interrupts
from facemask.files import find
from facemask.timings import NO_TIMINGS, Timings
from facemask.video.options import check_files, check_tracking, parse_arguments

if TYPE_CHECKING:
    from facemask.detect.pool import Networks


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    # Imported after the arguments are checked, so that --help and a typo are answered at once.
    from imutils.video import FPS

    from facemask.output.drawing import draw_detections
    from facemask.output.records import JSONLines, frame_record
    from facemask.video.alerts import Alerts
    from facemask.video.frame_errors import FrameErrors
    from facemask.video.hiding import hide_faces
    from facemask.video.labelling import FaceLabeller, labelled_frames
    from facemask.video.sources import open_source
    from facemask.video.track_log import TrackLog
    from facemask.video.viewer import open_viewer
    from facemask.video.writer import open_writer
    from facemask.web.page import open_page

    check_files(args)
    timings = Timings() if args.timings else NO_TIMINGS
    # Whatever is opened here is closed when the block ends, also by q, Ctrl-C or an error.
    with ExitStack() as stack:
        enter = stack.enter_context
        page = enter(open_page(args.serve, args.serve_token, info, warn)) if args.serve else None
        # Opened before the networks load, so that a wrong name is reported at once.
        source = enter(open_source(args.source, warn, args.every, args.loop, args.reconnect))
        check_tracking(args, source.photographs, info)
        viewer = None if args.no_display else open_viewer(info, warn, args.fast or source.live)

        # Of a file, each thread finds the faces of another frame.
        networks = load_networks(args, threads=None if source.live else 1)
        info("starting video stream...")
        photographs = source.photographs and not args.track
        track_log = enter(TrackLog(args.csv, photographs)) if args.track is not False else None
        writer = enter(open_writer(args.output, source, warn)) if args.output else None
        records = enter(JSONLines(args.json)) if args.json else None
        rule = args.alert_labels, args.alert_after, args.alert_cooldown
        alerts = enter(Alerts(args.alert_command, *rule, args.snapshots, warn, info))
        if viewer:
            source.on_wait = viewer.interrupt_if_asked

        labeller = FaceLabeller(networks, track_log, args.confidence, args.uncertain, timings)
        every_frame = args.classify_every_frame or photographs or not track_log
        label = labeller.in_every_frame if every_frame else labeller.by_track
        number, fps, errors = 0, FPS().start(), FrameErrors(error)
        if page:
            page.follow(args.class_names, source, track_log, alerts, errors)
        frames = enter(labelled_frames(source, labeller, label, timings, args.detect_every_frame))
        frames = hide_faces(frames, photographs) if args.blur else frames
        with suppress(KeyboardInterrupt), plain_interrupts():  # Ctrl-C ends the run as q does
            for number, labelled in enumerate(frames, start=1):
                time_s, frame, detections = labelled.time_s, labelled.image, labelled.detections
                shown = labelled.shown  # the frame, or a copy with blurred faces
                with errors.caught(number - 1, labelled.problem):
                    alerts.update(detections, frame, time_s)
                    if writer or viewer:
                        with timings.stage("draw"):
                            draw_detections(shown, detections, in_place=True)
                with timings.stage("write"):
                    if writer:
                        writer.write(shown, time_s)
                    if records:
                        about = time_s, frame, detections, errors.message
                        records.write(frame_record(number - 1, *about))
                fps.update()
                if page:
                    page.show(shown, detections, is_drawn=bool(writer or viewer))
                if viewer:
                    with timings.stage("show"):
                        if not viewer.show(shown, time_s, track_log.status() if track_log else ""):
                            break  # q was pressed, or the window was closed
        fps.stop()

    if source.live:
        info(f"{source.dropped_frames} frames dropped to keep up with {source.name}")
    info(f"{number} frames in {fps.elapsed():.1f} seconds, {fps.fps():.1f} FPS")
    if track_log:
        info(track_log.summary())
    timings.report(number, "frame", info)
    if errors.count:
        error(errors.summary(number))
    return 1 if errors.count or source.skipped_files else 0


def load_networks(args: argparse.Namespace, threads: int | None) -> "Networks":
    """Load the face detector and the mask classifier, and announce each of them."""
    from facemask.detect.pool import Networks
    from facemask.detect.registry import ensure_weights

    face = find(args.face)
    options = ensure_weights(args.detector, face, info), args.tiles, args.merge_incorrect
    networks = Networks(face, args.model, info, *options, threads=threads, int8=True)
    networks.load()
    return networks


if __name__ == "__main__":
    run(main)
