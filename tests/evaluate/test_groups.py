"""Figures by group of people: which face is in which group, and what is counted of each."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from facemask.detect import classifier
from facemask.detect.yunet import YuNetFaceDetector
from facemask.errors import FacemaskError
from facemask.evaluate import __main__ as evaluate
from facemask.evaluate.crops import Crop
from facemask.evaluate.group_figures import MEASURES, GroupCount, differences, group_counts
from facemask.evaluate.groups import GroupedFace, read_groups, read_table
from facemask.geometry import FaceBox

from ..conftest import FakeClassifier, FakeDetector

MASKED, UNMASKED = FakeClassifier.class_names
KNOWN = FakeClassifier.class_names
INCORRECT = "mask_weared_incorrect"


class ThreeClasses(FakeClassifier):
    """As the fake, but crops with few dark pixels are of a mask worn incorrectly."""

    class_names = (MASKED, UNMASKED, INCORRECT)


def write(path: Path, grey: int = 20) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((60, 60, 3), grey, np.uint8))


def table(text: str) -> Path:
    path = Path("groups.csv")
    path.write_text(text, encoding="utf-8")
    return path


def read(text: str) -> tuple[list[GroupedFace], list[str]]:
    return read_groups(Path("faces"), read_table(table(text)), KNOWN)


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a folder of two faces."""
    monkeypatch.chdir(tmp_path)
    write(Path("faces", "a.png"))
    write(Path("faces", "with_mask", "b.png"), 200)
    return tmp_path


# --- who is in which group ---


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("0_0_0_1.jpg", ("0-12", "male", "White")),
        ("12_1_1_1.jpg", ("0-12", "female", "Black")),
        ("13_0_2_20170109.jpg.chip.jpg", ("13-19", "male", "Asian")),
        ("20_1_3_1.png", ("20-39", "female", "Indian")),
        ("59_1_4_1.png", ("40-59", "female", "other")),
        ("116_0_0_1.png", ("60+", "male", "White")),
    ],
)
def test_names_tell_groups(name: str, groups: tuple[str, str, str], tmp_path: Path) -> None:
    write(tmp_path / name)
    (face,), problems = read_groups(tmp_path, None, KNOWN)
    assert (face.groups["age"], face.groups["gender"], face.groups["race"]) == groups
    assert (face.box, face.label, problems) == (None, UNMASKED, [])


