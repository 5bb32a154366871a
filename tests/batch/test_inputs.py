import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from facemask.batch.inputs import ImageReader, describe_skipped, find_images, plan_outputs
from facemask.detect.types import MaskDetection
from facemask.errors import FacemaskError
from facemask.geometry import FaceBox
from facemask.images import ImageError, write_image


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with photos/: two images of one name, a GIF, and a text."""
    for name in ("photos/a.jpg", "photos/in/a.jpg", "photos/b.gif", "photos/notes.txt", "x/a.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"...")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_and_folders_come_in_the_order_given(photos: Path) -> None:
    jobs, skipped = find_images(["x/a.jpg", "photos", "missing.png"])
    assert [job.name for job in jobs] == [
        "x/a.jpg", "photos/a.jpg", "photos/b.gif", "photos/in/a.jpg", "missing.png",
    ]  # fmt: skip
    assert skipped == [Path("photos/notes.txt")]


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
    assert plan_outputs(jobs, ["x/a.jpg"], Path(output), False)[0].output == Path(file)


def test_several_images_go_into_a_folder_and_none_replaces_another(photos: Path) -> None:
    given = ["x/a.jpg", "photos"]
    jobs = plan_outputs(find_images(given)[0], given, Path("out"), False)
    assert [str(job.output) for job in jobs] == [
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
        plan_outputs(jobs, given, Path(output), False)


def test_without_a_display_images_go_to_the_working_folder(photos: Path) -> None:
    given = ["x/a.jpg", "photos"]
    jobs, _ = find_images(given)
    assert plan_outputs(jobs, given, None, fallback=False) == jobs
    assert [str(job.output) for job in plan_outputs(jobs, given, None, fallback=True)] == [
        "a_mask.png", "a_mask_2.png", "b_mask.png", "a_mask_3.png",
    ]  # fmt: skip


def test_many_skipped_files_are_one_short_line() -> None:
    assert describe_skipped([Path("a.txt"), "b.csv"]).endswith(" no images: a.txt, b.csv")
    many = describe_skipped([f"{number}.txt" for number in range(12)])
    assert "0.txt" in many
    assert many.endswith("9.txt and 2 more")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Images of 100, 60 and 50 pixels."""
    for name, width in (("a", 10), ("b", 6), ("c", 5)):
        write_image(tmp_path / f"{name}.png", np.zeros((10, width, 3), np.uint8))
    return tmp_path


def test_a_larger_image_than_the_limit_is_one_line_that_names_the_option(pictures: Path) -> None:
    reader = ImageReader(max_pixels=99)
    with reader.read(pictures / "b.png", "b.png") as picture:
        assert picture.image.shape == (10, 6, 3)
    with (
        pytest.raises(
            ImageError, match=r"^a\.png: expected at most 9.9e-05 meg.*found 10x10 pixels"
        ),
        reader.read(pictures / "a.png", "a.png"),
    ):
        pass


def test_images_wait_for_their_share_of_the_pixels(pictures: Path) -> None:
    """Of 110 pixels at once: 60 and 50 go together, 100 wait for both."""
    reader = ImageReader(max_pixels=200, pixels_at_once=110)
    read = threading.Event()

    def read_the_largest() -> None:
        with reader.read(pictures / "a.png", "a.png"):
            read.set()

    waiting = threading.Thread(target=read_the_largest)
    with reader.read(pictures / "b.png", "b.png"):
        with reader.read(pictures / "c.png", "c.png"):
            waiting.start()
            assert not read.wait(0.2)
        assert not read.wait(0.2)
    assert read.wait(10)
    waiting.join()


def test_an_image_of_more_than_all_pixels_at_once_is_read_alone(pictures: Path) -> None:
    reader = ImageReader(max_pixels=200, pixels_at_once=70)
    with reader.read(pictures / "a.png", "a.png") as picture:
        assert picture.image.shape == (10, 10, 3)


def test_an_image_that_fails_gives_its_share_back(pictures: Path) -> None:
    reader = ImageReader(max_pixels=200, pixels_at_once=110)
    content = (pictures / "a.png").read_bytes()
    (pictures / "cut.png").write_bytes(content[:50])
    for _ in range(2):  # the second would wait for ever
        with pytest.raises(ImageError), reader.read(pictures / "cut.png", "cut.png"):
            pass
        with pytest.raises(ZeroDivisionError), reader.read(content, "a.png"):
            _ = 1 // 0


@pytest.mark.parametrize("orientation", [1, 6])  # 6: a quarter turn
def test_a_large_jpeg_is_decoded_at_reduced_scale_and_its_faces_are_not(
    orientation: int, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.new("RGB", (100, 61)).save(tmp_path / "large.jpg", exif=exif)
    with ImageReader(10_000, least_side=25).read(tmp_path / "large.jpg", "large.jpg") as picture:
        upright = orientation == 1
        assert picture.image.shape[:2] == ((16, 25) if upright else (25, 16))
        assert (picture.width, picture.height) == ((100, 61) if upright else (61, 100))
        assert picture.whole().shape[:2] == (picture.height, picture.width)
        face = FaceBox(4, 2, picture.image.shape[1], picture.image.shape[0], 0.9)
        (detection,) = picture.in_own_size([MaskDetection(face, "with_mask", 0.8, track=3)])
    assert detection.face.corners[2:] == (picture.width, picture.height)
    assert detection.face.corners[:2] == ((16, 8) if upright else (15, 8))
    assert (detection.face.confidence, detection.label, detection.track) == (0.9, "with_mask", 3)


def test_what_is_no_large_jpeg_is_decoded_as_it_is(pictures: Path, tmp_path: Path) -> None:
    Image.new("RGB", (49, 30)).save(tmp_path / "small.jpg")  # half of it would be too little
    for path in (tmp_path / "small.jpg", pictures / "a.png"):
        with ImageReader(10_000, least_side=25).read(path, path.name) as picture:
            assert picture.whole() is picture.image
            assert picture.image.shape[:2] == (picture.height, picture.width)
