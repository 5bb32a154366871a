"""Awkward annotations of each format, through evaluation and through a training's dry run.

All cases lie in one set, each in a folder of its own, with a good scene of each format beside them:
nothing that is good may be lost, and each thing that is skipped is named once.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import train_mask_detector
from facemask.evaluate import __main__ as evaluate

from ..conftest import FakeDetector
from ..data.annotated import NAMES, coco, write, write_image
from ..data.test_scenes import xml
from .harness import Outcome, check, run_command

GOOD_XML = xml(("with_mask", 10, 20, 40, 50))
GOOD_LINE = "1 0.5 0.5 0.5 0.5\n"
GOOD_BOX = [10, 20, 30, 30]
BOMB = '<!DOCTYPE a [<!ENTITY e0 "xx"><!ENTITY e1 "&e0;&e0;">]><annotation>&e1;</annotation>'


@dataclass(frozen=True)
class Case:
    name: str
    files: dict[str, str | bytes]  # beside a.png, an image of 80x60 pixels
    faces: int  # that can be used
    problem: str = ""  # in the one line that there is about it


def voc(name: str, content: str | bytes, faces: int = 0, problem: str = "") -> Case:
    return Case(f"voc-{name}", {"a.xml": content}, faces, problem)


def voc_box(name: str, box: tuple[Any, ...], faces: int = 1, problem: str = "") -> Case:
    """With a good face beside the awkward one."""
    content = xml(("with_mask", *box), ("without_mask", 1, 1, 31, 31))
    return voc(name, content, 1 + faces, problem)


def yolo(name: str, lines: str | bytes, faces: int, problem: str = "", names: str = NAMES) -> Case:
    return Case(f"yolo-{name}", {"a.txt": lines, "data.yaml": names}, faces, problem)


def coco_box(name: str, faces: int, problem: str = "", **values: Any) -> Case:
    """With a good face beside the awkward one."""
    entries = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": GOOD_BOX} for _ in range(2)]
    content = coco(annotations=[{**entries[0], **values}, entries[1]])
    return Case(f"coco-{name}", {"a.json": content}, faces, problem)


def coco_file(name: str, content: str | bytes, faces: int = 0, problem: str = "") -> Case:
    return Case(f"coco-{name}", {"a.json": content}, faces, problem)


CASES = [
    voc("broken", GOOD_XML[:-20], problem="expected a Pascal VOC XML file"),
    voc("empty-file", "", problem="no element found"),
    voc("binary", b"\x00\xff\x00\xff", problem="expected a Pascal VOC XML file"),
    voc("html", "<html></html>", problem="found <html>"),
    voc("bomb", BOMB, problem="found one with a DOCTYPE or entities"),
    voc("utf-16", f'<?xml version="1.0" encoding="utf-16"?>{GOOD_XML}'.encode("utf-16"), faces=1),
    voc("no-encoding", '<?xml version="1.0" encoding="klingon"?><annotation/>', problem="encoding"),
    voc("no-size", xml(("with_mask", 10, 20, 40, 50), size=None), faces=1),
    voc("other-size", GOOD_XML.replace("80", "800"), faces=1, problem="states 800x60 pixels"),
    voc("no-object", xml()),
    voc("empty-object", "<annotation><object/></annotation>", problem="expected the name of a"),
    voc_box("outside", (90, 10, 120, 40), faces=0, problem="is outside the image's 80x60"),
    voc_box("half-outside", (-9, 10, 30, 40), problem="reaches out of the image's 80x60"),
    voc_box("no-area", (10, 10, 10, 40), faces=0, problem="has no size"),
    voc_box("nan", ("nan", 10, 30, 40), faces=0, problem="expected numbers for"),
    voc_box("huge", (10, 10, "9" * 400, 40), faces=0, problem="expected numbers for"),
    voc_box("text", (10, 10, "30px", 40), faces=0, problem="found 10 10 30px 40"),
    voc_box("fractions", (10.4, 10.6, "3.0e1", 40.2)),
    voc_box("swapped", (40, 50, 10, 20)),
    voc("unknown-class", xml(("scarf", 10, 20, 40, 50)), faces=1),
    voc("other-spelling", xml(("No Mask", 10, 20, 40, 50)), faces=1),
    Case("voc-no-image", {"b.xml": GOOD_XML}, 0, "b.xml: no image b.*"),
    Case("voc-bad-image", {"b.xml": GOOD_XML, "b.jpg": "text"}, 0, "b.jpg: not an image"),
    Case("voc-empty-image", {"b.xml": GOOD_XML, "b.jpg": ""}, 0, "b.jpg: expected an image"),
    Case("voc-two-images", {"a.xml": GOOD_XML, "a.jpg": ""}, 0, "found a.jpg and a.png"),
    Case("voc-twins", {"a.xml": GOOD_XML, "a.json": coco(GOOD_BOX)}, 1, "a second annotation of"),
    Case("voc-broken-twin", {"a.xml": "<", "a.json": coco(GOOD_BOX)}, 1, "Pascal VOC XML file"),
    yolo("unknown-class", GOOD_LINE + "7 0.5 0.5 0.5 0.5", 1, "line 2: class 7 has no name"),
    yolo("four-columns", GOOD_LINE + "1 0.5 0.5 0.5", 1, "line 2: expected a class number with"),
    yolo("six-columns", "1 0.5 0.5 0.5 0.5 0.93", 1),
    yolo("polygon", "1 0.2 0.2 0.8 0.2 0.8 0.8", 1),
    yolo("pixels", GOOD_LINE + "1 40 30 20 30", 1, "line 2: expected ratios of the image's sides"),
    yolo("text", GOOD_LINE + "mask 0.5 0.5 0.5 0.5", 1, "line 2: expected a class number and"),
    yolo("nan", GOOD_LINE + "1 nan 0.5 0.5 0.5", 1, "line 2: expected a class number and"),
    yolo("negative", "1 0.5 0.5 -0.5 0.5", 1),
    yolo("empty", "", 0),
    yolo("utf-16", GOOD_LINE.encode("utf-16"), 0, "in UTF-8"),
    yolo("broken-names", GOOD_LINE, 0, "expected a YAML file", names="names: ["),
    yolo("names-by-number", GOOD_LINE, 1, names="names:\n  1: Without Mask\n  0: Mask\n"),
    yolo("names-as-text", GOOD_LINE, 0, "expected names as a list", names="names: mask"),
    Case("yolo-no-image", {"labels/b.txt": GOOD_LINE}, 0, "b.txt: no image b.*"),
    coco_file("broken", coco(GOOD_BOX)[:-9], problem="expected a JSON file"),
    coco_file("nested", "[" * 100_000, problem="expected a JSON file"),
    coco_file("huge-integer", '{"images": ' + "9" * 5000 + "}", problem="expected a JSON file"),
    coco_file("no-categories", coco(categories=None), problem="found no categories"),
    coco_file("no-images", '{"annotations": [], "categories": []}', problem="found no images"),
    coco_file("no-image", coco(GOOD_BOX, image="b.png"), problem="image 1: no image b.png"),
    coco_file("backslashes", coco(GOOD_BOX, image="C:\\me\\a.png"), faces=1),
    coco_file("absolute", coco(GOOD_BOX, image="/home/me/a.png"), faces=1),
    coco_file("upwards", coco(GOOD_BOX, image="../../a.png"), faces=1),
    coco_box("crowd", 1, "it is of a crowd", iscrowd=1),
    coco_box("texts-for-ids", 2, image_id="1", category_id="1"),
    coco_box("unknown-class", 1, "no category has the id 9", category_id=9),
    coco_box("unknown-image", 1, "no image has the id 9", image_id=9),
    coco_box("swapped", 2, bbox=[40, 50, -30, -30]),
    coco_box("infinite", 1, "expected a bbox", bbox=[1, 2, float("inf"), 4]),
    coco_box("huge", 1, "expected a bbox", bbox=[1, 2, 10**400, 4]),
    coco_box("null", 1, "expected a bbox", bbox=None),
    coco_box("polygon", 2, bbox=None, segmentation=[[10, 20, 40, 20, 40, 50]]),
    coco_box("run-lengths", 1, "expected a bbox", bbox=[], segmentation={"counts": "x"}),
]  # fmt: skip
SWAPPED = 3


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of all cases."""
    folder = tmp_path_factory.mktemp("sweep") / "awkward"
    for case in CASES:
        write_image(folder / case.name / "a.png")
        for name, content in case.files.items():
            write(folder / case.name / name, content)
    return folder


