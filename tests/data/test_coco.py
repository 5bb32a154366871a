"""COCO files: where images are found, and what an annotation may hold."""

import json
from pathlib import Path
from typing import Any

import pytest

from facemask.data import coco as reader
from facemask.data.scenes import AnnotatedFace, Scenes, load_scenes
from facemask.errors import FacemaskError
from facemask.geometry import FaceBox

from .annotated import coco, write, write_image

BOX = [10, 20, 20, 30]  # x, y, width, height
FACE = AnnotatedFace(FaceBox(10, 20, 30, 50, 1.0), "with_mask")


def load_one(folder: Path, content: str | bytes) -> Scenes:
    """The scenes of a folder with a COCO file of one good scene, z, and one of this content."""
    for name in ("a", "z"):
        write_image(folder / f"{name}.png")
    write(folder / "a.json", content)
    write(folder / "z.json", coco(BOX, image="z.png"))
    return load_scenes(folder)


@pytest.mark.parametrize(
    ("image", "file", "named"),
    [
        ("a.png", "annotations.json", "a.png"),
        ("images/a.png", "annotations.json", "a.png"),
        ("images/a.png", "annotations.json", "images/a.png"),
        ("images/a.png", "annotations/instances_default.json", "a.png"),
        ("images/default/a.png", "annotations/instances_default.json", "a.png"),
        ("train2017/a.png", "annotations/instances_train2017.json", "a.png"),
        ("train/a.png", "train/_annotations.coco.json", "a.png"),
        ("images/a.png", "annotations/x.json", "../images/a.png"),
        ("a.png", "x.json", "C:\\Users\\me\\a.png"),
        ("images/a.png", "x.json", "/home/me/images/a.png"),
        ("images/sub/a.png", "x.json", "sub/a.png"),
    ],
)
def test_layouts(tmp_path: Path, image: str, file: str, named: str) -> None:
    write_image(tmp_path / image)
    write(tmp_path / file, coco(BOX, image=named))
    found = load_scenes(tmp_path)
    assert [(scene.path, scene.faces) for scene in found.scenes] == [(tmp_path / image, (FACE,))]
    assert found.problems == ()


def test_a_file_may_be_named_itself(tmp_path: Path) -> None:
    load_one(tmp_path, coco(BOX))
    found = load_scenes(tmp_path / "a.json")
    assert [scene.path.name for scene in found.scenes] == ["a.png"]
    assert found.folder == tmp_path / "a.json"


def test_a_path_leads_nowhere_else(tmp_path: Path) -> None:
    write_image(tmp_path / "private.png")
    write(tmp_path / "set" / "a.json", coco(BOX, image="../private.png"))
    with pytest.raises(FacemaskError, match=r"image 1: no image \.\./private\.png, neither beside"):
        load_scenes(tmp_path / "set")


def test_other_json_files_are_passed_by(tmp_path: Path) -> None:
    write(tmp_path / "notes.json", '{"categories": [], "info": {}}')
    write(tmp_path / "list.json", "[1, 2]")
    assert load_one(tmp_path, coco(BOX)).problems == ()


def entry(**values: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 1, "category_id": 1, "bbox": BOX, **values}


@pytest.mark.parametrize(
    "values",
    [
        {"image_id": "1", "category_id": "1"},
        {"bbox": [10.2, 19.6, 20.1, 30.0]},
        {"bbox": None, "segmentation": [[10, 20, 30, 20, 30, 50], [15, 25, 16, 25, 16, 26]]},
        {"iscrowd": 0, "segmentation": {"counts": [3], "size": [60, 80]}},
    ],
    ids=["texts for ids", "fractions", "polygons", "run lengths"],
)
def test_forms_of_an_annotation(tmp_path: Path, values: dict[str, Any]) -> None:
    found = load_one(tmp_path, coco(annotations=[entry(**values)]))
    assert found.scenes[0].faces == (FACE,)
    assert found.problems == ()


