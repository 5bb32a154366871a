"""Every kind of awkward video, through the real command with the networks of the project.

Each is read or refused in one line, and what was processed is whole.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import pytest
from PIL import Image

import detect_mask_video
from facemask.detect.pool import Networks
from facemask.files import PROJECT
from facemask.images import write_image
from facemask.train_face_detector.pseudo_labels import sampled_frames
from facemask.video import sources
from facemask.video.options import parse_arguments

from ..video.test_sources import MJPEGServer
from . import videos
from .harness import Outcome, check, run_command
from .videos import pictures, write

Writer = Callable[[Path], object]


@pytest.fixture(scope="module")
def networks() -> Networks:
    """The built-in face detector and the classifier, loaded once: that takes longer than a case."""
    model = str(PROJECT / "pretrained" / "mask_detector.keras")
    arguments = parse_arguments(["--detector", "builtin", "--model", model])
    return detect_mask_video.load_networks(arguments, threads=1)


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, networks: Networks) -> None:
    monkeypatch.setattr(detect_mask_video, "load_networks", lambda *_, **__: networks)
    monkeypatch.chdir(tmp_path)


def detect(source: str | Path, *arguments: str | Path) -> tuple[Outcome, list[dict]]:
    """Run the command; the outcome, and the records of the frames."""
    record = Path("faces.jsonl")
    outcome = run_command(
        detect_mask_video.main,
        *("--source", source, "--no-display", "--reconnect", "0", "--json", record, *arguments),
    )
    lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    records = [json.loads(line) for line in lines]
    assert [each["frame"] for each in records] == list(range(len(records)))
    times = [each["time_s"] for each in records]
    assert times == sorted(set(times)), times
    return outcome, records


def frames_in(path: Path) -> int:
    with sources.FileSource(path.name, path) as source:
        return sum(1 for _ in source.frames())


# Suffix, how it is written, frames, width, height, and what the warnings say.
READABLE: dict[str, tuple[str, Writer, int, int, int, list[str]]] = {
    "turned by 90": (".mp4", partial(videos.write_rotated, degrees=90), 6, 64, 96, []),
    "turned by 180": (".mp4", partial(videos.write_rotated, degrees=180), 6, 96, 64, []),
    "turned by 270": (".mp4", partial(videos.write_rotated, degrees=270), 6, 64, 96, []),
    "late start": (
        ".mkv", partial(write, images=pictures(), times_ms=range(5000, 5600, 100)), 6, 96, 64, []
    ),
    "late start of a stream": (
        ".ts", partial(write, images=pictures(), times_ms=range(5000, 5600, 100)), 6, 96, 64, []
    ),
    "negative times": (
        ".mkv", partial(write, images=pictures(), times_ms=range(-300, 300, 100)), 6, 96, 64, []
    ),
    "an edit list that hides three frames": (
        ".mp4", partial(write, images=pictures(), times_ms=range(-300, 300, 100)), 3, 96, 64, []
    ),
    "alpha in VP9": (
        ".webm", partial(videos.write_transparent, codec="libvpx-vp9", pixels="yuva420p"),
        6, 96, 64, [],
    ),
    "alpha in ProRes 4444": (
        ".mov", partial(videos.write_transparent, codec="prores_ks", pixels="yuva444p10le"),
        6, 96, 64, [],
    ),
    "alpha in PNG": (
        ".mov", partial(videos.write_transparent, codec="png", pixels="rgba"), 6, 96, 64, []
    ),
    "10 bits": (".mp4", partial(write, images=pictures(), pixels="yuv420p10le"), 6, 96, 64, []),
    "4:4:4": (".mp4", partial(write, images=pictures(), pixels="yuv444p"), 6, 96, 64, []),
    "odd size": (
        ".mkv", partial(write, images=pictures(6, 97, 63), codec="ffv1"), 6, 97, 63, []
    ),
    "odd size in 4:4:4": (
        ".mp4", partial(write, images=pictures(6, 97, 63), pixels="yuv444p"), 6, 97, 63, []
    ),
    "portrait": (".mp4", partial(write, images=pictures(6, 48, 128)), 6, 48, 128, []),
    "tiny": (".mkv", partial(write, images=pictures(6, 2, 2), codec="ffv1"), 6, 2, 2, []),
    "interlaced": (
        ".mp4", partial(write, images=pictures(), options={"flags": "+ildct+ilme"}), 6, 96, 64, []
    ),
    "grey": (".mkv", partial(write, images=pictures(), codec="ffv1", pixels="gray"), 6, 96, 64, []),
    "grey of 16 bits": (
        ".mkv", partial(write, images=pictures(), codec="ffv1", pixels="gray16le"), 6, 96, 64, []
    ),
    "frames out of order": (
        ".mp4", partial(write, images=pictures(12), options={"bf": "3"}), 12, 96, 64, []
    ),
    "one frame": (".mp4", partial(write, images=pictures(1)), 1, 96, 64, []),
    "GIF": (".gif", partial(write, images=pictures(), codec="gif", pixels="rgb8"), 6, 96, 64, []),
    "animated PNG": (
        ".apng", partial(write, images=pictures(), codec="apng", pixels="rgb24"), 6, 96, 64, []
    ),
    "MJPEG without times": (
        ".mjpeg", partial(write, images=pictures(), codec="mjpeg", pixels="yuvj420p"),
        6, 96, 64, [],
    ),
    "H.264 without times": (
        ".h264", partial(write, images=pictures(), container="h264"), 6, 96, 64, []
    ),
    "an image named as a video": (".mp4", videos.write_image_as, 1, 96, 64, []),
    "two video streams": (".mkv", videos.write_two_streams, 6, 96, 64, []),
    "a title in Latin-1": (
        ".mkv",
        lambda path: videos.write_patched(path, b"Grusz", 0, b"Gru\xdfe"),
        6, 96, 64, [],
    ),
    "hours stated in the header": (
        ".mp4",
        lambda path: videos.write_patched(path, b"mvhd", 20, b"\x0f\xff\xff\xff"),
        6, 96, 64, [],
    ),
    "truncated Matroska": (
        ".mkv", videos.write_truncated, 7, 160, 120, ["ended after 0.7 of the 1.5 seconds"]
    ),
    "truncated AVI": (
        ".avi", partial(videos.write_truncated, codec="mpeg4"), 6, 160, 120,
        ["ended after 0.6 of the 1.5 seconds"],
    ),
    "AVI of milliseconds": (
        ".avi", partial(write, images=pictures(), codec="mpeg4"), 6, 96, 64, []
    ),
    "truncated transport stream": (".ts", videos.write_truncated, 8, 160, 120, []),
    "damaged MP4": (
        ".mp4", videos.write_damaged, 11, 160, 120, ["left out what can't be decoded, 4 of 15"]
    ),
    "damaged Matroska": (
        ".mkv", videos.write_damaged, 12, 160, 120, ["left out what can't be decoded, 1 of 13"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", READABLE)
def test_it_is_read(kind: str) -> None:
    suffix, write_source, frames, width, height, warnings = READABLE[kind]
    source = Path(f"source{suffix}")
    write_source(source)
    outcome, records = detect(source, "--output", "out.mp4", "--csv", "faces.csv")
    check(outcome, 0)
    lines = outcome.err.splitlines()
    assert len(lines) == len(warnings), outcome.err
    for line, warning in zip(lines, warnings, strict=True):
        assert line.startswith(f"[WARN] {source}: {warning}"), line
    assert len(records) == frames
    assert {(each["width"], each["height"]) for each in records} == {(width, height)}
    assert frames_in(Path("out.mp4")) >= frames
    assert f"[INFO] {frames} frames in " in outcome.out


RED_CORNERS = {"turned by 90": (0, -1), "turned by 180": (-1, -1), "turned by 270": (-1, 0)}
WITHOUT_RED = ("grey", "tiny", "truncated", "damaged")


@pytest.mark.parametrize("kind", [kind for kind in READABLE if not kind.startswith(WITHOUT_RED)])
def test_its_frames_are_upright_and_have_their_colours(kind: str) -> None:
    """Where OpenCV read the file, each frame of interlaced video was black."""
    suffix, write_source, *_ = READABLE[kind]
    write_source(source := Path(f"source{suffix}"))
    _, first = next(sources.FileSource(source.name, source).frames())
    blue, _, red = cv2.split(first.astype(int))
    corners = [(0, 0), (0, -1), (-1, 0), (-1, -1)]
    is_red = [corner for corner in corners if red[corner] - blue[corner] > 100]
    assert is_red == [RED_CORNERS.get(kind, (0, 0))]


def test_a_title_in_latin_1_does_not_end_the_training_of_a_face_detector() -> None:
    videos.write_patched(Path("titled.mkv"), b"Grusz", 0, b"Gru\xdfe")
    assert len(list(sampled_frames(Path("titled.mkv")))) > 0


def test_variable_times_are_kept_in_the_records_and_in_the_video() -> None:
    write(Path("phone.mp4"), pictures(), times_ms=[0, 40, 80, 500, 540, 1500])
    outcome, records = detect("phone.mp4", "--output", "out.mp4")
    check(outcome, 0)
    assert [each["time_s"] for each in records] == [0, 0.04, 0.08, 0.5, 0.54, 1.5]
    with sources.FileSource("out.mp4", Path("out.mp4")) as source:
        *_, (last_s, _) = source.frames()
    assert last_s == pytest.approx(1.5, abs=0.3)


def test_a_jump_of_the_clock_does_not_fill_the_disk() -> None:
    write(Path("jump.mkv"), pictures(), times_ms=[0, 100, 200, 86_400_000, 86_400_100, 86_400_200])
    outcome, records = detect("jump.mkv", "--output", "out.mp4")
    check(outcome, 0)
    assert records[-1]["time_s"] == 0.5
    assert frames_in(Path("out.mp4")) == 6


def test_frames_of_another_size_in_the_middle_keep_their_shape() -> None:
    videos.write_concatenated(Path("sizes.ts"))
    outcome, records = detect("sizes.ts", "--output", "out.mp4")
    check(outcome, 0)
    sizes = [(each["width"], each["height"]) for each in records]
    assert sizes == [(96, 64)] * 6 + [(64, 96)] * 6
    assert frames_in(Path("out.mp4")) == 12


def test_a_file_that_still_grows_is_read_as_far_as_it_goes() -> None:
    write(Path("whole.ts"), videos.noise(), container="mpegts")
    content = Path("whole.ts").read_bytes()
    with Path("growing.ts").open("wb", buffering=0) as growing:
        growing.write(content[: len(content) // 2])

        def append() -> None:
            for start in range(len(content) // 2, len(content), 4096):
                growing.write(content[start : start + 4096])
                time.sleep(0.02)

        thread = threading.Thread(target=append)
        thread.start()
        outcome, records = detect("growing.ts", "--output", "out.mp4")
        thread.join()
    check(outcome, 0)
    assert 7 <= len(records) <= 15
    assert frames_in(Path("out.mp4")) == len(records)


NAMES = ["with blank.mp4", "#1.mp4", "100%.mp4", "clip%03d.mp4", "a:b.mp4", "日本.mp4", "*.mp4"]


@pytest.mark.parametrize("name", [*NAMES, os.fsdecode(b"caf\xe9.mp4"), "-dash.mp4"], ids=ascii)
def test_any_name_is_read_and_written(name: str) -> None:
    """Also one that is not UTF-8; OpenCV ends the process on it."""
    write(Path("source.mp4"), pictures())
    Path("in").mkdir()
    Path("source.mp4").rename(Path("in") / name)
    for encoding in ("utf-8", "ascii"):
        outcome = run_command(
            detect_mask_video.main,
            *(f"--source={Path('in') / name}", "--no-display"),
            *(f"--output={name}", f"--json={name}.jsonl"),
            encoding=encoding,
        )
        check(outcome, 0)
    assert frames_in(Path(name)) == 6
    assert len(Path(f"{name}.jsonl").read_text().splitlines()) == 6


REFUSED: dict[str, tuple[Writer, str]] = {
    "without its index": (
        partial(videos.write_truncated, kept=0.9),
        "expected a complete video file (Invalid data",
    ),
    "empty": (lambda path: path.write_bytes(b""), "expected a complete video file"),
    "text": (lambda path: path.write_text("no video\n" * 99), "expected a complete video"),
    "sound alone": (videos.write_sound, "expected a video, found only audio"),
    "subtitles alone": (
        lambda path: path.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n"),
        "expected a video, found only subtitle",
    ),
    "a codec that nobody knows": (
        lambda path: videos.write_patched(path, b"avc1\0", 0, b"zzzz"),
        "its codec is unknown to FFmpeg",
    ),
    "a FIFO": (os.mkfifo, "found no regular file; expected a video file"),
    "an empty folder": (Path.mkdir, "expected images in this folder, found none"),
    "a broken link": (lambda path: path.symlink_to("nowhere"), "no such file"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_in_one_line(kind: str) -> None:
    write_source, error = REFUSED[kind]
    write_source(Path("source.mp4"))
    outcome, records = detect("source.mp4", "--output", "out.mp4")
    check(outcome, 1, error)
    assert outcome.errors[0].startswith("source.mp4: ")
    assert records == []
    assert not Path("out.mp4").exists()


def test_sizes_that_no_memory_holds_are_refused() -> None:
    videos.write_huge(Path("huge.avi"))
    check(detect("huge.avi")[0], 1, "huge.avi: ")


def test_an_animation_is_read_if_ffmpeg_decodes_it() -> None:
    """That of PyAV 19 does, that of PyAV 18 does not."""
    images = [Image.fromarray(image) for image in pictures()]
    images[0].save("source.webp", save_all=True, append_images=images[1:], lossless=True)
    outcome, records = detect("source.webp")
    if outcome.status:
        check(outcome, 1, "source.webp: opened, but gave no frame")
    assert len(records) == (0 if outcome.status else 6)


def test_outputs_that_cannot_be_are_refused_before_anything_is_read() -> None:
    write(Path("source.mp4"), pictures())
    content = Path("source.mp4").read_bytes()
    Path("link.mp4").symlink_to("source.mp4")
    for output in ("source.mp4", "./source.mp4", "link.mp4"):
        check(detect("source.mp4", "--output", output)[0], 1, "is the video to read")
    check(detect("source.mp4", "--output", "source.mp4/out.mp4")[0], 1, "can't be written")
    Path("folder.mp4").mkdir()
    check(detect("source.mp4", "--output", "folder.mp4")[0], 1, "found a folder")
    assert Path("source.mp4").read_bytes() == content
    check(detect("source.mp4", "--output", "new/folder/out.mp4")[0], 0)
    assert frames_in(Path("new/folder/out.mp4")) == 6


def test_folders_of_images_are_read_with_what_else_is_in_them() -> None:
    for number, image in enumerate(pictures(3)):
        write_image(Path("photographs", f"{number}.png"), image)
    write_image(Path("photographs", "below", "large.jpg"), pictures(1, 300, 200)[0])
    outcome, records = detect("photographs", "--output", "out.mp4", "--csv", "faces.csv")
    check(outcome, 0)
    assert [each["width"] for each in records] == [96, 96, 96, 300]
    assert " in 4 images" in outcome.out

    Path("photographs", "broken.png").write_bytes(b"\x89PNG")
    Path("photographs", "empty.jpg").write_bytes(b"")
    Path("photographs", "notes.txt").write_text("notes")
    write(Path("photographs", "clip.mp4"), pictures())
    outcome, records = detect("photographs", "--output", "out.mp4", "--every", "1")
    check(outcome, 1)
    assert len(records) == 4
    assert [line.endswith("; skipped") for line in outcome.err.splitlines()] == [True, True]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("missing.mp4", "missing.mp4: no such file"),
        ("x" * 300 + ".mp4", "File name too long"),
        ("gopher://127.0.0.1/x", "gopher://127.0.0.1/x: can't be opened"),
        ("nosuchscheme://x", "nosuchscheme://x: can't be opened"),
        (os.fsdecode(b"http://127.0.0.1:9/caf\xe9"), "can't be opened"),
        ("http://", "can't be opened"),
        ("99", "camera 99: can't be opened"),
        ("9" * 5000, "can't be opened"),
    ],
)
def test_a_source_that_is_not_there_is_one_line(source: str, error: str) -> None:
    check(detect(source)[0], 1, error)


def test_servers_that_fail_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "STALL_S", 0.5)
    with MJPEGServer(lambda connection: None, lambda connection: connection.begin()) as server:
        for _ in range(2):  # closes at once; closes after the header
            check(detect(server.url)[0], 1, f"{server.url}: ")
        check(detect(server.url)[0], 1, f"{server.url}: can't be opened")  # 404
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        check(detect(url)[0], 1, f"{url}: can't be opened; check the address")
