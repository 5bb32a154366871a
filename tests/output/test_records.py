import csv
import json
from pathlib import Path

import numpy as np
import pytest

from facemask import files
from facemask.detect.types import MaskDetection
from facemask.errors import FacemaskError
from facemask.geometry import FaceBox
from facemask.output import records as records_module
from facemask.output.records import record_file

IMAGE = np.zeros((600, 512, 3), np.uint8)
DETECTIONS = [
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
    records_module.image_record("a b.png", IMAGE.shape[1], IMAGE.shape[0], DETECTIONS),
    records_module.image_record("nobody.png", IMAGE.shape[1], IMAGE.shape[0], []),
    records_module.error_record("Käse.png", "Käse.png: no such image"),
]


def write(path: Path, records: list[dict]) -> None:
    with record_file(path) as write_record:
        for record in records:
            write_record(record)


def test_json_is_a_list_of_images_in_order(tmp_path: Path) -> None:
    write(tmp_path / "faces.json", RECORDS)
    records = json.loads((tmp_path / "faces.json").read_text(encoding="utf-8"))
    assert records[0]["image"] == "a b.png"
    assert (records[0]["width"], records[0]["height"]) == (512, 600)
    assert records[0]["faces"][0] == FACE
    assert len(records[0]["faces"]) == 2
    assert records[1]["faces"] == []
    assert records[2] == {"image": "Käse.png", "error": "Käse.png: no such image", "faces": []}
    assert (tmp_path / "faces.json").read_text(encoding="utf-8").count("\n") == 5


def test_json_without_records_is_an_empty_list(tmp_path: Path) -> None:
    write(tmp_path / "faces.json", [])
    assert (tmp_path / "faces.json").read_text() == "[]\n"


def test_csv_has_a_row_for_each_face_and_one_for_an_image_without(tmp_path: Path) -> None:
    write(tmp_path / "faces.csv", RECORDS)
    with (tmp_path / "faces.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["a b.png", "a b.png", "nobody.png", "Käse.png"]
    assert [row["face"] for row in rows] == ["0", "1", "", ""]
    assert rows[0]["x1"] == "175"
    assert rows[0]["y2"] == "291"
    assert rows[0]["label"] == "without_mask"
    assert rows[3]["error"] == "Käse.png: no such image"


@pytest.fixture(params=["faces.json", "faces.csv"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An older file of each kind."""
    path = tmp_path / request.param
    path.write_text("old")
    return path


def test_the_old_file_stays_until_the_new_one_is_complete(old: Path) -> None:
    with record_file(old) as write_record:
        write_record(RECORDS[0])
        assert old.read_text() == "old"
    assert "a b.png" in old.read_text()
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.parametrize("error", [KeyboardInterrupt, FacemaskError])
def test_the_records_of_an_interrupted_run_are_kept(old: Path, error: type[BaseException]) -> None:
    def interrupted_run() -> None:
        with record_file(old) as write_record:
            write_record(RECORDS[0])
            raise error

    with pytest.raises(error):
        interrupted_run()
    interrupted = old.read_bytes()
    write(old, RECORDS[:1])
    assert old.read_bytes() == interrupted
    assert list(old.parent.iterdir()) == [old]


def test_a_run_that_fails_before_its_first_record_replaces_nothing(old: Path) -> None:
    with pytest.raises(FacemaskError, match="no network"), record_file(old):
        raise FacemaskError("no network")
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.parametrize("count", [1, 2000])
def test_a_full_disk_is_one_line_and_replaces_nothing(
    old: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """One record fits into the buffer, and fails when the file is closed; 2,000 fail before."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    temporary = old.with_name("temporary")
    temporary.symlink_to("/dev/full")
    monkeypatch.setattr(files, "beside", lambda _: temporary)
    with pytest.raises(FacemaskError, match=rf"{old.name}: can't be written: .*space"):
        write(old, RECORDS[:1] * count)
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


def test_records_are_not_collected_in_memory(tmp_path: Path) -> None:
    with record_file(tmp_path / "faces.json") as write_record:
        for _ in range(200):
            write_record(RECORDS[0])
        size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size > 0.7 * (tmp_path / "faces.json").stat().st_size


def test_json_lines_are_whole_and_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "faces.jsonl"
    with records_module.JSONLines(path) as lines:
        lines.write(records_module.frame_record(0, 0.0, IMAGE, DETECTIONS))
        lines.write(records_module.frame_record(1, 0.0400001, IMAGE, []))
        written = [json.loads(line) for line in path.read_text().splitlines()]
    assert written[0]["faces"][0] == FACE
    assert written[1] == {"frame": 1, "time_s": 0.04, "width": 512, "height": 600, "faces": []}


def test_json_lines_replace_an_earlier_file_with_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "faces.jsonl"
    path.write_text("earlier\n")
    with pytest.raises(ValueError, match="no frame"), records_module.JSONLines(path):
        raise ValueError("no frame")
    assert path.read_text() == "earlier\n"
    with records_module.JSONLines(path):
        pass
    assert path.read_text() == ""
    with records_module.JSONLines(path) as lines:
        lines.write({"frame": 0})
        assert path.read_text() == '{"frame": 0}\n'


def test_a_full_disk_is_one_line_that_names_the_file() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with (
        records_module.JSONLines(full) as lines,
        pytest.raises(FacemaskError, match=r"/dev/full: .*space"),
    ):
        lines.write({"frame": 0})
