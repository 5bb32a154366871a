"""Every command with unusable arguments, a full disk, a closed pipe, and twice at once."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import detect_mask_image
import detect_mask_video
import train_mask_detector
from facemask.detect import metadata
from facemask.detect.metadata import CLASSIC_CLASSES, ModelMetadata
from facemask.downloads import __main__ as downloads
from facemask.evaluate import __main__ as evaluate
from facemask.export import __main__ as export
from facemask.files import PROJECT
from facemask.sample_dataset import __main__ as sample_dataset
from facemask.train_face_detector import __main__ as train_face_detector

from .harness import check, run_command

COMMANDS: dict[str, Callable[..., int]] = {
    "image": detect_mask_image.main,
    "video": detect_mask_video.main,
    "train": train_mask_detector.main,
    "downloads": downloads.main,
    "evaluate": evaluate.main,
    "export": export.main,
    "sample": sample_dataset.main,
    "face": train_face_detector.main,
}
IMAGE = "image --image photos --detector builtin --no-display"
VIDEO = "video --source photos --detector builtin --no-display"
TRAIN = "train --dataset drawn --weights none --dry-run --detector builtin"
TRAIN_NOW = "train --dataset drawn --weights none --detector builtin"
EVALUATE = "evaluate --dataset drawn --detector builtin"
FACE = "face --scenes scenes --face ."
# What is wrong with each, by the command line: its status and a part of its only error.
WRONG: dict[str, tuple[int, str]] = {
    "image": (2, "required: -i/--image"),
    "image --image=": (2, "argument -i/--image: expected a path, found an empty one"),
    f"{IMAGE} --tiles 17": (2, "argument --tiles: expected a whole number from 1 to 16"),
    "train": (2, "required: -d/--dataset"),
    "evaluate": (2, "expected --dataset, --scenes or --groups"),
    "sample": (2, "required: path"),
    "face": (2, "required: --scenes"),
    **{f"{name} --nonsense": (2, "") for name in COMMANDS},
    "downloads nonsense": (2, "invalid choice"),
    "export --quantize int8": (2, "needs photographs: --images"),
    "export --detector nonsense": (2, "invalid choice: 'nonsense'"),
    "export --output m.keras": (2, "m.keras"),
    "export --model missing.keras": (1, "missing.keras: no such model"),
    "export --model pretrained/mask_detector.tflite": (1, "expected a .keras or HDF5 model"),
    "export --output /proc/m.tflite": (1, "/proc/m.tflite: can't be written"),
    "downloads --to x": (2, "expected one of the resources"),
    # missing
    "image --image missing.png --no-display": (1, "missing.png: no such image"),
    "image --image missing/*.png --no-display": (1, "missing/*.png: expected a path, or a pattern"),
    f"{IMAGE} --model missing.keras": (1, "missing.keras: no such model"),
    f"{IMAGE} --detector ssd --face missing": (1, "missing/res10"),
    f"{IMAGE} --detector yunet --face missing": (1, "missing/yunet"),
    "video --source missing.mp4 --no-display": (1, "missing.mp4"),
    f"{VIDEO} --model missing.keras": (1, "missing.keras: no such model"),
    "train --dataset missing": (1, "missing: no such folder"),
    f"{TRAIN} --scenes missing": (1, "missing: no such folder"),
    f"{TRAIN} --split missing": (1, "missing: can't be read"),
    f"{TRAIN} --weights missing": (1, "missing: can't be read"),
    "evaluate --dataset missing": (1, "missing: no such folder"),
    "evaluate --scenes missing": (1, "missing: no such folder"),
    "evaluate --groups missing": (1, "missing: no such folder; expected a folder of faces"),
    "evaluate --groups photos": (1, "photos: expected names like AGE_GENDER_RACE_NUMBER"),
    "evaluate --groups photos --groups-csv missing.csv": (1, "missing.csv: can't be read"),
    "evaluate --groups photos --groups-csv folder.csv": (1, "folder.csv: can't be read"),
    "evaluate --groups photos --groups-csv photos/a.png": (1, "a.png: expected a CSV file"),
    "evaluate --groups photos --groups-csv file": (1, "file: expected a column file or sha256"),
    f"{EVALUATE} --groups-csv file": (2, "--groups-csv needs the folders of its faces"),
    f"{EVALUATE} --model missing.keras": (1, "missing.keras: no such model"),
    "face --scenes missing": (1, ""),
    "downloads yunet --url http://127.0.0.1:1/x --to new": (1, "http://127.0.0.1:1/x: can't be"),
    # what does not suit the model
    f"{IMAGE} --model two.keras --merge-incorrect with_mask": (2, "found with_mask, without_mask"),
    f"{IMAGE} --model two.keras --merge-incorrect scarf": (2, "invalid choice: 'scarf'"),
    f"{IMAGE} --model two.keras --merge-incorrect with_mask --engine dask --parts new": (
        2,
        "--merge-incorrect with_mask: expected a model of three or more classes",
    ),
    f"{VIDEO} --model two.keras --merge-incorrect without_mask": (2, "found with_mask, without_"),
    f"{EVALUATE} --model two.keras --merge-incorrect with_mask": (2, "found with_mask, without_"),
    f"{VIDEO} --track --model two.keras --snapshots new --alert-labels no_mask beard": (
        2,
        "found beard; the model's labels are with_mask, without_mask",
    ),
    f"{VIDEO} --track --model own.keras --snapshots new": (
        2,
        "expected --alert-labels with them, as none of the model's labels is known to mean a face"
        " without a proper mask; the model's labels are cat, dog",
    ),
    f"{VIDEO} --track --alert-labels no_mask": (2, "--alert-command, --snapshots or --serve"),
    # where no page can be served
    f"{VIDEO} --serve no-such-host.invalid:8000": (
        1,
        "8000: expected an address or a name of this",
    ),
    f"{VIDEO} --serve 198.51.100.7:8000": (1, "expected a free port of an address of this machine"),
    f"{VIDEO} --serve 8000 --serve-token 1234": (2, "found 4 characters"),
    f"{VIDEO} --serve 8000:": (2, "expected [HOST:]PORT, with a port from 1 to 65535, found"),
    # what would show what another option hides
    f"{VIDEO} --track --blur --snapshots new": (
        2,
        "argument --snapshots: not with --blur, which hides what they show; expected"
        " --unblurred-snapshots with both",
    ),
    f"{VIDEO} --track --unblurred-snapshots": (2, "expected --blur and --snapshots with it"),
    f"{IMAGE} --blur --engine dask --parts new": (2, "argument --blur: not with --engine dask"),
    # two folders of one class
    "train --dataset twice": (1, "each class, found Mask and with_mask, which mean the same"),
    "evaluate --dataset twice --detector builtin --model pretrained/mask_detector.tflite": (
        1,
        "each class, found Mask and with_mask",
    ),
    # a folder for a file
    f"{IMAGE} --model photos": (
        1,
        "photos: expected a .keras, .tflite or HDF5 model, found a folder",
    ),
    f"{IMAGE} --json folder.json": (1, "folder.json: expected a file to write to, found a folder"),
    f"{IMAGE} --csv folder.csv": (1, "folder.csv: expected a file to write to, found a folder"),
    f"{VIDEO} --output folder.mp4": (1, "folder.mp4: expected a file to write to, found a folder"),
    f"{VIDEO} --json folder.json": (1, "folder.json: expected a file to write to, found a folder"),
    f"{VIDEO} --csv folder.csv": (1, "folder.csv: expected a file to write to, found a folder"),
    f"{TRAIN} --model folder.keras": (1, "folder.keras: expected a file to write to"),
    f"{TRAIN} --plot folder.png": (1, "folder.png: expected a file to write to"),
    f"{TRAIN} --report folder.json": (1, "folder.json: expected a file to write to"),
    f"{TRAIN} --split photos": (1, "photos: can't be read"),
    f"{TRAIN} --weights photos": (1, "photos: can't be read"),
    f"{EVALUATE} --model photos": (1, "photos: expected a .keras, .tflite or HDF5 model"),
    # a file for a folder
    "image --image photos/a.png/b.png --no-display": (1, "photos/a.png/b.png: no such image"),
    f"{IMAGE} --output file/out": (1, "can't be written"),
    f"{IMAGE} --output file": (1, "file: expected a folder, or for one image a file name that"),
    f"{IMAGE} --json file/faces.json": (1, "file/faces.json: can't be written"),
    f"{IMAGE} --detector ssd --face file": (1, "file/res10"),
    f"{VIDEO} --track --snapshots file": (1, "file"),
    f"{VIDEO} --output file/out.mp4": (1, "file/out.mp4: can't be written"),
    "train --dataset file": (1, "file: no such folder"),
    f"{TRAIN} --model file/m.keras": (1, "file/m.keras: can't be written"),
    f"{TRAIN_NOW} --cache file": (1, "file: can't be a cache"),
    "evaluate --dataset file": (1, "file: no such folder"),
    f"{EVALUATE} --output file": (1, "file/table.md: can't be written"),
    "sample file": (1, "file: expected a folder to draw into, found a file"),
    "downloads yunet --url http://127.0.0.1:1/x --to file": (1, "file"),
    # no permission: nobody may write there, not even root
    f"{IMAGE} --output /proc/out": (1, "/proc/out"),
    f"{IMAGE} --json /proc/faces.json": (1, "/proc/faces.json: can't be written"),
    f"{IMAGE} --csv /proc/faces.csv": (1, "/proc/faces.csv: can't be written"),
    f"{VIDEO} --output /proc/out.mp4": (1, "/proc/out.mp4: can't be written"),
    f"{VIDEO} --json /proc/faces.jsonl": (1, "/proc/faces.jsonl: can't be written"),
    f"{VIDEO} --track --snapshots /proc/new": (1, "/proc/new"),
    f"{TRAIN_NOW} --model /proc/m.keras": (1, "/proc/m.keras: can't be written"),
    f"{TRAIN_NOW} --plot /proc/plot.png": (1, "/proc/plot.png: can't be written"),
    f"{EVALUATE} --output /proc/new": (1, "/proc/new/table.md: can't be written"),
    "sample /proc/new": (1, "/proc/new: can't be written"),
    "downloads yunet --url http://127.0.0.1:1/x --to /proc/new": (1, "/proc/new"),
    f"{FACE} --output /proc/b.tflite": (1, "/proc/b.tflite: can't be written"),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a command: photographs, data sets, a file, folders, and models.

    The models are metadata alone: enough for what is checked before they are loaded.
    """
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / "photos" / f"{name}.png"), np.full((40, 40, 3), 90, np.uint8))
    for name in ("with_mask", "without_mask"):
        shutil.copytree(tmp_path / "photos", tmp_path / "drawn" / name)
    for name in ("with_mask", "Mask", "no_mask"):
        shutil.copytree(tmp_path / "photos", tmp_path / "twice" / name)
    for model, names in (("two", CLASSIC_CLASSES), ("own", ("cat", "dog"))):
        metadata.write(tmp_path / f"{model}.keras", ModelMetadata(names))
    for name in ("mp4", "json", "csv", "keras", "png"):
        (tmp_path / f"folder.{name}").mkdir()
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "scenes").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no /proc, where nobody may write")
@pytest.mark.parametrize(("line", "expected"), WRONG.items(), ids=WRONG)
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    line: str, expected: tuple[int, str], place: Path
) -> None:
    before = contents(place)
    command, *arguments = line.split()
    outcome = run_command(COMMANDS[command], *arguments)
    check(outcome, *expected)
    assert outcome.status != 2 or not outcome.out
    assert contents(place) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_answered(command: str) -> None:
    outcome = run_command(COMMANDS[command], "--help")
    check(outcome, 0)
    assert outcome.out.startswith("usage: ")


