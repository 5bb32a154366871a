"""YOLO labels: where images and class names are found, and what a line may hold."""

from pathlib import Path

import pytest

from facemask.data.scenes import AnnotatedFace, Scenes, load_scenes
from facemask.errors import FacemaskError
from facemask.geometry import FaceBox

from .annotated import NAMES, write, write_image

LINE = "0 0.25 0.5 0.25 0.5"  # of 80x60 pixels: x 10 to 30, y 15 to 45
FACE = AnnotatedFace(FaceBox(10, 15, 30, 45, 1.0), "with_mask")


def load_one(folder: Path, lines: str | bytes, names: str = NAMES) -> Scenes:
    """The scenes of a folder with one good scene, z, and one, a, of these lines."""
    write(folder / "data.yaml", names)
    for name, content in (("a", lines), ("z", LINE)):
        write_image(folder / "images" / f"{name}.png")
        write(folder / "labels" / f"{name}.txt", content)
    return load_scenes(folder)


@pytest.mark.parametrize(
    ("image", "labels", "names"),
    [
        ("images/a.png", "labels/a.txt", "data.yaml"),
        ("images/train/a.png", "labels/train/a.txt", "data.yaml"),
        ("train/images/a.png", "train/labels/a.txt", "data.yaml"),
        ("train/images/a.png", "train/labels/a.txt", "../data.yaml"),
        ("images/a.png", "labels/a.txt", "mask.yml"),
        ("images/a.png", "labels/a.txt", "labels/classes.txt"),
        ("a.png", "a.txt", "classes.txt"),
        ("a.png", "labels/a.txt", "classes.txt"),
        ("obj_train_data/a.png", "obj_train_data/a.txt", "obj.names"),
    ],
)
def test_layouts(tmp_path: Path, image: str, labels: str, names: str) -> None:
    root = tmp_path / "set"
    write_image(root / image)
    write(root / labels, LINE)
    lists = names.endswith(("txt", "names"))
    write(root / names, "with_mask\r\nwithout_mask\n" if lists else NAMES)
    write(root / "README.dataset.txt", "words, not labels")
    found = load_scenes(root)
    assert [(scene.path, scene.faces) for scene in found.scenes] == [(root / image, (FACE,))]
    assert found.problems == ()


@pytest.mark.parametrize(
    "names",
    [
        "names: [with_mask, without_mask]",
        "names:\n  0: with_mask\n  1: without_mask\n",
        "names:\n- with_mask\n- without_mask\nnc: 2\npath: ../x\n",
        "names: {'1': without_mask, '0': with_mask}",
    ],
)
def test_names_are_a_list_or_have_numbers(tmp_path: Path, names: str) -> None:
    assert load_one(tmp_path, "1 0.25 0.5 0.25 0.5", names).labels == ("with_mask", "without_mask")


def test_a_class_called_no_keeps_its_name(tmp_path: Path) -> None:
    assert load_one(tmp_path, LINE, "names: [no, yes]").labels == ("no",)


@pytest.mark.parametrize(
    "line",
    [
        "0 0.25 0.5 0.25 0.5 0.93",
        "0 0.125 0.25 0.375 0.25 0.375 0.75 0.125 0.75",
        "0.0   0.25\t0.5 0.25 5e-1",
        "\ufeff0 0.25 0.5 0.25 0.5\r\n\r\n",
    ],
    ids=["confidence", "polygon", "blanks", "Windows"],
)
def test_forms_of_a_line(tmp_path: Path, line: str) -> None:
    found = load_one(tmp_path, line)
    assert found.scenes[0].faces == (FACE,)
    assert found.problems == ()


def test_key_points_are_no_polygon(tmp_path: Path) -> None:
    line = f"{LINE} {'0.9 0.9 ' * 5}"
    found = load_one(tmp_path, line, f"{NAMES}kpt_shape: [5, 2]\n")
    assert found.scenes[0].faces == (FACE,)


