"""Annotated scenes: what is read, what is skipped by name, what is refused."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from facemask.data import pascal_voc
from facemask.data.scenes import AnnotatedFace, Scene, Scenes, load_scenes
from facemask.errors import FacemaskError
from facemask.geometry import FaceBox

from .annotated import NAMES, coco, write, write_image

FACE = ("with_mask", 10, 20, 30, 50)


def xml(
    *faces: Sequence[str | int | float],
    filename: str = "",
    size: tuple[int, int] | None = (80, 60),
) -> str:
    """An annotation; a face is its label and its xmin, ymin, xmax, ymax."""
    corners = ("xmin", "ymin", "xmax", "ymax")
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    objects = "".join(
        f"<object><name>{label}</name><bndbox>"
        + "".join(f"<{key}>{value}</{key}>" for key, value in zip(corners, box, strict=True))
        + "</bndbox></object>"
        for label, *box in faces
    )
    return f"<annotation><filename>{filename}</filename>{stated}{objects}</annotation>"


def load_one(folder: Path, text: str | bytes) -> Scenes:
    """The scenes of a folder with one good scene, z, and one, a, of that annotation."""
    for name, content in (("a", text), ("z", xml(FACE))):
        write_image(folder / f"{name}.png")
        write(folder / f"{name}.xml", content)
    return load_scenes(folder)


@pytest.mark.parametrize("places", [("annotations", "images"), ("Annotations", "JPEGImages"), "xx"])
def test_both_layouts(tmp_path: Path, places: Sequence[str]) -> None:
    write_image(tmp_path / places[1] / "one.jpg")
    write(tmp_path / places[0] / "one.xml", xml(FACE, ("without_mask", 0, 0, 80, 60), size=None))
    found = load_scenes(tmp_path)
    scene = Scene(
        tmp_path / places[1] / "one.jpg",
        80,
        60,
        (
            AnnotatedFace(FaceBox(10, 20, 30, 50, 1.0), "with_mask"),
            AnnotatedFace(FaceBox(0, 0, 80, 60, 1.0), "without_mask"),
        ),
    )
    assert found == Scenes(tmp_path, (scene,), ())
    assert found.labels == ("with_mask", "without_mask")


def test_a_scene_marked_as_without_faces_is_kept(tmp_path: Path) -> None:
    found = load_one(tmp_path, xml())
    assert [len(scene.faces) for scene in found.scenes] == [0, 1]
    assert found.problems == ()


def test_stray_text_and_line_breaks_do_not_matter(tmp_path: Path) -> None:
    text = xml((" with_mask\n", " 10", "20\n", 30, 50)).replace("</bndbox>", "</bndbox>/a/b.xml\n")
    found = load_one(tmp_path, text)
    assert found.scenes[0].faces == (AnnotatedFace(FaceBox(10, 20, 30, 50, 1.0), "with_mask"),)
    assert found.problems == ()


def test_fractions_of_a_pixel_are_rounded(tmp_path: Path) -> None:
    found = load_one(tmp_path, xml(("x", 10.4, 19.6, "3.0e1", 50.2)))
    assert found.scenes[0].faces[0].box == FaceBox(10, 20, 30, 50, 1.0)


def test_what_reaches_out_of_the_image_is_clipped_and_said(tmp_path: Path) -> None:
    found = load_one(tmp_path, xml(("x", -5, 40, 20, 61)))
    assert found.scenes[0].faces[0].box == FaceBox(0, 40, 20, 60, 1.0)
    assert found.problems == (
        f"{tmp_path / 'a.xml'}: object 1: box (-5, 40, 20, 61) reaches out of the image's 80x60"
        " pixels; clipped",
    )


@pytest.mark.parametrize(
    ("face", "problem"),
    [
        (("x", 10, 20, 10, 50), "box (10, 20, 10, 50) has no size"),
        (("x", 80, 20, 90, 50), "box (80, 20, 90, 50) is outside the image's 80x60 pixels"),
        (("x", 10, 20, "wide", 50), "expected numbers for xmin ymin xmax ymax, found 10 20 wide"),
        (("x", 10, 20, "nan", 50), "expected numbers"),
        (("x", 10, 20, "inf", 50), "expected numbers"),
        (("x", 10, 20, "", 50), "expected numbers"),
        (("", 10, 20, 30, 50), "expected the name of a class, found none"),
    ],
)
def test_a_face_that_cannot_be_used_is_named_and_the_others_stay(
    tmp_path: Path, face: Sequence[str | int], problem: str
) -> None:
    found = load_one(tmp_path, xml(face, FACE))
    assert [len(scene.faces) for scene in found.scenes] == [1, 1]
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"{tmp_path / 'a.xml'}: object 1: ")
    assert problem in found.problems[0]
    assert "skipped" in found.problems[0]


def test_an_object_without_a_box(tmp_path: Path) -> None:
    found = load_one(tmp_path, "<annotation><object><name>x</name></object></annotation>")
    assert "found none" in found.problems[0]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "no element found"),
        ("<annotation><object>", "no element found"),
        ("not XML at all", "syntax error"),
        ("<html></html>", "expected a Pascal VOC XML file with <annotation>, found <html>"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "encoding"),
        (b"\x00\xff\x00\xff", "Pascal VOC XML"),
        ("<annotation>&unknown;</annotation>", "undefined entity"),
        ('<!DOCTYPE a SYSTEM "a.dtd"><annotation/>', "found one with a DOCTYPE or entities"),
    ],
)
def test_a_file_that_is_no_annotation_is_named(
    tmp_path: Path, content: str | bytes, problem: str
) -> None:
    found = load_one(tmp_path, content)
    assert [scene.path.name for scene in found.scenes] == ["z.png"]
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"{tmp_path / 'a.xml'}: ")
    assert problem in found.problems[0]
    assert "\n" not in found.problems[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_that_would_grow_to_terabytes_are_harmless(tmp_path: Path, encoding: str) -> None:
    entities = '<!ENTITY e0 "0123456789">' + "".join(
        f'<!ENTITY e{i} "{f"&e{i - 1};" * 100}">' for i in range(1, 7)
    )
    bomb = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [{entities}]>'
    found = load_one(tmp_path, f"{bomb}<annotation>&e6;</annotation>".encode(encoding))
    assert "found one with a DOCTYPE or entities" in found.problems[0]


def test_a_huge_file_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = xml(FACE)
    monkeypatch.setattr(pascal_voc, "MAX_XML_BYTES", len(good))
    found = load_one(tmp_path, good + "\n")
    assert [scene.path.name for scene in found.scenes] == ["z.png"]
    assert f"has more than {len(good)} bytes" in found.problems[0]


def test_deep_nesting_is_harmless(tmp_path: Path) -> None:
    found = load_one(tmp_path, f"<annotation>{'<a>' * 100_000}{'</a>' * 100_000}</annotation>")
    assert [len(scene.faces) for scene in found.scenes] == [0, 1]


def test_a_missing_image(tmp_path: Path) -> None:
    write(tmp_path / "annotations" / "b.xml", xml(FACE, filename="C:\\photos\\other.jpg"))
    found = load_one(tmp_path, xml(FACE))
    assert len(found.scenes) == 2
    assert found.problems == (
        f"{tmp_path / 'annotations' / 'b.xml'}: no image b.* or other.jpg, neither beside it nor"
        " in a folder images",
    )


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_an_image_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.png").write_bytes(content)
    write(tmp_path / "b.xml", xml(FACE))
    found = load_one(tmp_path, xml(FACE))
    assert len(found.scenes) == 2
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"{tmp_path / 'b.png'}: ")


def test_an_image_of_another_name_is_found_by_filename(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "photo.png")
    write(tmp_path / "annotations" / "1.xml", xml(FACE, filename="/home/x/photo.png"))
    assert load_scenes(tmp_path).scenes[0].path == tmp_path / "images" / "photo.png"


def test_a_path_in_filename_leads_nowhere_else(tmp_path: Path) -> None:
    write_image(tmp_path / "private.png")
    write(tmp_path / "set" / "1.xml", xml(FACE, filename="../private.png"))
    with pytest.raises(FacemaskError, match=r"the first problem: .*: no image 1\."):
        load_scenes(tmp_path / "set")


def test_of_two_images_of_the_name_the_one_that_filename_names(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    assert load_one(tmp_path, xml(FACE, filename="a.jpg")).scenes[0].path.name == "a.jpg"
    found = load_one(tmp_path, xml(FACE))
    assert [scene.path.name for scene in found.scenes] == ["z.png"]
    assert "expected one image of this name, found a.jpg and a.png" in found.problems[0]


def test_a_second_annotation_of_an_image_is_not_counted(tmp_path: Path) -> None:
    write(tmp_path / "b.xml", xml(FACE, FACE, filename="a.png"))
    found = load_one(tmp_path, xml(FACE))
    assert [len(scene.faces) for scene in found.scenes] == [1, 1]
    assert found.problems == (f"{tmp_path / 'b.xml'}: a second annotation of a.png; skipped",)


def test_the_size_is_the_images_own(tmp_path: Path) -> None:
    found = load_one(tmp_path, xml(FACE, size=(800, 600)))
    assert (found.scenes[0].width, found.scenes[0].height) == (80, 60)
    assert found.problems == (
        f"{tmp_path / 'a.xml'}: states 800x600 pixels, a.png has 80x60; its boxes were taken as"
        " pixels of the image",
    )
    assert load_one(tmp_path, xml(FACE, size=(0, 0))).problems == ()


def test_the_size_is_that_of_the_upright_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (60, 80)).save(tmp_path / "a.jpg", exif=exif)
    write(tmp_path / "a.xml", xml(FACE))
    scene = load_scenes(tmp_path).scenes[0]
    assert (scene.width, scene.height) == (80, 60)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "found files of other kinds (1 .png)"),
        (xml(), "found no usable face in 1 annotation file(s)"),
        ("<annotation>", "found no usable face in 1 annotation file(s); the first problem: "),
        (xml(("x", 1, 1, 1, 1)), "object 1: box (1, 1, 1, 1) has no size"),
    ],
)
def test_a_folder_without_any_face_is_refused(
    tmp_path: Path, content: str | None, found: str
) -> None:
    write_image(tmp_path / "a.png")
    if content is not None:
        write(tmp_path / "a.xml", content)
    with pytest.raises(FacemaskError) as refusal:
        load_scenes(tmp_path)
    assert str(refusal.value).startswith(f"{tmp_path}: expected photographs with annotated faces")
    assert found in str(refusal.value)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ([], "found no files"),
        (["a.png", "b.png", "c.csv"], "found files of other kinds (2 .png, 1 .csv)"),
        (["labels/a.txt"], "no usable face in 1 annotation file(s)"),
        (["README"], "found files of other kinds (1 no suffix)"),
    ],
)
def test_an_unknown_layout_is_described(tmp_path: Path, files: Sequence[str], found: str) -> None:
    for name in files:
        write(tmp_path / name, "text")
    with pytest.raises(FacemaskError, match=re.escape(found)) as refusal:
        load_scenes(tmp_path)
    for kind in ("Pascal VOC .xml", "data.yaml or classes.txt", "COCO .json"):
        assert kind in str(refusal.value)


def test_corners_in_the_wrong_order_are_put_right_and_counted(tmp_path: Path) -> None:
    text = xml(("with_mask", 30, 20, 10, 50), ("without_mask", 10, 50, 30, 20), FACE)
    found = load_one(tmp_path, text)
    assert {face.box for face in found.scenes[0].faces} == {FaceBox(10, 20, 30, 50, 1.0)}
    assert found.problems == (f"{tmp_path}: 2 box(es) with corners in the wrong order; put right",)


def test_formats_may_be_mixed_and_the_first_annotation_of_an_image_counts(tmp_path: Path) -> None:
    load_one(tmp_path, xml(FACE))
    write_image(tmp_path / "y.png")
    write(tmp_path / "data.yaml", NAMES)
    write(tmp_path / "y.txt", "1 0.5 0.5 0.5 0.5")
    write(tmp_path / "a.txt", "1 0.5 0.5 0.5 0.5")
    write_image(tmp_path / "x.png")
    write(tmp_path / "x.json", coco([1, 2, 3, 4], image="x.png"))
    found = load_scenes(tmp_path)
    assert [scene.path.name for scene in found.scenes] == ["a.png", "z.png", "y.png", "x.png"]
    assert found.scenes[0].faces[0].label == "with_mask"
    assert found.problems == (f"{tmp_path / 'a.txt'}: a second annotation of a.png; skipped",)


def test_an_annotation_that_is_broken_does_not_hide_the_good_one_of_its_image(
    tmp_path: Path,
) -> None:
    write(tmp_path / "a.json", coco([10, 20, 20, 30]))
    found = load_one(tmp_path, "<annotation>")
    assert {scene.path.name: len(scene.faces) for scene in found.scenes} == {"a.png": 1, "z.png": 1}
    assert len(found.problems) == 1


def test_classes_get_the_names_that_mean_the_same(tmp_path: Path) -> None:
    box = FACE[1:]
    found = load_one(tmp_path, xml(("No Mask", *box), ("scarf", *box), ("WITH-MASK", *box)))
    renamed = found.in_terms_of(("with_mask", "without_mask"))
    assert [face.label for face in renamed.scenes[0].faces] == [
        "without_mask", "scarf", "with_mask",
    ]  # fmt: skip
    assert renamed.labels == ("scarf", "with_mask", "without_mask")
    assert renamed.problems == found.problems


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.xml", xml(FACE))
    with pytest.raises(FacemaskError, match=r"a\.xml: a file; expected a folder or COCO file"):
        load_scenes(tmp_path / "a.xml")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FacemaskError, match="no such folder"):
        load_scenes(tmp_path / "nowhere")


def test_progress_sees_every_annotation(tmp_path: Path) -> None:
    seen = []

    def progress(checks, total: int):
        seen.append(total)
        return checks

    load_one(tmp_path, xml(FACE))
    load_scenes(tmp_path, progress=progress)
    assert seen == [2]


@pytest.mark.assets
@pytest.mark.parametrize(
    ("name", "images", "faces", "clipped"), [("scenes", 528, 2519, 7), ("scenes2", 170, 667, 0)]
)
def test_the_real_scenes(assets: Path, name: str, images: int, faces: int, clipped: int) -> None:
    found = load_scenes(assets / name)
    assert len(found.scenes) == images
    assert sum(len(scene.faces) for scene in found.scenes) == faces
    assert len(found.problems) == clipped
    assert all(problem.endswith("; clipped") for problem in found.problems)
    assert set(found.labels) >= {"with_mask", "without_mask"}