@pytest.mark.parametrize(
    "name", ["a.png", "34_2_0_1.png", "34_1_5_1.png", "34_1_2.png", "x34_1_2_1.png"]
)
def test_other_names_tell_none_and_are_counted_in_one_line(name: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    with pytest.raises(FacemaskError, match=r"names like AGE_GENDER_RACE_NUMBER.*none among 1"):
        read_groups(tmp_path, None, KNOWN)
    write(tmp_path / "34_1_2_1.png")
    found, problems = read_groups(tmp_path, None, KNOWN)
    assert len(found) == 1
    assert problems == [f"{tmp_path}: 1 image(s) without a group, such as {name}; skipped"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_tells_groups_boxes_and_classes(separator: str, faces: Path) -> None:
    text = "\ufeffFile,Kind,x1,y1,x2,y2,label\na.png,beard,1,2.4,30,40,no mask\r\n"
    text += "with_mask\\b.png,,,,,\n"
    (first, second), problems = read(text.replace(",", separator))
    assert (first.path, first.box) == (Path("faces", "a.png"), FaceBox(1, 2, 30, 40, 1.0))
    assert (first.label, first.groups) == (UNMASKED, {"kind": "beard"})
    assert (second.box, second.label, second.groups) == (None, MASKED, {})
    assert problems == []


def test_a_table_may_name_images_by_their_digests(faces: Path) -> None:
    digest = hashlib.sha256(Path("faces", "a.png").read_bytes()).hexdigest()
    (face,), problems = read(f"sha256,kind\n{digest.upper()},hand\n")
    assert (face.path, face.groups) == (Path("faces", "a.png"), {"kind": "hand"})
    assert problems == ["faces: 1 image(s) without a group, such as b.png; skipped"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("nobody.png,x,,,,", "line 3: no such image, nobody.png; skipped"),
        ("../groups.csv,x,,,,", "line 3: no such image, ../groups.csv; skipped"),
        (",x,,,,", "line 3: no such image, ; skipped"),
        ("a.png,x,1,2,3,", "line 3: expected x1, y1, x2, y2 in pixels, found 1, 2, 3,; skipped"),
        ("a.png,x,1,2,three,4", "line 3: expected x1, y1, x2, y2 in pixels, found 1, 2, three, 4"),
        ("a.png,x,9,2,3,4", "line 3: expected x1, y1, x2, y2 in pixels, found 9, 2, 3, 4"),
        ("a.png,x,nan,2,3,4", "line 3: expected x1, y1, x2, y2 in pixels, found nan, 2, 3, 4"),
    ],
)
def test_a_row_that_cannot_be_used_is_one_line(row: str, problem: str, faces: Path) -> None:
    text = f"file,kind,x1,y1,x2,y2\na.png,beard,,,,\n{row}\nwith_mask/b.png,,,,,\n"
    found, problems = read(text)
    assert len(found) == 2
    assert len(problems) == 1
    assert problems[0].startswith(f"groups.csv: {problem}")


def test_a_class_that_not_all_models_know_is_one_line(faces: Path) -> None:
    found, problems = read("file,kind,label\na.png,beard,\nwith_mask/b.png,,costume\n")
    assert [face.path.name for face in found] == ["a.png"]
    assert problems == ["faces: 1 face(s) of the class costume, which not all models know; skipped"]
    with pytest.raises(FacemaskError, match=r"expected faces of the classes .*; found costume"):
        read("file,kind,label\na.png,beard,costume\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a column file or sha256, and at least one of groups.*found none"),
        (b"file\na.png\n", "found file"),
        (b"file,x1,y1,x2,y2,label,\na.png\n", "at least one of groups"),
        (b"name,age\na.png,3\n", "found name, age"),
        (b"file,kind\n\xff\xfe,x\n", "expected a CSV file in UTF-8"),
        (b'file,kind\n"a.png,x\n', "expected a CSV file: "),
    ],
)
def test_an_unusable_table(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(FacemaskError, match=message) as problem:
        read_table(tmp_path / "t.csv")
    assert str(problem.value).startswith(f"{tmp_path / 't.csv'}: ")


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("nowhere", "nowhere: no such folder; expected a folder of faces"),
        ("groups.csv", r"groups\.csv: a file; expected a folder of faces"),
        ("empty", "empty: expected images of faces, found none"),
    ],
)
def test_a_folder_without_faces(folder: str, message: str, faces: Path) -> None:
    Path("empty").mkdir()
    Path("empty", "notes.txt").touch()
    table("file,kind\na.png,beard\n")
    with pytest.raises(FacemaskError, match=message):
        read_groups(Path(folder), None, KNOWN)


def test_a_table_of_other_images(faces: Path) -> None:
    with pytest.raises(FacemaskError, match=r"images that groups\.csv names; found none among 2"):
        read("file,kind\nc.png,beard\n")


# --- what is counted ---


def crop(predicted: str, **groups: str) -> tuple[Crop, GroupedFace]:
    face = GroupedFace(Path("x"), None, UNMASKED, groups)
    return Crop(None, "x", True, 9, None, "usual", {}, {"m": predicted}), face


@pytest.mark.parametrize(
    ("title", "model", "wrong"),
    [
        ("as they are", FakeClassifier, 2),  # all that is not unmasked
        ("mask drawn on", FakeClassifier, 2),
        ("below the nose: with_mask", FakeClassifier, 1),
        ("below the nose", ThreeClasses, 2),
        ("on the chin: with_mask", ThreeClasses, 1),
    ],
)
def test_errors_of_a_group(title: str, model: type[FakeClassifier], wrong: int) -> None:
    measure = next(measure for measure in MEASURES if measure.title == title)
    pairs = [crop(name, age="60+") for name in (MASKED, UNMASKED, INCORRECT)]
    counts = group_counts(measure, [*pairs, crop(MASKED)], {"m": model()})
    assert list(counts) == ["all", "age"]
    count = counts["age"]["60+"]["m"]
    assert (count.count, count.total) == (wrong, 3)
    assert counts["all"]["all"]["m"].total == 4