def test_a_negative_width_is_put_right_and_counted(tmp_path: Path) -> None:
    found = load_one(tmp_path, "0 0.25 0.5 -0.25 0.5")
    assert found.scenes[0].faces == (FACE,)
    assert found.problems == (f"{tmp_path}: 1 box(es) with corners in the wrong order; put right",)


def test_an_empty_file_is_of_an_image_without_faces(tmp_path: Path) -> None:
    found = load_one(tmp_path, "")
    assert [len(scene.faces) for scene in found.scenes] == [0, 1]
    assert found.problems == ()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("7 0.5 0.5 0.1 0.1", "class 7 has no name in data.yaml"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5 has no name"),
        ("-1 0.5 0.5 0.1 0.1", "class -1 has no name"),
        ("0 0.5 0.5 0.1", "with the points of a polygon, found 4 numbers"),
        ("0 0.5 0.5 0.1 0.1 0.1 0.1 0.1", "found 8 numbers"),
        ("mask 0.5 0.5 0.1 0.1", "expected a class number and ratios, found mask 0.5 0.5 0.1"),
        ("0 0.5 nan 0.1 0.1", "expected a class number and ratios"),
        ("0 40 30 20 30", "expected ratios of the image's sides, 0 to 1, found 40 30 20 30"),
        ("0 1.09 0.5 0.1 0.1", "is outside the image's 80x60 pixels"),
        ("0 0.5 0.5 0 0.1", "has no size"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_and_the_others_stay(
    tmp_path: Path, line: str, problem: str
) -> None:
    found = load_one(tmp_path, f"{LINE}\n{line}\n{LINE}\n")
    assert [len(scene.faces) for scene in found.scenes] == [2, 1]
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"{tmp_path / 'labels' / 'a.txt'}: line 2: ")
    assert problem in found.problems[0]
    assert found.problems[0].endswith("skipped")


def test_a_label_file_without_an_image_is_named(tmp_path: Path) -> None:
    write(tmp_path / "labels" / "b.txt", LINE)
    found = load_one(tmp_path, LINE)
    assert len(found.scenes) == 2
    assert found.problems == (
        f"{tmp_path / 'labels' / 'b.txt'}: no image b.*, neither beside it nor in a folder images",
    )


def test_an_image_of_the_same_name_in_another_part_is_not_taken(tmp_path: Path) -> None:
    write_image(tmp_path / "valid" / "images" / "a.png")
    write(tmp_path / "train" / "labels" / "a.txt", LINE)
    write(tmp_path / "data.yaml", NAMES)
    with pytest.raises(FacemaskError, match=r"train/labels/a\.txt: no image a\."):
        load_scenes(tmp_path)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ("names: [", "expected a YAML file with the names of classes: while parsing"),
        ("names: 2", "expected names as a list or by number, found 2"),
        ("names: {mask: 0}", "expected names as a list or by number, found {'mask': '0'}"),
        ("nc: 2", "in data.yaml or classes.txt there or in a folder above, found neither"),
        ("- names", "found neither"),
        ("names: \x01", "expected a YAML file"),
        ("[" * 3000, "expected a YAML file"),
    ],
)
def test_unusable_class_names_are_one_line(tmp_path: Path, names: str, problem: str) -> None:
    with pytest.raises(FacemaskError) as refusal:
        load_one(tmp_path, LINE, names)
    assert problem in str(refusal.value)
    assert "2 label file(s) skipped" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    write(tmp_path / "classes.txt", "with_mask\n")
    assert len(load_scenes(tmp_path).scenes) == 2


def test_labels_of_another_encoding_are_named(tmp_path: Path) -> None:
    found = load_one(tmp_path, LINE.encode("utf-16"))
    assert [scene.path.name for scene in found.scenes] == ["z.png"]
    assert "a.txt: expected a text file of YOLO labels or class names in UTF-8" in found.problems[0]
