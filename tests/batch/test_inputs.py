from pathlib import Path

import pytest

from facemask.batch.inputs import find_images, plan_fallback, plan_outputs
from facemask.errors import FacemaskError


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with photos/: two images of one name, an odd one, and a text."""
    for name in ("photos/a.jpg", "photos/in/a.jpg", "photos/b.gif", "photos/notes.txt", "x/a.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"...")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_and_folders_come_in_the_order_given(photos: Path) -> None:
    jobs, passed_over = find_images(["x/a.jpg", "photos", "missing.png"])
    assert [job.name for job in jobs] == [
        "x/a.jpg", "photos/a.jpg", "photos/b.gif", "photos/in/a.jpg", "missing.png",
    ]  # fmt: skip
    assert passed_over == [Path("photos/notes.txt")]


def test_a_folder_without_images_is_an_error(photos: Path) -> None:
    (photos / "photos/texts").mkdir()
    (photos / "photos/texts/a.txt").write_text("")
    with pytest.raises(FacemaskError, match="photos/texts: expected an image or a folder"):
        find_images(["photos/texts"])


@pytest.mark.parametrize(
    ("output", "file"),
    [("out.png", "out.png"), ("new/out.JPG", "new/out.JPG"), ("folder", "folder/a.jpg")],
)
def test_one_image_goes_to_a_file_or_into_a_folder(photos: Path, output: str, file: str) -> None:
    jobs, _ = find_images(["x/a.jpg"])
    assert plan_outputs(jobs, Path(output), single=True)[0].output == Path(file)


def test_several_images_go_into_a_folder_and_none_replaces_another(photos: Path) -> None:
    jobs, _ = find_images(["x/a.jpg", "photos"])
    planned = plan_outputs(jobs, Path("out"), single=False)
    assert [str(job.output) for job in planned] == [
        "out/a.jpg", "out/a_2.jpg", "out/b.gif.png", "out/in/a.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "output", "reason"),
    [
        (["x/a.jpg"], "out.gif", "expected a file name that ends in"),
        (["x/a.jpg"], "x/a.jpg", "is one of the images to read"),
        (["x/a.jpg"], "x", "is one of the images to read"),
        (["photos"], "photos", "is one of the images to read"),
        (["photos"], "out.png", "expected a folder for several images"),
    ],
)
def test_outputs_that_would_do_harm_are_refused(
    photos: Path, given: list[str], output: str, reason: str
) -> None:
    jobs, _ = find_images(given)
    with pytest.raises(FacemaskError, match=reason):
        plan_outputs(jobs, Path(output), single=given == ["x/a.jpg"])


def test_without_a_display_images_go_to_the_working_folder(photos: Path) -> None:
    jobs, _ = find_images(["x/a.jpg", "photos"])
    assert [str(job.output) for job in plan_fallback(jobs)] == [
        "a_mask.png", "a_mask_2.png", "b_mask.png", "a_mask_3.png",
    ]  # fmt: skip