@pytest.mark.parametrize(
    "options",
    [["--json", "disk/faces.json"], ["--csv", "disk/faces.csv"], ["--output", "disk/out"]],
    ids=lambda options: options[0],
)
def test_a_full_disk_loses_no_file_that_was_whole(
    options: list[str], small_disk: Path, place: Path
) -> None:
    (small_disk / "fill").write_bytes(bytes(230_000))
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    for name in range(3):
        cv2.imwrite(f"photos/{name}.png", noise)
    long = place / "photos" / ("long" * 50)
    long.mkdir()
    for name in range(200):  # names alone are more than the disk takes
        (long / f"{name}.png").write_bytes(b"")
    outcome = run_command(COMMANDS["image"], *IMAGE.split()[1:], *options)
    assert outcome.status == 1
    assert "No space left on device" in outcome.err
    names = {path.name for path in small_disk.rglob("*") if path.is_file()} - {"fill"}
    assert not {name for name in names if ".part" in name}
    for path in (small_disk / "out").glob("*.png"):
        assert cv2.imread(str(path)) is not None


def run_processes(*lines: list[str], cwd: Path) -> list[subprocess.CompletedProcess[str]]:
    """Command lines, each in a process of its own, all at once."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(PROJECT / line[0]), *line[1:]],
            cwd=cwd, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for line in lines
    ]  # fmt: skip
    results = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        results.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    return results


def test_twice_at_once_from_another_folder(place: Path) -> None:
    """Both write whole files: the last one's is kept."""
    image = ["detect_mask_image.py", *IMAGE.split()[1:]]
    image += ["--json", "f.json", "--csv", "f.csv", "--output", "out"]
    video = ["detect_mask_video.py", *VIDEO.split()[1:], "--json", "f.jsonl"]
    for result in run_processes(image, image, video, video, cwd=place):
        assert (result.returncode, result.stderr) == (0, "")
    assert len(json.loads((place / "f.json").read_text())) == 2
    with (place / "f.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2
    assert {path.name for path in (place / "out").iterdir()} == {"a.png", "b.png"}
    assert not [name for name in contents(place) if ".part" in name]


@pytest.mark.parametrize(
    "line", [IMAGE, VIDEO, "sample new --count 2 --size 32"], ids=lambda line: line.split()[0]
)
def test_a_closed_pipe_ends_a_command_without_a_traceback(line: str, place: Path) -> None:
    names = {"image": "detect_mask_image.py", "video": "detect_mask_video.py"}
    command, *arguments = line.split()
    start = (
        [str(PROJECT / names[command])] if command in names else ["-m", "facemask.sample_dataset"]
    )
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, *start, *arguments],
        stdout=write_end, stderr=subprocess.PIPE, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    os.close(write_end)
    assert (done.returncode, done.stderr) == (1, "")