def check_problems(lines: list[str]) -> None:
    """Each case has just the line that it should have, and nothing else is said."""
    swapped = [line for line in lines if "corners in the wrong order" in line]
    assert len(swapped) == 1
    assert f" {SWAPPED} box(es)" in swapped[0]
    of_cases = [line for line in lines if line not in swapped]
    for case in CASES:
        mine = [line for line in of_cases if f"/{case.name}/" in line]
        assert len(mine) == bool(case.problem), (case.name, mine)
        assert case.problem in "".join(mine), (case.name, mine)
        assert len("".join(mine)) < 600
    assert len(of_cases) == sum(bool(case.problem) for case in CASES)


def test_evaluation(awkward: Path, fake_networks: FakeDetector) -> None:
    Path("mask_detector.keras").touch()
    outcome = evaluated(awkward)
    check(outcome, 0)
    record = json.loads(Path("evaluation/evaluation.json").read_text(encoding="utf-8"))
    (measured,) = record["sets"]
    assert measured["findings"]["ssd"]["recall"]["total"] == sum(case.faces for case in CASES)
    lines = measured["problems"]
    scarf = [line for line in lines if "of the class scarf" in line]
    assert len(scarf) == 1
    check_problems([line for line in lines if line not in scarf])
    assert str(awkward.parent) not in json.dumps(record)


