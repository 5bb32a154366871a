import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from facemask.batch.options import MAX_MEGAPIXELS
from facemask.errors import FacemaskError
from facemask.geometry import FaceBox
from facemask.images import (
    MAX_PIXELS,
    ImageError,
    crop_face,
    image_size,
    is_document,
    list_files,
    model_input,
    read_image,
    resize,
    shrink,
    write_image,
)

# Pillow takes RGB; read_image gives BGR.
RED_RGB, RED_BGR = (200, 30, 10), [10, 30, 200]


def saved(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, and whose data holds almost nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("a.png", "RGB", {}),
        ("a.PNG", "RGB", {"format": "PNG"}),
        ("a.bmp", "RGB", {}),
        ("a.tif", "RGB", {}),
        ("a.webp", "RGB", {"lossless": True}),
        ("a.gif", "P", {}),
        ("palette.png", "P", {}),
        ("opaque.png", "RGBA", {}),
        ("named.txt", "RGB", {"format": "PNG"}),
        ("no suffix", "RGB", {"format": "PNG"}),
        ("Käse 口罩.png", "RGB", {}),
    ],
)
def test_reads_colour_in_bgr_from(tmp_path: Path, name: str, mode: str, options: dict) -> None:
    picture = Image.new("RGB", (6, 4), RED_RGB)
    picture = picture.quantize(8) if mode == "P" else picture.convert(mode)
    path = saved(picture, tmp_path / name, **options)
    image = read_image(path)
    assert image.shape == (4, 6, 3)
    assert image.dtype == np.uint8
    assert image.flags.writeable
    assert image[2, 3].tolist() == RED_BGR


@pytest.mark.parametrize(("mode", "tolerance"), [("RGB", 4), ("CMYK", 6)])
def test_reads_jpeg_with_its_colours(tmp_path: Path, mode: str, tolerance: int) -> None:
    path = saved(Image.new("RGB", (16, 16), RED_RGB).convert(mode), tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(path)[8, 8].astype(int) - RED_BGR).max() <= tolerance


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_reads_16_bit_grey_to_the_same_brightness(tmp_path: Path, suffix: str) -> None:
    cv2.imwrite(str(tmp_path / f"a{suffix}"), np.full((4, 4), 32768, np.uint16))
    assert read_image(tmp_path / f"a{suffix}")[0, 0].tolist() == [128, 128, 128]


def test_reads_16_bit_colour(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4, 3), (2560, 7680, 51200), np.uint16))
    assert np.abs(read_image(tmp_path / "a.png")[0, 0].astype(int) - RED_BGR).max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_reads_grey_as_three_equal_channels(tmp_path: Path, mode: str) -> None:
    image = read_image(saved(Image.new("L", (4, 4), 255).convert(mode), tmp_path / "a.png"))
    assert image.shape == (4, 4, 3)
    assert image.min() == 255


def test_lays_transparent_parts_on_white(tmp_path: Path) -> None:
    saved(Image.new("RGBA", (4, 4), (*RED_RGB, 0)), tmp_path / "clear.png")
    saved(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), tmp_path / "half.png")
    assert read_image(tmp_path / "clear.png")[0, 0].tolist() == [255, 255, 255]
    assert read_image(tmp_path / "half.png")[0, 0].tolist() == [127, 127, 127]


def test_turns_upright_by_exif(tmp_path: Path) -> None:
    wide = Image.new("RGB", (8, 4), "black")
    wide.paste("white", (0, 0, 4, 4))  # white at the left
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the picture's left is the scene's top
    path = saved(wide, tmp_path / "a.png", exif=exif)
    image = read_image(path)
    assert image.shape == (8, 4, 3)
    assert image[0].min() == 255
    assert image[-1].max() == 0


def test_takes_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED_RGB, "white")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif")[0, 0].tolist() == RED_BGR


def test_reads_one_pixel(tmp_path: Path) -> None:
    assert read_image(saved(Image.new("RGB", (1, 1), RED_RGB), tmp_path / "a.png")).shape == (
        1,
        1,
        3,
    )