def test_a_model_without_the_class_has_no_errors_to_count() -> None:
    measure = next(measure for measure in MEASURES if measure.title == "on the chin")
    assert group_counts(measure, [crop(MASKED)], {"m": FakeClassifier()}) == {}


def test_small_groups_are_not_compared() -> None:
    def count(wrong: int, total: int) -> dict[str, GroupCount]:
        return {"m": GroupCount(wrong, total, (0.0, 1.0))}

    groups = {"a": count(2, 20), "b": count(1, 100), "few": count(19, 19)}
    assert differences({"age": groups, "one": {"a": count(1, 50)}}) == {
        "age": {"m": {"difference": pytest.approx(0.09), "highest": "a", "lowest": "b"}}
    }


# --- the command ---


class FakeYuNet:
    """Finds one upright face in each image."""

    landmarks = np.array([[22.0, 22], [38, 22], [30, 30], [24, 38], [36, 38]])

    def detect_landmarks(self, image: np.ndarray) -> list[tuple[FaceBox, np.ndarray]]:
        return [(FaceBox(10, 8, 50, 56, 0.9), self.landmarks)]


@pytest.fixture
def command(
    fake_networks: FakeDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FakeDetector:
    """A working folder with two models, and fake detectors that find the same face."""
    monkeypatch.chdir(tmp_path)
    models = {"mask_detector.keras": FakeClassifier, "three.keras": ThreeClasses}
    for name in models:
        Path(name).write_bytes(b"")
    monkeypatch.setattr(
        classifier.MaskClassifier, "load", lambda path, announce: models[path.name]()
    )
    monkeypatch.setattr(YuNetFaceDetector, "has_weights", lambda folder: True)
    monkeypatch.setattr(YuNetFaceDetector, "load", lambda folder: FakeYuNet())
    fake_networks.faces = [FaceBox(10, 8, 50, 56, 0.9)]
    return fake_networks


def evaluated(*arguments: str, models: Sequence[str] = ("mask_detector.keras",)) -> dict:
    assert evaluate.main(["-m", *models, "--detector", "ssd", "--groups", *arguments]) == 0
    (record,) = json.loads(Path("evaluation/evaluation.json").read_text())["sets"]
    return record


def lines(start: str) -> list[str]:
    table = Path("evaluation/table.md").read_text()
    rows = [" ".join(line.split()) for line in table.splitlines()]
    return [row for row in rows if row.startswith(start)]


def test_faces_as_they_are_and_with_masks_drawn_on(command: FakeDetector) -> None:
    """One face is dark, and right; the other bright, and called masked."""
    write(Path("faces", "30_0_1_1.png"), 20)
    write(Path("faces", "70_0_2_1.png"), 200)
    record = evaluated("faces", models=["mask_detector.keras", "three.keras"])
    by_group = record["by_group"]
    assert list(by_group) == [measure.title for measure in MEASURES]
    right, wrong = (by_group["as they are"]["race"][race] for race in ("Black", "Asian"))
    assert right["mask_detector.keras"] == {
        "count": 0, "total": 1, "interval": [0.0, pytest.approx(0.793, abs=0.001)],
    }  # fmt: skip
    assert wrong["three.keras"]["count"] == 1
    assert list(by_group["below the nose"]["gender"]["male"]) == ["three.keras"]
    assert set(by_group["on the chin: with_mask"]["all"]["all"]) == {
        "mask_detector.keras", "three.keras",
    }  # fmt: skip
    assert record["group_differences"]["as they are"] == {}
    (row,) = lines("| faces | race | Black | mask_detector.keras ")
    assert "| 1 (few) | 0.00 (0.0-79.3) |" in row
    names = [row["name"] for row in record["rows"]]
    assert names == ["faces as they are", "faces, mask drawn on"]
    assert record["rows"][0]["note"].startswith("0 of 2 in which ssd does not find")


def test_a_mask_is_really_drawn(command: FakeDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    predict = FakeClassifier.predict

    def watched(self: FakeClassifier, crops: list[np.ndarray]) -> np.ndarray:
        seen.extend(crops)
        return predict(self, crops)

    monkeypatch.setattr(FakeClassifier, "predict", watched)
    write(Path("faces", "30_0_1_1.png"), 120)
    evaluated("faces")
    assert len(seen) == 4
    assert len({crop.tobytes() for crop in seen}) == 4
    evaluated("faces")
    assert [crop.tobytes() for crop in seen[:4]] == [crop.tobytes() for crop in seen[4:]]


def test_the_whole_image_without_just_one_face(command: FakeDetector) -> None:
    write(Path("faces", "30_0_1_1.png"))
    command.faces *= 2
    assert evaluated("faces")["rows"][0]["note"].startswith("1 of 1 in which ssd does not find")


def test_what_covers_a_face_is_measured_as_it_is(command: FakeDetector) -> None:
    """Masks are drawn neither on a covered face, nor on one that has a mask."""
    for name in "abc":
        write(Path("faces", f"{name}.png"))
    text = (
        "file,kind,label,x1,y1,x2,y2\na.png,beard,,10,8,50,56\nb.png,,with_mask,,,,\nc.png,,,,,,\n"
    )
    record = evaluated("faces", "--groups-csv", str(table(text)))
    assert record["by_group"]["as they are"]["all"]["all"]["mask_detector.keras"]["total"] == 3
    assert record["by_group"]["mask drawn on"]["all"]["all"]["mask_detector.keras"]["total"] == 1
    assert record["by_group"]["as they are"]["kind"]["beard"]["mask_detector.keras"]["count"] == 0
    assert "kind" not in record["by_group"]["mask drawn on"]


def test_a_box_outside_of_the_image_is_one_line(
    command: FakeDetector, capsys: pytest.CaptureFixture[str]
) -> None:
    write(Path("faces", "a.png"))
    text = "file,kind,x1,y1,x2,y2\na.png,hand,100,100,140,140\na.png,hand,10,8,50,56\n"
    record = evaluated("faces", "--groups-csv", str(table(text)))
    assert record["problems"] == ["faces/a.png: box (100, 100, 140, 140) is outside; skipped"]
    assert record["by_group"]["as they are"]["kind"]["hand"]["mask_detector.keras"]["total"] == 1
    assert capsys.readouterr().err.count("outside") == 1


def test_all_boxes_outside_of_the_image(
    command: FakeDetector, capsys: pytest.CaptureFixture[str]
) -> None:
    write(Path("faces", "a.png"))
    path = table("file,kind,x1,y1,x2,y2\na.png,hand,100,100,140,140\n")
    arguments = ["--detector", "ssd", "--groups", "faces", "--groups-csv", str(path)]
    assert evaluate.main(arguments) == 1
    assert "no box is inside" in capsys.readouterr().err


def test_without_yunet_no_masks_are_drawn(
    command: FakeDetector, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(YuNetFaceDetector, "has_weights", lambda folder: False)
    write(Path("faces", "30_0_1_1.png"))
    assert list(evaluated("faces")["by_group"]) == ["as they are"]
    assert "without YuNet's weights no masks are drawn on" in capsys.readouterr().err


@pytest.mark.assets
def test_the_real_networks(run_script, assets: Path, tmp_path: Path) -> None:
    """Twenty-nine faces, with the model that comes with the project."""
    (tmp_path / "faces").mkdir()
    for path in sorted((assets / "faces_by_group").iterdir())[::50][:29]:
        (tmp_path / "faces" / path.name).symlink_to(path)
    done = run_script(
        "-m", "facemask.evaluate", "--groups", "faces", "--detector", "ssd",
        "--face", assets / "face_detector", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (record,) = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())["sets"]
    for title in ("as they are", "mask drawn on"):
        (count,) = record["by_group"][title]["all"]["all"].values()
        assert count["total"] >= 28
        assert count["count"] <= 2


def test_nothing_written_tells_of_the_machine(command: FakeDetector, tmp_path: Path) -> None:
    write(tmp_path / "faces" / "a.png")
    path = tmp_path / table("file,kind\na.png,hand\nb.png,hand\n")
    evaluated(str(tmp_path / "faces"), "--groups-csv", str(path))
    for file in ("evaluation.json", "table.md"):
        assert str(tmp_path) not in Path("evaluation", file).read_text()