def evaluated(*scenes: Path) -> Outcome:
    return run_command(
        evaluate.main, "--detector", "ssd", "--no-pictures", "--min-face", "1", "--scenes", *scenes
    )


def test_training(
    awkward: Path, drawn: Path, small_recipe: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = trained(drawn, awkward, "--input-size", "96", "--test-size", "0.3")
    check(outcome, 0)
    start = "[WARN] skipped or repaired, "
    lines = [line for line in outcome.err.splitlines() if line.startswith(start)]
    count = len(lines)
    assert [line.removeprefix(start).split(":")[0] for line in lines] == [
        f"{number} of {count}" for number in range(1, count + 1)
    ]
    others = [line for line in lines if "broken.jpg" in line or "of the class scarf" in line]
    assert len(others) == 2
    check_problems([line for line in lines if line not in others])
    assert f"{sum(case.faces for case in CASES) - 1} crops of the faces" in outcome.out
    assert list(tmp_path.iterdir()) == []


def trained(dataset: Path, scenes: Path, *more: str) -> Outcome:
    return run_command(
        train_mask_detector.main, "--dataset", dataset, "--scenes", scenes, "--dry-run",
        "--no-crop-faces", "--split", "random", "--weights", "none", *more,
    )  # fmt: skip


@pytest.fixture
def refused(tmp_path: Path) -> dict[str, str]:
    """Folders without a usable face, and what is said of each."""
    write_image(tmp_path / "photos" / "a.png")
    write(tmp_path / "photos" / "list.csv", "a.png,1")
    write(tmp_path / "empty" / ".hidden", "")
    write(tmp_path / "a.xml", GOOD_XML)
    write_image(tmp_path / "nameless" / "images" / "a.png")
    write(tmp_path / "nameless" / "labels" / "a.txt", GOOD_LINE)
    return {
        "nowhere": "nowhere: no such folder; expected a folder or COCO file of photographs with",
        "empty": "empty: expected photographs with annotated faces: Pascal VOC .xml files, YOLO"
        " label .txt files with data.yaml or classes.txt, or COCO .json files; found no files",
        "photos": "found files of other kinds (1 .png, 1 .csv)",
        "a.xml": "a.xml: a file; expected a folder or COCO file of photographs",
        "nameless": "no usable face in 1 annotation file(s); the first problem: ",
    }


def test_what_is_no_set_is_refused_and_the_others_are_measured(
    fake_networks: FakeDetector, refused: dict[str, str], awkward: Path
) -> None:
    Path("mask_detector.keras").touch()
    outcome = evaluated(*map(Path, refused), awkward, awkward / "coco-absolute" / "a.json")
    check(outcome, 1, *refused.values())
    record = json.loads(Path("evaluation/evaluation.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in record["sets"]] == ["awkward", "a.json"]
    assert list(record["failed"]) == ["nowhere", "empty", "photos", "a.xml", "nameless"]


def test_what_is_no_set_is_refused_before_a_training(
    drawn: Path, refused: dict[str, str], monkeypatch: pytest.MonkeyPatch, small_recipe: None,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name, problem in refused.items():
        outcome = trained(drawn, Path(name))
        check(outcome, 1, problem)
