"""The video script: its files, its keys, how it ends, and its arguments."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Container
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest

import detect_mask_video
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.images import read_image, write_image
from facemask.output import display, drawing
from facemask.video import alerts, frame_errors, options, sources, track_log
from facemask.video.sources import FileSource, Source
from facemask.video.writer import CODECS, VideoWriter

from ..conftest import FakeClassifier, FakeDetector, in_order, obey_ctrl_c, refusal
from .test_sources import frame, write_video


@pytest.fixture
def clip(fake_networks: FakeDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a video of twelve frames; the fake networks find a face in each."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # for reports of defects
    return write_video(tmp_path / "clip.avi", 12)


def frames_of(path: str | Path) -> int:
    with FileSource(str(path), Path(path)) as source:
        return len(list(source.frames()))


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "2"],
        ["--uncertain", "-1"],
        ["--output", "out.xyz"],
        ["--output", "out"],
        ["--json", "x.csv"],
        ["--no-track", "--csv", "x.csv"],
        ["--no-track", "--snapshots", "x"],
        ["--alert-command", ""],
        ["--alert-labels", "no_mask"],
        ["--snapshots", "x", "--blur"],
        ["--unblurred-snapshots"],
        ["--unblurred-snapshots", "--blur"],
        ["--unblurred-snapshots", "--snapshots", "x"],
        ["--serve", "x"],
        ["--serve", "0"],
        ["--serve", "127.0.0.1:99999"],
        ["--serve", "::1:8000"],
        ["--serve", "http://127.0.0.1:8000"],
        ["--serve", "a host:8000"],
        ["--serve-token", "a-token_of_16_ok"],
        ["--serve-token", "short", "--serve", "8000"],
        ["--serve-token", "", "--serve", "8000"],
        ["--every", "0"],
        ["--reconnect", "-1"],
        ["file.mp4"],
    ],
    ids=" ".join,
)
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    error = refusal(detect_mask_video.main, arguments, capsys)
    assert error.startswith("[ERROR] ")
    assert arguments[0] in error


def test_an_alert_command_that_cannot_be_run_is_described(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = refusal(detect_mask_video.main, ["--alert-command", "no-such-program -x"], capsys)
    assert error.startswith(
        "[ERROR] argument --alert-command: expected a program that can be run, found"
        " 'no-such-program' (see "
    )


def test_each_suffix_that_can_be_written_is_accepted() -> None:
    assert set(CODECS) == set(options.VIDEO_SUFFIXES)


def test_every_frame_is_written_and_recorded(
    clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = detect_mask_video.main(
        ["-s", "clip.avi", "-o", "out.mp4", "--json", "faces.jsonl", "--no-display"]
    )
    assert status == 0
    output = capsys.readouterr().out
    messages = (
        "[INFO] loading face detector model...",
        "[INFO] loading face mask detector model...",
        "[INFO] starting video stream...",
        "[INFO] 12 frames in ",
    )
    assert in_order(output, *messages)
    assert "[INFO] 1 face tracked for at least 0.5 s: 1 No Mask" in output
    assert frames_of("out.mp4") == 12
    lines = [json.loads(line) for line in Path("faces.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(12))
    assert lines[11]["time_s"] == pytest.approx(0.55)
    assert (lines[0]["width"], lines[0]["height"]) == (64, 48)
    assert lines[0]["faces"][0]["box"] == [10, 10, 30, 30]
    assert lines[0]["faces"][0]["label"] == "without_mask"
    assert {line["faces"][0]["track"] for line in lines} == {1}
    assert lines[11]["faces"][0]["label"] == "without_mask"  # of seven frames against five


def test_without_tracks_each_frame_is_labelled_by_itself(clip: Path) -> None:
    arguments = ["-s", "clip.avi", "--no-track", "--json", "faces.jsonl", "--no-display"]
    assert detect_mask_video.main(arguments) == 0
    lines = [json.loads(line) for line in Path("faces.jsonl").read_text().splitlines()]
    labels = [line["faces"][0]["label"] for line in lines]
    assert labels == ["without_mask"] * 7 + ["with_mask"] * 5
    assert "track" not in lines[0]["faces"][0]


@pytest.mark.parametrize(
    ("option", "classified"), [([], range(3, 12)), (["--classify-every-frame"], [12])]
)
def test_a_face_is_classified_in_every_frame_only_on_request(
    clip: Path, monkeypatch: pytest.MonkeyPatch, option: list[str], classified: Container[int]
) -> None:
    calls: list[int] = []
    predict = FakeClassifier.predict
    monkeypatch.setattr(
        FakeClassifier, "predict", lambda self, crops: calls.append(1) or predict(self, crops)
    )
    arguments = ["-s", "clip.avi", "--json", "f.jsonl", "--no-display", *option]
    assert detect_mask_video.main(arguments) == 0
    assert len(calls) in classified
    faces = [json.loads(line)["faces"][0] for line in Path("f.jsonl").read_text().splitlines()]
    assert [(face["track"], face["label"]) for face in faces] == [(1, "without_mask")] * 12


@pytest.mark.parametrize(
    ("option", "looked"),
    [([], 4), (["--detect-every-frame"], 12), (["--no-track"], 12), (["--blur"], 12)],
)
def test_faces_are_looked_for_in_every_frame_only_on_request(
    clip: Path, monkeypatch: pytest.MonkeyPatch, option: list[str], looked: int
) -> None:
    """Of twelve frames otherwise in the first, in each fourth after it, and in the last."""
    calls: list[int] = []
    detect = FakeDetector.detect
    monkeypatch.setattr(
        FakeDetector, "detect", lambda self, *image: calls.append(1) or detect(self, *image)
    )
    arguments = ["-s", "clip.avi", "--json", "f.jsonl", "--no-display", *option]
    assert detect_mask_video.main(arguments) == 0
    assert len(calls) == looked
    lines = [json.loads(line) for line in Path("f.jsonl").read_text().splitlines()]
    assert [line["faces"][0]["box"] for line in lines] == [[10, 10, 30, 30]] * 12


def test_faces_that_cannot_be_classified_are_an_error_of_their_frame(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the first frames, where the face has no label yet."""
    predict = FakeClassifier.predict

    def too_dark(self: FakeClassifier, crops: list[np.ndarray]) -> np.ndarray:
        if crops[0].mean() < 25:
            raise ValueError("too dark")
        return predict(self, crops)

    monkeypatch.setattr(FakeClassifier, "predict", too_dark)
    arguments = ["-s", "clip.avi", "--json", "f.jsonl", "--csv", "f.csv", "--no-display"]
    assert detect_mask_video.main(arguments) == 1
    assert capsys.readouterr().err.splitlines()[1] == "[ERROR] 2 of 12 frames failed"
    lines = [json.loads(line) for line in Path("f.jsonl").read_text().splitlines()]
    assert [len(line["faces"]) for line in lines] == [0] * 2 + [1] * 10
    assert ["too dark" in line.get("error", "") for line in lines] == [True] * 2 + [False] * 10
    assert {line["faces"][0]["track"] for line in lines if line["faces"]} == {1}


