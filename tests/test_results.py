import csv
import json
from pathlib import Path

import numpy as np
import pytest

from facemask import results
from facemask.errors import FacemaskError
from facemask.geometry import FaceBox
from facemask.pipeline import MaskDetection

IMAGE = np.zeros((600, 512, 3), np.uint8)
FOUND = [
    MaskDetection(FaceBox(175, 92, 320, 291, 0.99991), "without_mask", 0.99874),
    MaskDetection(FaceBox(1, 2, 3, 4, 0.6), "with_mask", 0.7),
]
FACE = {
    "box": [175, 92, 320, 291],
    "confidence": 0.9999,
    "label": "without_mask",
    "probability": 0.9987,
}
RECORDS = [
    results.image_record("a b.png", IMAGE, FOUND),
    results.image_record("nobody.png", IMAGE, []),
    results.error_record("Käse.png", "Käse.png: no such image"),
]


def test_json_is_a_list_of_images_in_order(tmp_path: Path) -> None:
    results.write_json(tmp_path / "found.json", RECORDS)
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found[0]["image"] == "a b.png"
    assert (found[0]["width"], found[0]["height"]) == (512, 600)
    assert found[0]["faces"][0] == FACE
    assert len(found[0]["faces"]) == 2
    assert found[1]["faces"] == []
    assert found[2] == {"image": "Käse.png", "error": "Käse.png: no such image", "faces": []}


def test_json_of_nothing_is_an_empty_list(tmp_path: Path) -> None:
    results.write_json(tmp_path / "found.json", [])
    assert json.loads((tmp_path / "found.json").read_text()) == []


def test_csv_has_a_row_for_each_face_and_one_for_an_image_without(tmp_path: Path) -> None:
    results.write_csv(tmp_path / "found.csv", RECORDS)
    with (tmp_path / "found.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["a b.png", "a b.png", "nobody.png", "Käse.png"]
    assert [row["face"] for row in rows] == ["0", "1", "", ""]
    assert rows[0]["x1"] == "175"
    assert rows[0]["y2"] == "291"
    assert rows[0]["label"] == "without_mask"
    assert rows[3]["error"] == "Käse.png: no such image"


def test_json_lines_are_whole_and_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    with results.JSONLines(path) as lines:
        lines.write(results.frame_record(0, 0.0, IMAGE, FOUND))
        lines.write(results.frame_record(1, 0.0400001, IMAGE, []))
        written = [json.loads(line) for line in path.read_text().splitlines()]
    assert written[0]["faces"][0] == FACE
    assert written[1] == {"frame": 1, "time_s": 0.04, "width": 512, "height": 600, "faces": []}


def test_a_full_disk_is_one_line_that_names_the_file() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with (
        results.JSONLines(full) as lines,
        pytest.raises(FacemaskError, match=r"/dev/full: .*space"),
    ):
        lines.write({"frame": 0})
