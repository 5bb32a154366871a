import csv
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import detect_mask_image
from facemask.batch import labelling
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.images import model_input, read_image
from facemask.keras_backend import load_keras
from facemask.output import display
from facemask.train.export import Quantization, export_tflite

from ..conftest import FakeClassifier, FakeDetector, in_order, obey_ctrl_c, refusal
from ..detect.test_classifier import export_metadata
from ..sweep.harness import check, run_command


def write(path: Path, brightness: int = 200) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((60, 80, 3), brightness, np.uint8))


@pytest.fixture
def photos(fake_networks: FakeDetector, tmp_path: Path) -> Path:
    """A working folder with photos: one masked face, one unmasked face, a file that is no image."""
    write(tmp_path / "photos" / "masked.png")
    write(tmp_path / "photos" / "face.jpg", 20)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    return tmp_path


def test_help(run_script) -> None:
    process = run_script("detect_mask_image.py", "--help")
    assert process.returncode == 0
    assert "--confidence" in process.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--image"],
        ["-i", "x.png", "--confidence", "1.5"],
        ["-i", "x.png", "-c", "-0.1"],
        ["-i", "x.png", "-c", "nan"],
        ["-i", "x.png", "--uncertain", "61"],
        ["-i", "x.png", "--max-megapixels", "0"],
        ["-i", "x.png", "--max-megapixels", "2000"],
        ["-i", "x.png", "--json", "faces.txt"],
        ["-i", "x.png", "--csv", "faces.json"],
    ],
    ids=" ".join,
)
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(detect_mask_image.main, arguments, capsys).startswith("[ERROR] ")