def test_a_row_for_each_tracked_face(clip: Path) -> None:
    assert detect_mask_video.main(["-s", "clip.avi", "--csv", "faces.csv", "--no-display"]) == 0
    assert Path("faces.csv").read_text().splitlines() == [
        "track,first_s,last_s,label,share,frames,changes",
        "1,0.0,0.55,without_mask,1.0,12,0",
    ]


def test_the_table_has_the_faces_that_the_summary_counts(
    clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those in view for at least half a second: 0.45 s are too short."""
    write_video(Path("short.avi"), 10)
    arguments = ["--csv", "faces.csv", "--json", "f.jsonl", "--no-display"]
    assert detect_mask_video.main(["-s", "short.avi", *arguments]) == 0
    assert "[INFO] 0 faces tracked for at least 0.5 s\n" in capsys.readouterr().out
    assert Path("faces.csv").read_text().count("\n") == 1
    assert '"track": 1}' in Path("f.jsonl").read_text()
    write_video(Path("long.avi"), 11)
    assert detect_mask_video.main(["-s", "long.avi", *arguments]) == 0
    assert "[INFO] 1 face tracked for at least 0.5 s: 1 No Mask\n" in capsys.readouterr().out
    assert Path("faces.csv").read_text().count("\n") == 2


def test_a_cut_gives_no_label_and_no_number_to_the_next_person(clip: Path) -> None:
    """The face is at the same place in both scenes, bright as with a mask in the first alone."""
    writer = cv2.VideoWriter("cut.avi", cv2.VideoWriter.fourcc(*"MJPG"), 20, (64, 48))
    for image in [np.hstack([frame(200, 32), frame(0, 32)])] * 20 + [frame(60)] * 20:
        writer.write(image)
    writer.release()
    arguments = ["-s", "cut.avi", "--json", "faces.jsonl", "--csv", "f.csv", "--no-display"]
    assert detect_mask_video.main(arguments) == 0
    lines = [json.loads(line) for line in Path("faces.jsonl").read_text().splitlines()]
    faces = [(line["faces"][0]["track"], line["faces"][0]["label"]) for line in lines]
    assert faces == [(1, "with_mask")] * 20 + [(2, "without_mask")] * 20
    assert Path("f.csv").read_text().splitlines()[1:] == [
        "1,0.0,0.95,with_mask,1.0,20,0",
        "2,1.0,1.95,without_mask,1.0,20,0",
    ]


@pytest.mark.parametrize("ends", [FacemaskError("the network broke"), KeyboardInterrupt()])
def test_the_files_of_a_run_that_ends_early_are_finished(
    clip: Path,
    fake_networks: FakeDetector,
    monkeypatch: pytest.MonkeyPatch,
    ends: BaseException,
) -> None:
    """Ctrl-C ends a run well; an error is raised. Both leave whole files and no thread."""
    monkeypatch.setattr(track_log, "MIN_COUNTED_S", 0.2)
    detect = fake_networks.detect

    def ends_at_the_sixth(image: np.ndarray, confidence: float):
        if image.mean() > 90:  # each frame is brighter than the last by 20
            raise ends
        return detect(image, confidence)

    threads = threading.active_count()
    monkeypatch.setattr(fake_networks, "detect", ends_at_the_sixth)
    arguments = ["-s", "clip.avi", "--csv", "faces.csv", "--json", "f.jsonl", "-o", "out.mp4"]
    outcome = pytest.raises(FacemaskError) if isinstance(ends, FacemaskError) else nullcontext()
    with outcome:
        assert detect_mask_video.main([*arguments, "--no-display"]) == 0
    assert Path("faces.csv").read_text().splitlines()[1:] == ["1,0.0,0.2,without_mask,1.0,5,0"]
    assert len(Path("f.jsonl").read_text().splitlines()) == 5
    assert frames_of("out.mp4") == 5
    assert threading.active_count() == threads


def test_a_folder_of_images_is_a_source(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("images").mkdir()
    for number in range(4):
        write_image(
            Path("images") / f"{number}.png", np.full((48, 64 + 8 * number, 3), 90, np.uint8)
        )
    status = detect_mask_video.main(
        ["-s", "images", "--every", "2", "--json", "f.jsonl", "-o", "out.mp4", "--no-display"]
    )
    assert status == 0
    lines = [json.loads(line) for line in Path("f.jsonl").read_text().splitlines()]
    assert [(line["time_s"], line["width"]) for line in lines] == [(0.0, 64), (0.08, 80)]
    assert "[INFO] 2 frames in " in capsys.readouterr().out


@pytest.fixture
def photographs(clip: Path) -> str:
    """A folder with three photographs, of which the last is bright."""
    Path("photographs").mkdir()
    for number, light in enumerate((50, 50, 200)):
        write_image(Path("photographs") / f"{number}.png", frame(light))
    return "photographs"


def test_the_faces_of_photographs_are_counted_and_not_tracked(
    photographs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["-s", photographs, "--json", "f.jsonl", "--csv", "f.csv", "--no-display"]
    assert detect_mask_video.main(arguments) == 0
    lines = [json.loads(line) for line in Path("f.jsonl").read_text().splitlines()]
    assert [line["faces"][0]["label"] for line in lines] == ["without_mask"] * 2 + ["with_mask"]
    assert not any("track" in line["faces"][0] for line in lines)
    assert [line.split(",")[3] for line in Path("f.csv").read_text().splitlines()[1:]] == [
        "without_mask", "without_mask", "with_mask",
    ]  # fmt: skip
    output = capsys.readouterr().out
    assert "[INFO] counting the faces of each image by itself; add --track if " in output
    assert "[INFO] 3 faces in 3 images: 1 Mask, 2 No Mask\n" in output


def test_images_that_are_the_frames_of_a_video_are_tracked_on_request(photographs: str) -> None:
    arguments = ["-s", photographs, "--track", "--json", "f.jsonl", "--no-display"]
    assert detect_mask_video.main([*arguments, "--snapshots", "kept", "--alert-after", "0"]) == 0
    lines = [json.loads(line) for line in Path("f.jsonl").read_text().splitlines()]
    assert [line["faces"][0]["track"] for line in lines] == [1, 1, 1]
    assert len(list(Path("kept").iterdir())) == 1


def test_photographs_give_no_alerts(photographs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FacemaskError, match=r"photographs: alerts expect a video, .* add --track"):
        detect_mask_video.main(["-s", photographs, "--snapshots", "kept", "--no-display"])
    assert "loading" not in capsys.readouterr().out


class Broken:
    """A detector with a defect in frames of some brightness."""

    def __init__(self, low: float, high: float, faces: FakeDetector):
        self.low, self.high, self.find = low, high, faces.detect

    def detect(self, image: np.ndarray, confidence: float):
        if self.low < image.mean() < self.high:
            raise ValueError(f"at {image.mean():.1f}")
        return self.find(image, confidence)


@pytest.mark.parametrize("live", [False, True], ids=["file", "live"])
def test_a_defect_in_some_frames_is_their_error_alone(
    clip: Path,
    fake_networks: FakeDetector,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    live: bool,
) -> None:
    monkeypatch.setattr(fake_networks, "detect", Broken(50, 110, fake_networks).detect)
    monkeypatch.setattr(FileSource, "live", live)
    arguments = ["-s", "clip.avi", "--json", "f.jsonl", "--csv", "f.csv", "-o", "out.mp4"]
    assert detect_mask_video.main([*arguments, "--no-display"]) == 1
    first, summary = capsys.readouterr().err.splitlines()
    assert first.startswith("[ERROR] frame 3: unexpected ValueError: at 5")
    assert summary == "[ERROR] 3 of 12 frames failed"
    lines = [json.loads(line) for line in Path("f.jsonl").read_text().splitlines()]
    assert [len(line["faces"]) for line in lines] == [1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert ["error" in line for line in lines] == [not line["faces"] for line in lines]
    assert lines[4]["error"].startswith("unexpected ValueError: at 5")
    assert {line["faces"][0]["track"] for line in lines if line["faces"]} == {1}
    (row,) = Path("f.csv").read_text().splitlines()[1:]
    assert row.startswith("1,0.0,0.55,without_mask,")
    assert frames_of("out.mp4") == 12


def test_what_was_found_stays_where_drawing_fails(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise IndexError("no ink")

    monkeypatch.setattr(drawing, "draw_detections", fail)
    arguments = ["-s", "clip.avi", "--json", "f.jsonl", "-o", "out.mp4", "--no-display"]
    assert detect_mask_video.main(arguments) == 1
    lines = [json.loads(line) for line in Path("f.jsonl").read_text().splitlines()]
    assert {len(line["faces"]) for line in lines} == {1}
    assert all("IndexError: no ink" in line["error"] for line in lines)
    assert frames_of("out.mp4") == 12
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.fixture
def boards(clip: Path, fake_networks: FakeDetector, monkeypatch: pytest.MonkeyPatch) -> list:
    """Twelve chessboards in a folder, and the frames that a run writes.

    In the fourth and the seventh image the face is not found.
    """
    board = np.repeat(np.indices((48, 64)).sum(axis=0)[..., None] % 2 * 255, 3, axis=2)
    Path("boards").mkdir()
    for number in range(12):
        picture = board.copy()
        picture[0, 0] = number * 20
        write_image(Path("boards", f"{number:02}.png"), picture.astype(np.uint8))
    detect = fake_networks.detect
    monkeypatch.setattr(
        fake_networks,
        "detect",
        lambda image, *rest: [] if image[0, 0, 0] in (60, 120) else detect(image, *rest),
    )
    written: list[np.ndarray] = []
    monkeypatch.setattr(
        VideoWriter, "write", lambda self, frame, time_s: written.append(frame.copy())
    )
    return written


INSIDE = slice(14, 26), slice(14, 26)  # of the face, without its box


@pytest.mark.parametrize("track", ["--track", "--no-track"])
def test_blurred_faces_stay_so_where_they_are_lost(boards: list, track: str) -> None:
    arguments = ["-s", "boards", "-o", "out.mp4", "--json", "f.jsonl", "--no-display", "--blur"]
    if track == "--no-track":
        Path("boards", "03.png").unlink()
        Path("boards", "06.png").unlink()
    assert detect_mask_video.main([*arguments, track]) == 0
    assert len(boards) == len(Path("f.jsonl").read_text().splitlines())
    assert max(np.ptp(frame[INSIDE]) for frame in boards) < 60
    assert min(np.ptp(frame[30:, 45:]) for frame in boards) == 255


def test_without_blur_a_face_is_to_be_seen(boards: list) -> None:
    assert detect_mask_video.main(["-s", "boards", "-o", "out.mp4", "--no-display"]) == 0
    assert min(np.ptp(frame[INSIDE]) for frame in boards) == 255


def test_faces_are_hidden_where_what_follows_fails(
    boards: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise IndexError("no alert")

    monkeypatch.setattr(alerts.Alerts, "update", fail)
    monkeypatch.setattr(drawing, "draw_detections", fail)
    arguments = ["-s", "boards", "-o", "out.mp4", "--no-display", "--track", "--blur"]
    assert detect_mask_video.main(arguments) == 1
    assert len(boards) == 12
    assert max(np.ptp(frame[INSIDE]) for frame in boards) < 60


def test_snapshots_show_what_blur_hides_if_they_are_asked_to(boards: list) -> None:
    arguments = ["-s", "boards", "-o", "out.mp4", "--no-display", "--track", "--blur"]
    rule = ["--snapshots", "faces", "--unblurred-snapshots", "--alert-after", "0"]
    assert detect_mask_video.main([*arguments, *rule, "--alert-labels", "with_mask"]) == 0
    (snapshot,) = Path("faces").iterdir()
    assert np.ptp(read_image(snapshot)) > 200
    assert max(np.ptp(frame[INSIDE]) for frame in boards) < 60


def test_a_defect_in_every_frame_ends_the_run(
    clip: Path,
    fake_networks: FakeDetector,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A camera's run would go on with nothing to show for it, and nobody would know."""
    write_video(Path("long.avi"), 200)
    monkeypatch.setattr(fake_networks, "detect", Broken(-1, 256, fake_networks).detect)
    monkeypatch.setattr(frame_errors, "MAX_IN_A_ROW", 30)
    with pytest.raises(FacemaskError, match=r"frame 29: 30 frames in a row failed; the last: une"):
        detect_mask_video.main(["-s", "long.avi", "--json", "f.jsonl", "--no-display"])
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert len(Path("f.jsonl").read_text().splitlines()) == 29


def test_an_alert_runs_a_program_and_keeps_a_picture(
    clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "import os; open('label', 'w').write(os.environ['FACEMASK_LABEL'])"
    arguments = [
        "-s", "clip.avi", "--no-display", "--alert-after", "0.2", "--snapshots", "kept",
        "--alert-command", f'{sys.executable} -c "{code}"',
    ]  # fmt: skip
    assert detect_mask_video.main(arguments) == 0
    assert Path("label").read_text() == "without_mask"
    (picture,) = Path("kept").absolute().iterdir()
    assert "_track-1_" in picture.name
    output = capsys.readouterr().out
    assert f"[INFO] alert: No Mask, track 1, at 0.2 s; wrote {picture}\n" in output


def test_each_alert_is_a_line(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = ["--alert-after", "0.1", "--alert-cooldown", "0.3", "--alert-command", sys.executable]
    assert detect_mask_video.main(["-s", "clip.avi", "--no-display", *rule]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "alert:" in line]
    assert lines == [f"[INFO] alert: No Mask, track 1, at {time_s} s" for time_s in (0.1, 0.4)]


def test_alerts_colours_and_counts_go_by_what_a_class_means(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model's folders were called Mask and no_mask."""
    with zipfile.ZipFile("own.keras", "w") as archive:
        archive.writestr("facemask.json", json.dumps({"class_names": ["Mask", "no_mask"]}))
    monkeypatch.setattr(FakeClassifier, "class_names", ("Mask", "no_mask"))
    monkeypatch.setattr(display, "can_show_windows", lambda: True)
    shown: list[np.ndarray] = []
    monkeypatch.setattr(display, "show_frame", lambda _, image: shown.append(image.copy()) or "")
    arguments = ["-s", "clip.avi", "-m", "own.keras", "--json", "f.jsonl", "--fast"]
    assert detect_mask_video.main([*arguments, "--snapshots", "kept", "--alert-after", "0"]) == 0
    assert len(list(Path("kept").iterdir())) == 1
    output = capsys.readouterr().out
    assert in_order(output, "[INFO] alerts for no_mask\n", "for at least 0.5 s: 1 No Mask\n")
    assert json.loads(Path("f.jsonl").read_text().splitlines()[0])["faces"][0]["label"] == "no_mask"
    assert shown[0][20, 10].tolist() == [0, 0, 255]


def test_keys_pause_save_and_go_on(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pressed, paused = iter(["s", "", "p", "q"]), iter(["s", "p"])
    monkeypatch.setattr(display, "can_show_windows", lambda: True)
    monkeypatch.setattr(display, "show_frame", lambda title, image: next(pressed))
    monkeypatch.setattr(display, "pause", lambda title: next(paused))
    assert detect_mask_video.main(["-s", "clip.avi", "-o", "out.mp4", "--fast"]) == 0
    assert frames_of("out.mp4") == 4
    assert len(list(Path().glob("frame_*.png"))) == 2


def test_after_kill_9_lines_are_whole_and_the_video_plays(tmp_path: Path) -> None:
    """With the networks that the project ships, on its own pictures."""
    picture = read_image(PROJECT / "examples" / "example_02.png")
    (tmp_path / "pictures").mkdir()
    for number in range(10):
        write_image(tmp_path / "pictures" / f"{number}.png", np.roll(picture, 3 * number, axis=1))
    running = subprocess.Popen(
        [
            sys.executable, PROJECT / "detect_mask_video.py", "--source", "pictures", "--loop",
            "--detector", "builtin", "--output", "out.mp4", "--json", "faces.jsonl",
            "--csv", "faces.csv", "--no-display",
        ],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    record = tmp_path / "faces.jsonl"
    deadline = time.monotonic() + 120
    while running.poll() is None and time.monotonic() < deadline:
        if record.exists() and record.read_text().count("\n") > 60:
            break
        time.sleep(0.01)
    running.kill()
    assert running.communicate(timeout=30)[1] == ""
    lines = record.read_text().split("\n")
    assert len(lines) > 60
    assert [json.loads(line)["frame"] for line in lines[:-1]] == list(range(len(lines) - 1))
    assert all(json.loads(line)["faces"] for line in lines[:-1])
    assert (tmp_path / "faces.csv").read_text().startswith("track,")
    (part,) = tmp_path.glob(".out.*.part.mp4")
    assert frames_of(part) > 20


def test_a_full_disk_keeps_whole_lines_and_says_so_in_one(clip: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk."""
    code = (
        "import resource, signal, sys; from pathlib import Path;"
        "from facemask.errors import FacemaskError; from facemask.output.records import JSONLines;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100));"
        "lines = JSONLines(Path('f.jsonl'))\n"
        "try:\n    for n in range(99): lines.write({'frame': n})\n"
        "except FacemaskError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    assert done.stdout.startswith("f.jsonl: can't be written: ")
    assert done.stdout.count("\n") == 1
    lines = (tmp_path / "f.jsonl").read_text().split("\n")
    assert lines[-1] == ""
    assert [json.loads(line)["frame"] for line in lines[:-1]] == list(range(len(lines) - 1))
    assert len(lines) > 5


def test_uncertain_labels_are_recorded(clip: Path) -> None:
    arguments = [
        "-s", "clip.avi", "--json", "faces.jsonl", "--no-display", "--uncertain", "0.85",
        "--no-track",
    ]  # fmt: skip
    assert detect_mask_video.main(arguments) == 0
    lines = [json.loads(line) for line in Path("faces.jsonl").read_text().splitlines()]
    faces = [lines[number]["faces"][0] for number in (0, 11)]
    assert [(face["label"], face["probability"]) for face in faces] == [
        ("uncertain", 0.8),
        ("with_mask", 0.9),
    ]


def test_weights_are_fetched_into_the_projects_own_folder_alone(
    clip: Path, fake_networks: FakeDetector
) -> None:
    detect_mask_video.main(["-s", "clip.avi", "--no-display"])
    assert fake_networks.fetched == [PROJECT / "face_detector"]
    detect_mask_video.main(["-s", "clip.avi", "--no-display", "--face", "elsewhere"])
    assert len(fake_networks.fetched) == 1


def test_faces_are_boxed_in_the_video(clip: Path) -> None:
    detect_mask_video.main(["-s", "clip.avi", "-o", "out.avi", "--no-display"])
    with FileSource("out.avi", Path("out.avi")) as source:
        _, first = next(iter(source.frames()))
    red = first[10:12, 12:28].astype(int)
    assert red[..., 2].mean() > red[..., 1].mean() + 60


def test_an_error_before_the_first_frame_leaves_no_file(
    clip: Path, fake_networks: FakeDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(image: np.ndarray, confidence: float):
        raise FacemaskError("the network broke")

    monkeypatch.setattr(fake_networks, "detect", broken)
    with pytest.raises(FacemaskError, match="the network broke"):
        detect_mask_video.main(["-s", "clip.avi", "-o", "out.mp4", "--no-display"])
    assert not Path("out.mp4").exists()


def test_timings_are_printed_at_the_end(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["-s", "clip.avi", "-o", "out.mp4", "--no-display"]
    detect_mask_video.main(common)
    assert "median" not in capsys.readouterr().out
    detect_mask_video.main([*common, "--timings"])
    lines = capsys.readouterr().out.splitlines()[-8:]
    times = {stage: int(count) for _, stage, count, *_ in map(str.split, lines[1:])}
    assert 3 <= times.pop("classify") < 12
    assert times.pop("detect") == 4
    assert times == dict.fromkeys(("read", "track", "draw", "write", "total"), 12)
    assert lines[-1].startswith("[INFO] total          12 ")


def test_q_ends_the_run(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = iter(["", "x", "q"])
    titles = []
    monkeypatch.setattr(display, "can_show_windows", lambda: True)
    monkeypatch.setattr(
        display, "show_frame", lambda title, image: titles.append(title) or next(keys)
    )
    assert detect_mask_video.main(["-s", "clip.avi", "-o", "out.mp4", "--fast"]) == 0
    assert titles == ["Frame"] * 3
    assert frames_of("out.mp4") == 3


def test_q_near_the_end_does_not_make_the_file_truncated(
    fake_networks: FakeDetector,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All frames have been read ahead by then."""
    write_video(tmp_path / "short.avi", 3)
    monkeypatch.setattr(display, "can_show_windows", lambda: True)
    monkeypatch.setattr(display, "show_frame", lambda title, image: "q")
    assert detect_mask_video.main(["-s", "short.avi"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert "[INFO] 1 frames in " in output.out


def test_a_live_source_is_labelled_frame_by_frame(
    clip: Path, monkeypatch: pytest.MonkeyPatch, fake_networks: FakeDetector
) -> None:
    """A frame is taken only after the one before was shown."""
    events: list[str] = []
    find_faces = fake_networks.detect

    class Camera(Source):
        live = True

        def frames(self):
            for item in file.frames():
                events.append("read")
                yield item

    def detect(image: np.ndarray, confidence: float):
        events.append("detect")
        return find_faces(image, confidence)

    file = FileSource("clip.avi", clip)
    monkeypatch.setattr(sources, "open_source", lambda *options: Camera("camera 0"))
    monkeypatch.setattr(fake_networks, "detect", detect)
    monkeypatch.setattr(display, "can_show_windows", lambda: True)
    monkeypatch.setattr(
        display, "show_frame", lambda *_: events.append("show") or ("" if len(events) < 9 else "q")
    )
    assert detect_mask_video.main([]) == 0
    assert events == ["read", "detect", "show"] * 3


def test_without_a_display_it_warns_and_goes_on(
    clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert detect_mask_video.main(["-s", "clip.avi"]) == 0
    output = capsys.readouterr()
    assert "[WARN] no display to open a window on" in output.err
    assert "12 frames" in output.out


def test_a_truncated_file_is_a_warning(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(Path("long.avi"), 100)
    content = Path("long.avi").read_bytes()
    Path("half.avi").write_bytes(content[: len(content) // 2])
    assert detect_mask_video.main(["-s", "half.avi", "--no-display"]) == 0
    warning = capsys.readouterr().err
    assert in_order(
        warning,
        "[WARN] half.avi: left out what can't be decoded, 1 of 42 packets\n",
        "[WARN] half.avi: ended after 2.0 of the 5.0 seconds it should have\n",
    )
    assert warning.count("\n") == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-s", "missing.mp4"], "missing.mp4: no such file"),
        (["-s", "99"], r"camera 99: can't be opened; check .* --source"),
        (["-s", "clip.avi", "-o", "clip.avi"], "clip.avi: is the video to read"),
        (["-s", "clip.avi", "-o", "clip.avi/x.mp4"], "can't be written"),
        (["-s", "clip.avi", "--json", "clip.avi/x.jsonl"], "can't be written"),
    ],
)
def test_what_cannot_work_is_an_error_before_the_networks_load(
    clip: Path, arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FacemaskError, match=reason):
        detect_mask_video.main([*arguments, "--no-display"])
    assert "loading" not in capsys.readouterr().out


def test_a_missing_camera_is_one_line(run_script, tmp_path: Path) -> None:
    (tmp_path / "stub.keras").write_bytes(b"PK\x03\x04")
    done = run_script(
        "detect_mask_video.py", "--source", "99", "--model", "stub.keras", cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("[ERROR] camera 99: can't be opened")


@pytest.mark.assets
def test_each_frame_of_the_street_is_annotated(run_script, assets: Path, tmp_path: Path) -> None:
    done = run_script(
        "detect_mask_video.py", "--source", assets / "video" / "street.mp4", "--no-display",
        "--output", tmp_path / "out.mp4", "--json", tmp_path / "faces.jsonl",
        "--face", assets / "face_detector",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "[INFO] 635 frames in " in done.stdout
    assert 635 <= frames_of(tmp_path / "out.mp4") <= 640  # its rate is variable
    lines = [json.loads(line) for line in (tmp_path / "faces.jsonl").read_text().splitlines()]
    assert len(lines) == 635
    assert sum(len(line["faces"]) for line in lines) > 200
    with FileSource("out.mp4", tmp_path / "out.mp4") as annotated:
        assert annotated.fps == pytest.approx(24.46, abs=0.05)
        assert next(iter(annotated.frames()))[1].shape == (372, 538, 3)


@pytest.mark.assets
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_playable_file(
    assets: Path, tmp_path: Path, number: signal.Signals
) -> None:
    running = subprocess.Popen(
        [
            sys.executable, PROJECT / "detect_mask_video.py",
            "--source", assets / "video" / "four_people.mp4", "--no-display",
            "--output", tmp_path / "out.mp4", "--json", tmp_path / "faces.jsonl",
            "--face", assets / "face_detector",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=obey_ctrl_c,
    )  # fmt: skip
    record = tmp_path / "faces.jsonl"
    while running.poll() is None and not (record.exists() and record.read_text().count("\n") > 20):
        pass
    running.send_signal(number)
    output, problems = running.communicate(timeout=30)
    assert running.returncode == 0, problems
    frames = int(output.split(" frames in ")[0].split()[-1])
    assert 20 < frames < 414
    assert abs(frames_of(tmp_path / "out.mp4") - frames) <= 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.jsonl", "out.mp4"]