def test_reads_more_pixels_than_pillow_takes_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow warns of 90 megapixels and refuses 179; here its limit is lowered, to stay fast."""
    path = saved(Image.new("RGB", (20, 10)), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)
    assert read_image(path).shape == (10, 20, 3)
    assert Image.MAX_IMAGE_PIXELS == 50


def broken_files(folder: Path) -> dict[str, Path]:
    whole = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(whole, "JPEG")
    contents = {
        "empty.jpg": b"",
        "truncated.jpg": whole.getvalue()[:-200],
        "start.jpg": whole.getvalue()[:20],
        "text.jpg": b"this is no image",
        "huge.png": png_header(40000, 40000),
        "lying.png": png_header(300, 300),
        "postscript.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder.png").mkdir()
    return {path.name: path for path in [*folder.iterdir(), folder / "missing.png"]}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.jpg", "empty file"),
        ("truncated.jpg", "truncated"),
        ("start.jpg", "can't be read|not an image"),
        ("text.jpg", "not an image"),
        ("huge.png", "expected at most 200 megapixels, found 40000x40000 pixels"),
        ("lying.png", "can't be read|can't be decoded"),
        ("postscript.eps", "not an image"),
        ("folder.png", "found a folder"),
        ("missing.png", "no such image"),
    ],
)
def test_errors_name_the_file_that_is_no_image(tmp_path: Path, name: str, reason: str) -> None:
    path = broken_files(tmp_path)[name]
    with pytest.raises(ImageError, match=reason) as problem:
        read_image(path)
    assert str(problem.value).startswith(f"{path}: ")
    assert "\n" not in str(problem.value)


def test_list_files_is_sorted_deep_and_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.JPG", "a/.hidden.png", ".cache/x.png", "Thumbs.db", "c"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    names = [path.relative_to(tmp_path).as_posix() for path in list_files(tmp_path)]
    assert names == ["a/z.JPG", "b.png", "c"]


@pytest.mark.parametrize(
    ("name", "document"),
    [("a.jpg", False), ("A.JFIF", False), ("a.webp", False), ("a", False), ("a.photo", False),
     ("README.md", True), ("a.xml", True), ("a.mp4", True), ("train.ipynb", True)],
)  # fmt: skip
def test_is_document(name: str, document: bool) -> None:
    assert is_document(Path(name)) is document


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_write_image_gives_back_what_it_got(tmp_path: Path, suffix: str) -> None:
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    write_image(tmp_path / f"a{suffix}", image)
    assert np.array_equal(read_image(tmp_path / f"a{suffix}"), image)


def test_write_image_says_when_a_format_is_too_small(tmp_path: Path) -> None:
    with pytest.raises(FacemaskError, match=r"70000x1 pixels can't be written as \.jpg"):
        write_image(tmp_path / "a.jpg", np.zeros((1, 70000, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_crop_face_is_clipped_to_the_image() -> None:
    image = np.arange(10 * 20 * 3, dtype=np.uint8).reshape(10, 20, 3)
    assert np.array_equal(crop_face(image, FaceBox(2, 3, 6, 8, 1.0)), image[3:8, 2:6])
    assert crop_face(image, FaceBox(-9, -9, 3, 4, 1.0)).shape == (4, 3, 3)
    assert crop_face(image, FaceBox(4, 4, 8, 8, 1.0), margin=0.5).shape == (8, 8, 3)
    assert crop_face(image, FaceBox(4, 4, 8, 8, 1.0), margin=4.0).shape == (10, 20, 3)
    with pytest.raises(ValueError, match="inside 20x10"):
        crop_face(image, FaceBox(50, 50, 60, 60, 1.0))


def test_resize_averages_when_it_shrinks() -> None:
    """One white column in eight: bilinear interpolation would step over it."""
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::8] = 200
    assert np.unique(resize(stripes, (2, 2))).tolist() == [25]
    assert resize(stripes, (3, 16)).shape == (3, 16, 3)


def test_model_input_is_rgb_from_minus_one_to_one() -> None:
    image = np.zeros((10, 30, 3), np.uint8)
    image[..., 2] = 255  # red, in BGR
    batch = model_input(image, (4, 6))
    assert batch.shape == (4, 6, 3)
    assert batch.dtype == np.float32
    assert batch[0, 0].tolist() == [1.0, -1.0, -1.0]
    assert model_input(np.full((1, 1, 3), 51, np.uint8), (2, 2)) == pytest.approx(51 / 127.5 - 1)


def test_the_content_of_a_file_is_read_as_the_file_is(tmp_path: Path) -> None:
    path = saved(Image.new("RGBA", (5, 4), (*RED_RGB, 255)), tmp_path / "a.png")
    assert np.array_equal(read_image(path.read_bytes(), "s3://a.png"), read_image(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "found an empty file"), (b"text", "not an image, or of a format")],
)
def test_errors_use_the_name_that_is_given(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=rf"^s3://a\.png: .*{message}"):
        read_image(content, "s3://a.png")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match=rf"^b\.png: .*{message}"):
        read_image(tmp_path / "a.png", "b.png")


def test_the_size_is_read_without_decoding(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(40000, 30000))
    assert image_size(tmp_path / "a.png") == (40000, 30000)
    assert image_size(png_header(300, 200)) == (300, 200)
    with pytest.raises(ImageError, match=r"b\.png: no such image"):
        image_size(tmp_path / "b.png")


def test_an_image_of_more_pixels_than_the_limit_is_not_decoded(tmp_path: Path) -> None:
    path = saved(Image.new("RGB", (20, 10)), tmp_path / "a.png")
    assert read_image(path, max_pixels=200).shape == (10, 20, 3)
    with pytest.raises(ImageError, match=r"at most 0\.000199 megapixels, found 20x10 pixels"):
        read_image(path, max_pixels=199)


def test_the_limit_of_image_runs_is_that_of_all_images() -> None:
    assert MAX_MEGAPIXELS * 1e6 == MAX_PIXELS


def test_a_large_image_is_shrunk_to_the_means_of_its_pixels() -> None:
    image = np.random.default_rng(1).integers(0, 256, (80, 120, 3), dtype=np.uint8)
    means = image.reshape(20, 4, 30, 4, 3).mean(axis=(1, 3))
    assert np.abs(shrink(image, (20, 30)) - means).max() <= 1
    assert shrink(image, (80, 120)) is image


@pytest.mark.parametrize(
    "size", [(60, 100), (25, 60), (33, 41), (100, 200), (1, 1), (81, 10), (6, 121)]
)
def test_shrinking_gives_every_size_and_moves_nothing(size: tuple[int, int]) -> None:
    """A gradient from black on the left to white on the right, and its middle."""
    image = np.full((81, 121, 3), np.linspace(0, 255, 121)[None, :, None], np.uint8)
    small = shrink(image, size)
    assert small.shape == (*size, 3)
    assert np.abs(small - resize(image, size).astype(float)).max() <= 4