def test_one_image_to_a_file(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = detect_mask_image.main(["-i", "photos/masked.png", "-o", "out.png", "--no-display"])
    assert status == 0
    output = capsys.readouterr().out
    messages = (
        "[INFO] loading face detector model...",
        "[INFO] loading face mask detector model...",
        "[INFO] computing face detections...",
        "[INFO] photos/masked.png: Mask: 90.00%",
    )
    assert in_order(output, *messages)
    assert read_image("out.png")[10, 20].tolist() == [0, 255, 0]
    assert read_image("photos/masked.png").min() == 200


def test_blurred_faces(photos: Path) -> None:
    """All of a chessboard is black and white, but for the face and its margin."""
    board = (np.indices((60, 80)).sum(axis=0) % 2 * 255).astype(np.uint8)
    cv2.imwrite("photos/masked.png", board)
    (photos / "photos" / "face.jpg").unlink()
    arguments = ["-i", "photos", "--no-display", "--json"]
    assert detect_mask_image.main([*arguments, "sharp.json", "-o", "sharp"]) == 0
    assert detect_mask_image.main([*arguments, "blurred.json", "-o", "blurred", "--blur"]) == 0
    inside = slice(14, 26), slice(14, 26)
    assert (read_image("sharp/masked.png")[inside] == np.dstack([board[inside]] * 3)).all()
    blurred = read_image("blurred/masked.png")
    assert np.ptp(blurred[inside]) < 60
    assert tuple(blurred[29, 20].tolist()) in {(0, 255, 0), (0, 0, 255)}  # the box is drawn
    assert Path("sharp.json").read_text() == Path("blurred.json").read_text()


def test_json_and_csv_hold_the_same(photos: Path) -> None:
    status = detect_mask_image.main(
        ["-i", "photos", "--json", "faces.json", "--csv", "tables/faces.csv", "--no-display"]
    )
    assert status == 0
    records = json.loads(Path("faces.json").read_text())
    assert [record["image"] for record in records] == ["photos/face.jpg", "photos/masked.png"]
    assert (records[0]["width"], records[0]["height"]) == (80, 60)
    face = {"box": [10, 10, 30, 30], "confidence": 0.9, "label": "with_mask", "probability": 0.9}
    assert records[1]["faces"] == [face]
    assert records[0]["faces"][0]["label"] == "without_mask"
    with open("tables/faces.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["label"]) for row in rows] == [
        ("photos/face.jpg", "without_mask"),
        ("photos/masked.png", "with_mask"),
    ]
    assert sorted(path.name for path in photos.iterdir()) == ["faces.json", "photos", "tables"]


def test_folders_and_files_to_a_folder(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(photos / "masked.png")
    status = detect_mask_image.main(["-i", "photos", "masked.png", "-o", "out", "--no-display"])
    assert status == 0
    names = sorted(path.name for path in Path("out").iterdir())
    assert names == ["face.jpg", "masked.png", "masked_2.png"]
    assert "skipped files that are no images: photos/notes.txt" in capsys.readouterr().out


def test_an_image_that_cannot_be_read_is_reported_and_the_others_go_on(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("photos/broken.jpg").write_bytes(b"not an image")
    given = ["missing.png", "photos/broken.jpg", "photos/notes.txt", "photos/masked.png"]
    status = detect_mask_image.main(["-i", *given, "--json", "faces.json", "--no-display"])
    assert status == 1
    problems = capsys.readouterr().err.splitlines()
    assert len(problems) == 3
    assert problems[0] == "[ERROR] missing.png: no such image"
    records = json.loads(Path("faces.json").read_text())
    assert [record["image"] for record in records] == given
    assert ["error" in record for record in records] == [True, True, True, False]
    assert records[0]["faces"] == []
    assert len(records[3]["faces"]) == 1


def test_an_image_of_too_many_pixels_is_reported_and_the_others_go_on(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite("photos/large.png", np.zeros((200, 100, 3), np.uint8))
    common = ["-i", "photos", "--json", "faces.json", "--no-display"]
    assert detect_mask_image.main([*common, "--max-megapixels", "0.01"]) == 1
    problem = (
        "photos/large.png: expected at most 0.01 megapixels, as --max-megapixels says,"
        " found 100x200 pixels"
    )
    assert capsys.readouterr().err == f"[ERROR] {problem}\n"
    records = json.loads(Path("faces.json").read_text())
    assert [len(record["faces"]) for record in records] == [1, 0, 1]
    assert records[1]["error"] == problem
    assert detect_mask_image.main([*common, "--max-megapixels", "0.02"]) == 0


def test_without_a_readable_image_no_network_is_loaded(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert detect_mask_image.main(["-i", "missing.png", "--no-display"]) == 1
    assert "loading" not in capsys.readouterr().out


def test_weights_are_fetched_into_the_projects_own_folder_alone(
    photos: Path, fake_networks: FakeDetector
) -> None:
    common = ["-i", "photos/masked.png", "--no-display"]
    detect_mask_image.main(common)
    assert fake_networks.fetched == [PROJECT / "face_detector"]
    detect_mask_image.main([*common, "--face", "elsewhere"])
    assert len(fake_networks.fetched) == 1


def test_an_image_without_a_face(
    photos: Path, fake_networks: FakeDetector, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_networks.faces = []
    assert detect_mask_image.main(["-i", "photos/face.jpg", "-o", "o.png", "--no-display"]) == 0
    assert "photos/face.jpg: no face" in capsys.readouterr().out
    assert np.array_equal(read_image("o.png"), read_image("photos/face.jpg"))


def test_confidence_is_strictly_greater(photos: Path) -> None:
    common = ["-i", "photos/face.jpg", "--json", "faces.json", "--no-display"]
    detect_mask_image.main([*common, "-c", "0.9"])
    assert json.loads(Path("faces.json").read_text())[0]["faces"] == []
    detect_mask_image.main([*common, "-c", "0.89"])
    assert len(json.loads(Path("faces.json").read_text())[0]["faces"]) == 1


def test_an_uncertain_answer_in_words_files_and_colour(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(photos / "photos" / "dark.png", 20)
    common = ["-i", "photos", "--json", "faces.json", "--csv", "faces.csv", "-o", "out"]
    assert detect_mask_image.main([*common, "--no-display", "--uncertain", "0.85"]) == 0
    output = capsys.readouterr().out
    assert in_order(output, "photos/face.jpg: Unsure: 80.00%", "photos/masked.png: Mask: 90.00%")
    records = [record["faces"][0] for record in json.loads(Path("faces.json").read_text())]
    assert [(face["label"], face["probability"]) for face in records] == [
        ("uncertain", 0.8),
        ("uncertain", 0.8),
        ("with_mask", 0.9),
    ]
    with open("faces.csv", newline="") as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    assert labels == ["uncertain", "uncertain", "with_mask"]
    assert read_image("out/dark.png")[10, 20].tolist() == [233, 180, 86]


def test_without_a_display_the_picture_is_written_to_a_file(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert detect_mask_image.main(["-i", "photos/masked.png"]) == 0
    assert (
        "[WARN] no display to open a window on; writing masked_mask.png" in capsys.readouterr().err
    )
    assert read_image("masked_mask.png")[10, 20].tolist() == [0, 255, 0]


def test_no_picture_is_written_without_being_requested(photos: Path) -> None:
    assert detect_mask_image.main(["-i", "photos", "--no-display"]) == 0
    assert detect_mask_image.main(["-i", "photos", "--json", "faces.json"]) == 0
    assert sorted(path.name for path in photos.iterdir()) == ["faces.json", "photos"]


def test_q_in_the_window_ends_the_run(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    monkeypatch.setattr(display, "can_show_windows", lambda: True)
    monkeypatch.setattr(
        display, "show_until_key", lambda title, image: shown.append((title, image.shape)) or "q"
    )
    assert detect_mask_image.main(["-i", "photos", "--json", "faces.json"]) == 0
    assert shown == [("Output", (60, 80, 3))]
    assert len(json.loads(Path("faces.json").read_text())) == 1


def test_it_says_what_goes_on_from_a_window(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever asked for a file would otherwise wait for the run to end."""
    hint = "[INFO] a key in the window shows the next image, q ends; --no-display opens no window\n"
    monkeypatch.setattr(display, "can_show_windows", lambda: True)
    monkeypatch.setattr(display, "show_until_key", lambda *_: "")
    assert detect_mask_image.main(["-i", "photos/face.jpg", "--output", "out.png"]) == 0
    assert in_order(capsys.readouterr().out, hint, "[INFO] wrote out.png\n")
    assert detect_mask_image.main(["-i", "photos", "--output", "out", "--no-display"]) == 0
    assert "window" not in capsys.readouterr().out


def test_records_from_before_ctrl_c_are_kept(
    photos: Path, fake_networks: FakeDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = fake_networks.detect

    def interrupted_at_the_second(image: np.ndarray, confidence: float):
        if image.mean() > 127:  # masked.png, which comes after face.jpg
            raise KeyboardInterrupt
        return find(image, confidence)

    monkeypatch.setattr(fake_networks, "detect", interrupted_at_the_second)
    before = threading.active_count()
    arguments = ["-i", "photos", "--json", "faces.json", "--csv", "faces.csv", "--no-display"]
    with pytest.raises(KeyboardInterrupt):
        detect_mask_image.main(arguments)
    assert [record["image"] for record in json.loads(Path("faces.json").read_text())] == [
        "photos/face.jpg"
    ]
    assert len(Path("faces.csv").read_text().splitlines()) == 2
    assert threading.active_count() == before
    assert sorted(path.name for path in photos.iterdir()) == ["faces.csv", "faces.json", "photos"]


def test_many_images_are_recorded_and_logged_in_their_order(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{number:02}.png" for number in range(30)]
    for number, name in enumerate(names):
        write(photos / "many" / name, 200 if number % 3 else 20)
    Path("many/07.png").write_bytes(b"not an image")
    status = detect_mask_image.main(
        ["-i", "many", "--json", "faces.json", "-o", "out", "--no-display"]
    )
    output = capsys.readouterr()
    assert status == 1
    assert output.err.startswith("[ERROR] many/07.png: ")
    assert output.err.count("\n") == 1  # no progress bar where there is no terminal
    records = json.loads(Path("faces.json").read_text())
    assert [record["image"] for record in records] == [f"many/{name}" for name in names]
    labels = ["with_mask" if number % 3 else "without_mask" for number in range(30)]
    del labels[7], records[7]
    assert [record["faces"][0]["label"] for record in records] == labels
    assert in_order(output.out, *(f"many/{name}: " for name in names if name != "07.png"))
    assert len(list(Path("out").iterdir())) == 29


@pytest.mark.parametrize(("count", "bar"), [(10, False), (11, True)])
def test_many_images_get_a_progress_bar_on_a_terminal(
    photos: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    bar: bool,
) -> None:
    for number in range(count):
        write(photos / "many" / f"{number:02}.png")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert detect_mask_image.main(["-i", "many", "--no-display"]) == 0
    output = capsys.readouterr()
    assert output.out.count("[INFO] many/") == count
    assert (f"{count}/{count} " in output.err) == bar


def test_a_picture_that_cannot_be_written_keeps_its_faces(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, image: np.ndarray) -> None:
        if path.name == "face.jpg":
            raise FacemaskError(f"{path}: can't be written: No space left on device")

    monkeypatch.setattr(labelling, "write_image", full)
    arguments = ["-i", "photos", "-o", "out", "--json", "faces.json", "--no-display"]
    assert detect_mask_image.main(arguments) == 1
    output = capsys.readouterr()
    assert output.err == "[ERROR] out/face.jpg: can't be written: No space left on device\n"
    assert "wrote out/masked.png" in output.out
    records = json.loads(Path("faces.json").read_text())
    assert [len(record["faces"]) for record in records] == [1, 1]


@pytest.mark.parametrize("count", [2, 3])  # one by one, and on threads
def test_a_library_that_is_not_installed_ends_the_run(
    photos: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """A light install has no Keras: that is no error of each image, and no defect."""

    def predict(self: FakeClassifier, crops: list[np.ndarray]) -> np.ndarray:
        raise ModuleNotFoundError("No module named 'keras'")

    if count > 2:
        write(photos / "photos" / "third.png")
    monkeypatch.setattr(FakeClassifier, "predict", predict)
    done = run_command(detect_mask_image.main, "--image", "photos", "--no-display")
    check(done, 1, "No module named 'keras'; expected what `pip install -r requirements.txt`")


@pytest.mark.parametrize("count", [2, 3])  # one by one, and on threads
def test_an_unexpected_exception_is_the_error_of_one_image(
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    count: int,
) -> None:
    def predict(self: FakeClassifier, crops: list[np.ndarray]) -> np.ndarray:
        if crops[0].mean() < 127:
            raise RuntimeError("There is at least 1 reference\nto internal data")
        return np.array([[0.9, 0.1]])

    if count > 2:
        write(photos / "photos" / "third.png")
    monkeypatch.setattr(FakeClassifier, "predict", predict)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    arguments = ["-i", "photos", "--json", "faces.json", "--csv", "faces.csv", "--no-display"]
    assert detect_mask_image.main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "[ERROR] photos/face.jpg: unexpected RuntimeError: There is at least 1 reference to"
    )
    (report,) = tmp_path.glob("facemask-error-*.txt")
    assert "in predict" in report.read_text()
    first, *others = json.loads(Path("faces.json").read_text())
    assert first == {"image": "photos/face.jpg", "error": line[8:], "faces": []}
    assert [len(record["faces"]) for record in others] == [1] * (count - 1)
    assert len(Path("faces.csv").read_text().splitlines()) == 1 + count


def test_timings_are_logged_at_the_end(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["-i", "photos", "-o", "out", "--no-display"]
    detect_mask_image.main(common)
    assert "median" not in capsys.readouterr().out
    detect_mask_image.main([*common, "--timings"])
    lines = capsys.readouterr().out.splitlines()[-7:]
    assert [line.split()[1] for line in lines] == [
        "stage", "read", "detect", "classify", "draw", "write", "total",
    ]  # fmt: skip
    assert lines[-1].startswith("[INFO] total           2 ")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-i", "photos/face.jpg", "-o", "photos/face.jpg"], "one of the images to read"),
        (["-i", "photos", "-o", "photos"], "one of the images to read"),
        (["-i", "photos/face.jpg", "-o", "out.xyz"], "expected a file name that ends in"),
        (["-i", "photos", "-o", "photos/notes.txt/out"], "can't be written"),
        (["-i", "photos", "--json", "photos/notes.txt/faces.json"], "can't be written"),
        (["-i", "empty"], "expected an image or a folder of images, found none"),
    ],
)
def test_errors_are_raised_before_the_networks_load(
    photos: Path, arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "empty").mkdir()
    with pytest.raises(FacemaskError, match=reason):
        detect_mask_image.main([*arguments, "--no-display"])
    assert "loading" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--model", "nowhere.keras"], "nowhere.keras: no such model; make one with"),
        (["--face", "nowhere"], "nowhere/res10_300x300_ssd_iter_140000.caffemodel: no such file"),
    ],
)
def test_missing_networks_are_one_line(
    run_script, trained_model_stub: Path, tmp_path: Path, arguments: list[str], reason: str
) -> None:
    process = run_script(
        "detect_mask_image.py", "-i", PROJECT / "examples" / "example_01.png", "--no-display",
        "--model", trained_model_stub, *arguments, cwd=tmp_path,
    )  # fmt: skip
    assert process.returncode == 1
    assert process.stderr.startswith(f"[ERROR] {reason}")
    assert process.stderr.count("\n") == 1


@pytest.fixture
def trained_model_stub(tmp_path: Path) -> Path:
    """A file that starts as a model does: enough until a model is really loaded."""
    path = tmp_path / "stub.keras"
    path.write_bytes(b"PK\x03\x04")
    return path


@pytest.mark.assets
def test_the_examples_with_the_real_networks(run_script, assets: Path, tmp_path: Path) -> None:
    process = run_script(
        "detect_mask_image.py", "--image", "examples", "--output", tmp_path / "out",
        "--json", tmp_path / "faces.json", "--no-display",
        "--face", assets / "face_detector",
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    records = json.loads((tmp_path / "faces.json").read_text())
    assert [record["image"] for record in records] == [
        f"examples/example_0{i}.png" for i in (1, 2, 3)
    ]
    assert [[face["label"] for face in record["faces"]] for record in records] == [
        ["without_mask"], ["with_mask"], ["without_mask", "with_mask"],
    ]  # fmt: skip
    assert (records[0]["width"], records[0]["height"]) == (512, 600)
    assert records[0]["faces"][0]["confidence"] > 0.99
    annotated = read_image(tmp_path / "out" / "example_02.png")
    original = read_image(PROJECT / "examples" / "example_02.png")
    assert annotated.shape == original.shape
    assert (annotated != original).any(axis=2).sum() > 500


@pytest.mark.assets
@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_a_litert_twin_is_taken_says_the_same_and_needs_no_tensorflow(
    run_script, assets: Path, tmp_path: Path, quantize: Quantization
) -> None:
    shutil.copyfile(PROJECT / "pretrained" / "mask_detector.keras", tmp_path / "m.keras")
    arguments = [
        "--image", str(PROJECT / "examples"), "--no-display",
        "--face", str(assets / "face_detector"), "--model", "m.keras",
    ]  # fmt: skip
    first = run_script("detect_mask_image.py", *arguments, "--json", "keras.json", cwd=tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    assert "export" not in first.stdout

    some = sorted((assets / "real_crops").rglob("*.jpg"))[::80]
    facts_of_twin = export_metadata(tmp_path / "m.keras")
    model = load_keras().models.load_model(tmp_path / "m.keras", compile=False)
    inputs = (model_input(read_image(path), facts_of_twin.input_size) for path in some)
    export_tflite(tmp_path / "m.tflite", model, facts_of_twin, quantize, inputs)
    code = (
        "import sys, detect_mask_image\n"
        f"status = detect_mask_image.main({[*arguments, '--json', 'litert.json']})\n"
        "large = ('tensorflow', 'keras', 'sklearn', 'matplotlib', 'requests', 'tqdm')\n"
        "print(status, [name for name in large if name in sys.modules])"
    )
    second = run_script("-c", code, cwd=tmp_path)
    assert (second.returncode, second.stderr) == (0, "")
    assert "[INFO] using m.tflite, the TFLite export of m.keras\n" in second.stdout
    assert second.stdout.endswith("\n0 []\n")

    keras, litert = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("keras", "litert")
    )
    pairs = [
        (mine, theirs)
        for record, other in zip(keras, litert, strict=True)
        for mine, theirs in zip(record["faces"], other["faces"], strict=True)
    ]
    assert len(pairs) == 4
    assert [mine["label"] for mine, _ in pairs] == [theirs["label"] for _, theirs in pairs]
    assert all(mine["box"] == theirs["box"] for mine, theirs in pairs)
    limit = 0.0002 if quantize == "none" else 0.1
    assert max(abs(mine["probability"] - theirs["probability"]) for mine, theirs in pairs) < limit


@pytest.mark.assets
def test_ctrl_c_ends_a_real_run_at_once_and_keeps_its_records(assets: Path, tmp_path: Path) -> None:
    running = subprocess.Popen(
        [
            sys.executable, PROJECT / "detect_mask_image.py", "--image", assets / "dataset",
            "--face", assets / "face_detector",
            "--json", tmp_path / "faces.json", "--no-display",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=obey_ctrl_c,
    )  # fmt: skip
    assert running.stdout is not None
    for line in running.stdout:
        if ".jpg: " in line:
            break
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    _, problems = running.communicate(timeout=30)
    assert running.returncode == 130
    assert problems == "[ERROR] interrupted\n"
    assert 1 <= len(json.loads((tmp_path / "faces.json").read_text())) < 1376
