"""Folders of faces with groups, and tables of groups, as people have them; through the command."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from facemask.evaluate import __main__ as evaluate
from facemask.sample_dataset.writer import write_sample_dataset

from .harness import Outcome, check, run_command
from .test_models import tflite

# The digest of no file here.
OTHER = hashlib.sha256(b"another photograph").hexdigest()


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Drawn portraits without a mask."""
    folder = tmp_path_factory.mktemp("portraits")
    write_sample_dataset(folder, 4, 120, 1)
    return sorted((folder / "without_mask").iterdir())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, which answers at random."""
    return tflite(tmp_path_factory.mktemp("model"))


@pytest.fixture
def faces(
    portraits: list[Path], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder of good faces among files of every kind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / model.name).symlink_to(model)
    folder = tmp_path / "faces"
    (folder / "deeper").mkdir(parents=True)
    for path, name in zip(
        portraits,
        ("1_0_0_1.jpg", "30_1_4_2.jpg.chip.jpg", "deeper/116_1_1_3.jpg", "plain.jpg"),
        strict=True,
    ):
        shutil.copyfile(path, folder / name)
    (folder / "40_0_1_empty.jpg").touch()
    (folder / "40_0_1_5.jpg").write_bytes((folder / "1_0_0_1.jpg").read_bytes()[:900])
    (folder / "40_0_1_6.jpg").write_text("a text")
    (folder / "40_0_1_7.png").symlink_to("nowhere")
    cv2.imwrite(str(folder / "50_1_2_8.png"), np.full((1, 1, 3), 9, np.uint8))
    cv2.imwrite(str(folder / "50_1_2_9.png"), np.full((40, 900), 200, np.uint8))
    (folder / os.fsdecode(b"50_1_2_10_\xff.png")).write_bytes(
        (folder / "50_1_2_9.png").read_bytes()
    )
    (folder / "readme.txt").write_text("not a face")
    return folder


def measured(*arguments: str | Path) -> tuple[Outcome, dict]:
    outcome = run_command(
        evaluate.main, *arguments, "--model", "m.tflite", "--detector", "builtin", "--no-pictures"
    )
    path = Path("evaluation", "evaluation.json")
    return outcome, json.loads(path.read_text()) if path.exists() else {}


def counts(record: dict, column: str) -> dict[str, int]:
    groups = record["sets"][0]["by_group"]["as they are"][column]
    return {
        group: sum(model["total"] for model in models.values()) for group, models in groups.items()
    }


def test_names_of_files_of_every_kind(faces: Path) -> None:
    """What can't be read is a line each, and the others are measured."""
    outcome, record = measured("--groups", faces)
    check(outcome, 0)
    assert counts(record, "age") == {"0-12": 1, "20-39": 1, "40-59": 3, "60+": 1}
    assert counts(record, "race") == {"Asian": 3, "Black": 1, "White": 1, "other": 1}
    problems = record["sets"][0]["problems"]
    for name in ("40_0_1_5.jpg", "40_0_1_6.jpg", "40_0_1_7.png"):
        assert sum(name in line for line in problems) == 1
    assert "2 image(s) without a group, such as 40_0_1_empty.jpg" in " ".join(problems)
    assert len(problems) == 4


def test_tables_of_every_kind(faces: Path) -> None:
    digest = hashlib.sha256((faces / "plain.jpg").read_bytes()).hexdigest()
    good = "plain.jpg", "deeper/116_1_1_3.jpg"
    tables = {
        "comma": f"file,kind\n{good[0]},beard\n{good[1]},beard\n",
        "semicolon": f"File;Kind;note\n{good[0]};beard;a, b\n{good[1]};beard;\n",
        "tab": f"\ufefffile\tkind\r\n{good[0]}\tbeard\r\n.\\deeper\\116_1_1_3.jpg\tbeard\r\n\r\n",
        "quoted": f'"file","kind"\n"{good[0]}","beard"\n"./{good[1]}"," beard "\n\n',
        "boxes": "file,x1,y1,x2,y2,kind\n"
        f"{good[0]},-9,-9,70.5,99,beard\n{good[1]},5,5,999,80,beard\n",
        "digests": f"sha256,kind\n{digest},beard\n{digest.upper()},beard\n",
        "labels": f"file,label,kind\n{good[0]},No Mask,beard\n{good[1]},mask,beard\n",
    }
    for name, text in tables.items():
        Path("groups.csv").write_bytes(text.encode())
        outcome, record = measured("--groups", faces, "--groups-csv", "groups.csv")
        check(outcome, 0)
        assert counts(record, "kind") == {"beard": 2}, name
        (problem,) = record["sets"][0]["problems"]
        assert "image(s) without a group" in problem


def test_each_bad_row_of_a_table_is_a_line(faces: Path) -> None:
    rows = [
        "plain.jpg,,,,,hand",
        "missing.jpg,,,,,hand",
        "/etc/hostname,,,,,hand",
        "plain.jpg,1,2,3,,hand",
        "plain.jpg,1,2,x,4,hand",
        "plain.jpg,1,2,inf,4,hand",
        "plain.jpg,30,30,20,20,hand",
        "plain.jpg,1000,1000,2000,2000,hand",
        "40_0_1_6.jpg,,,,,hand",
        "1_0_0_1.jpg",
        "1_0_0_1.jpg,,,,,,too,many,cells",
    ]
    Path("groups.csv").write_text("\n".join(["file,x1,y1,x2,y2,kind", *rows]))
    outcome, record = measured("--groups", faces, "--groups-csv", "groups.csv")
    check(outcome, 0)
    assert counts(record, "all") == {"all": 3}
    assert counts(record, "kind") == {"hand": 1}
    problems = record["sets"][0]["problems"]
    assert sum("no such image" in line for line in problems) == 2
    assert sum("expected x1, y1, x2, y2 in pixels" in line for line in problems) == 4
    assert sum("outside" in line for line in problems) == 1
    assert sum("40_0_1_6.jpg" in line for line in problems) == 1


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f"sha256,kind\n{OTHER},beard\n", "images that groups.csv names; found none among"),
        ("file,kind,label\nplain.jpg,beard,costume\n", "expected faces of the classes"),
        ("file,kind\n40_0_1_6.jpg,beard\n", "expected images, found none that can be read"),
    ],
)
def test_tables_of_which_nothing_is_left(text: str, error: str, faces: Path) -> None:
    Path("groups.csv").write_text(text)
    outcome, record = measured("--groups", faces, "--groups-csv", "groups.csv")
    check(outcome, 1, error)
    assert record == {}