def test_a_negative_width_is_put_right_and_counted(tmp_path: Path) -> None:
    found = load_one(tmp_path, coco([30, 50, -20, -30], BOX))
    assert found.scenes[0].faces == (FACE, FACE)
    assert found.problems == (f"{tmp_path}: 1 box(es) with corners in the wrong order; put right",)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"iscrowd": 1}, "it is of a crowd, not of one face"),
        ({"category_id": 9}, "no category has the id 9"),
        ({"category_id": [1]}, "no category has the id [1]"),
        ({"image_id": 5}, "no image has the id 5"),
        ({"bbox": None}, "expected a bbox of x, y, width and height, or polygons, found None"),
        ({"bbox": [1, 2, 3]}, "found [1, 2, 3]"),
        ({"bbox": "1 2 3 4"}, "found 1 2 3 4"),
        ({"bbox": [1, 2, 3, None]}, "found [1, 2, 3, None]"),
        ({"bbox": [1, 2, 3, float("nan")]}, "found [1, 2, 3, nan]"),
        ({"bbox": [1, 2, 3, 10**400]}, "found [1, 2, 3, 1000"),
        ({"bbox": [1e308, 1, 1e308, 1]}, "found [1e+308"),
        ({"bbox": None, "segmentation": {"counts": "x", "size": [60, 80]}}, "{'counts': 'x'"),
        ({"bbox": None, "segmentation": [[1, 2, 3]]}, "[[1, 2, 3]]"),
        ({"bbox": None, "segmentation": [1, 2, 3, 4]}, "[1, 2, 3, 4]"),
        ({"bbox": [90, 20, 20, 30]}, "is outside the image's 80x60 pixels"),
        ({"bbox": [10, 20, 0, 30]}, "has no size"),
    ],
)
def test_an_annotation_that_cannot_be_used_is_named_and_the_others_stay(
    tmp_path: Path, values: dict[str, Any], problem: str
) -> None:
    content = coco(annotations=[entry(**values), entry(id=2)])
    found = load_one(tmp_path, content)
    assert [len(scene.faces) for scene in found.scenes] == [1, 1]
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"{tmp_path / 'a.json'}: annotation 1: ")
    assert problem in found.problems[0]
    assert found.problems[0].endswith("skipped")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "expected a JSON file: Expecting property name"),
        (b"\xff\xfe\xff", "expected a JSON file"),
        ("[" * 100_000, "expected a JSON file"),
        (f'{{"images": {"9" * 5000}}}', "expected a JSON file"),
        ('{"annotations": []}', "found no images"),
        ('{"images": 3}', "found another kind of images"),
        (coco(BOX, categories=None), "found no categories"),
        (coco(BOX, images=[7]), "images: 1 value(s) are no entries; skipped"),
        (coco(BOX, images=[{"id": 1}]), "image 1: expected a file_name, found none; skipped"),
        (coco(BOX, image="b.png"), "image 1: no image b.png, neither beside it nor in"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, content: str | bytes, problem: str
) -> None:
    found = load_one(tmp_path, content)
    assert [scene.path.name for scene in found.scenes if scene.faces] == ["z.png"]
    assert found.problems[0].startswith(f"{tmp_path / 'a.json'}: ")
    assert problem in found.problems[0]
    assert "\n" not in "".join(found.problems)


def test_two_images_of_one_id(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": name} for name in ("a.png", "z.png")]
    write_image(tmp_path / "z.png")
    found = load_one(tmp_path, coco(BOX, images=images))
    assert [len(scene.faces) for scene in found.scenes] == [1, 1]
    assert found.problems == (
        f"{tmp_path / 'a.json'}: image 2: its id, 1, is another image's; skipped",
    )


def test_a_huge_file_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = coco(BOX, image="z.png")
    monkeypatch.setattr(reader, "MAX_JSON_BYTES", len(good))
    found = load_one(tmp_path, json.dumps({"images": [0] * 1000}))
    assert [scene.path.name for scene in found.scenes] == ["z.png"]
    assert f"has more than {len(good)} bytes" in found.problems[0]
