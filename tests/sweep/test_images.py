"""Image files of every kind: one run over a folder reads each, or says in one line why not."""

import csv
import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageFile, PngImagePlugin

import detect_mask_image

from .harness import Outcome, run_command

SIZE = (48, 36)  # width, height
LAB = ImageCms.createProfile("LAB")  # of another colour space than the image
Write = Callable[[Path], Any]
ODD_NAMES = (
    os.fsdecode(b"na\xefve.png"), "line\nbreak.png", "bell\x07.png", "-c.png", 'quote", comma.png',
    "\U0001f637.png", "\u202egnp.png", "{brace} %d [1].png", "n" * 251 + ".png",
    "\u4eba\u8138.png",
)  # fmt: skip


def picture(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    rgb = np.stack([x, y, 255 - x], axis=-1).astype(np.uint8)
    if mode in ("I;16", "I", "F"):
        return Image.fromarray((x * 257).astype({"I;16": "u2", "I": "i4", "F": "f4"}[mode]))
    return Image.fromarray(rgb).convert(mode)


def saved(format: str, mode: str = "RGB", size: tuple[int, int] = SIZE, **options: Any) -> Write:
    return lambda path: picture(mode, size).save(path, format, **options)


def data(format: str, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture(mode).save(buffer, format, **options)
    return buffer.getvalue()


def content(make: Callable[[], bytes]) -> Write:
    return lambda path: path.write_bytes(make())


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header states this size, with the data of a few rows."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")


def wrong_checksum() -> bytes:
    whole = bytearray(data("PNG"))
    whole[whole.index(b"IDAT") + 8] ^= 0xFF
    return bytes(whole)


def text_bomb(path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("comment", "a" * 80_000_000, zip=True)
    picture().save(path, "PNG", pnginfo=texts)


def rotated(orientation: int) -> Write:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return saved("JPEG", exif=exif)


def frames(format: str) -> Write:
    return saved(format, save_all=True, append_images=[picture("L").convert("RGB")] * 2)


def no_numbers(path: Path) -> None:
    """Floating point, of which some are none and some have no limit."""
    pixels = np.full(UPRIGHT[::-1], 100.0, np.float32)
    pixels[:2], pixels[2:4] = np.nan, np.inf
    Image.fromarray(pixels).save(path, "TIFF")


def transparent(path: Path) -> None:
    image = picture("P")
    image.info["transparency"] = 0
    image.save(path, "PNG")


UPRIGHT, TURNED = SIZE, (SIZE[1], SIZE[0])
# How each is written, and its size, or a part of its error.
IMAGES: dict[str, tuple[Write, tuple[int, int] | str]] = {
    "plain.jpg": (saved("JPEG"), UPRIGHT),
    "plain.png": (saved("PNG"), UPRIGHT),
    "progressive.jpg": (saved("JPEG", progressive=True), UPRIGHT),
    "grey.jpg": (saved("JPEG", "L"), UPRIGHT),
    "cmyk.jpg": (saved("JPEG", "CMYK"), UPRIGHT),
    "lab.tif": (saved("TIFF", "LAB"), UPRIGHT),
    "one_bit.png": (saved("PNG", "1"), UPRIGHT),
    "palette.png": (saved("PNG", "P"), UPRIGHT),
    "palette_transparent.png": (transparent, UPRIGHT),
    "grey_alpha.png": (saved("PNG", "LA"), UPRIGHT),
    "rgba.webp": (saved("WEBP", "RGBA", lossless=True), UPRIGHT),
    "sixteen.png": (saved("PNG", "I;16"), UPRIGHT),
    "sixteen.tif": (saved("TIFF", "I;16"), UPRIGHT),
    "whole_numbers.tif": (saved("TIFF", "I"), UPRIGHT),
    "float.tif": (saved("TIFF", "F"), UPRIGHT),
    "no_numbers.tif": (no_numbers, UPRIGHT),
    "pages.tif": (frames("TIFF"), UPRIGHT),
    "animated.gif": (frames("GIF"), UPRIGHT),
    "animated.webp": (frames("WEBP"), UPRIGHT),
    "animated.png": (frames("PNG"), UPRIGHT),
    "several.mpo": (frames("MPO"), UPRIGHT),
    "plain.bmp": (saved("BMP"), UPRIGHT),
    "plain.tga": (saved("TGA"), UPRIGHT),
    "plain.ppm": (saved("PPM"), UPRIGHT),
    "plain.jp2": (saved("JPEG2000"), UPRIGHT),
    "deflate.tif": (saved("TIFF", compression="tiff_adobe_deflate"), UPRIGHT),
    "wrong_suffix.png": (saved("JPEG"), UPRIGHT),
    "no_suffix": (saved("PNG"), UPRIGHT),
    "no_colours.png": (
        content(lambda: data("PNG", icc_profile=b"not a profile")),
        UPRIGHT,
    ),
    "profile.jpg": (
        saved("JPEG", icc_profile=ImageCms.ImageCmsProfile(LAB).tobytes()),
        UPRIGHT,
    ),
    "broken_exif.jpg": (saved("JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"), UPRIGHT),
    "unknown_orientation.jpg": (rotated(99), UPRIGHT),
    **{f"exif_{number}.jpg": (rotated(number), UPRIGHT) for number in range(1, 5)},
    **{f"exif_{number}.jpg": (rotated(number), TURNED) for number in range(5, 9)},
    "pixel.png": (saved("PNG", size=(1, 1)), (1, 1)),
    "flat.png": (saved("PNG", size=(3000, 1)), (3000, 1)),
    "upright_line.png": (saved("PNG", size=(1, 3000)), (1, 3000)),
    "after_the_end.png": (content(lambda: data("PNG") + b"more"), UPRIGHT),
    **{name: (saved("PNG"), UPRIGHT) for name in ODD_NAMES},
    "truncated.jpg": (content(lambda: data("JPEG")[:-200]), "truncated"),
    "header_only.jpg": (content(lambda: data("JPEG")[:30]), "Truncated"),
    "truncated.png": (content(lambda: data("PNG")[:-40]), "truncated"),
    "half.webp": (content(lambda: data("WEBP")[:60]), "half.webp"),
    "half.gif": (content(lambda: data("GIF")[:100]), "half.gif"),
    "checksum.png": (content(wrong_checksum), "checksum.png: can't be "),
    "text_bomb.png": (text_bomb, "text_bomb.png: can't be decoded"),
    "huge.png": (content(lambda: png_of(60_000, 60_000)), "found 60000x60000 pixels"),
    "no_data.png": (content(lambda: png_of(3000, 3000)), "no_data.png: can't be read"),
    "no_pixels.png": (content(lambda: png_of(0, 10)), "no_pixels.png"),
    "empty.jpg": (content(bytes), "found an empty file"),
    "text.jpg": (content(lambda: b"no image at all"), "not an image"),
    "page.jpg": (content(lambda: b"<html><body>404</body></html>"), "not an image"),
    "vectors.png": (content(lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "not an image"),
    "program.jpg": (content(lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n"), "not an image"),
    "icon.png": (saved("ICO"), "not an image"),
    "zeros.jpg": (content(lambda: bytes(5000)), "not an image"),
    "dangling.jpg": (lambda path: path.symlink_to("nowhere"), "no such image"),
    "circle.jpg": (lambda path: path.symlink_to("circle.jpg"), "no such image"),
    "pipe.jpg": (lambda path: os.mkfifo(path), "found no regular file"),
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    """A run over a folder of all IMAGES, with all that it can write; and its working folder."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "in" / "folder.jpg").mkdir(parents=True)
    (folder / "in" / "loop").symlink_to(".", target_is_directory=True)
    for name, (write, _) in IMAGES.items():
        write(folder / "in" / name)
    before = os.getcwd()
    os.chdir(folder)
    try:
        outcome = run_command(
            detect_mask_image.main, "--image", "in", "--detector", "builtin", "--no-display",
            "--json", "faces.json", "--csv", "faces.csv", "--output", "out", "--blur",
        )  # fmt: skip
    finally:
        os.chdir(before)
    return outcome, folder


def test_all_images_are_in_the_records_in_their_order(swept: tuple[Outcome, Path]) -> None:
    _, folder = swept
    records = json.loads((folder / "faces.json").read_text(encoding="utf-8"))
    assert [record["image"] for record in records] == [f"in/{name}" for name in sorted(IMAGES)]
    with (folder / "faces.csv").open(encoding="utf-8", newline="") as file:
        names = {row["image"] for row in csv.DictReader(file)}
    escaped = {name.encode("utf-8", "backslashreplace").decode() for name in IMAGES}
    assert names == {f"in/{name}" for name in escaped}


@pytest.mark.parametrize(("name", "expected"), [(name, case[1]) for name, case in IMAGES.items()])
def test_an_image_is_read_or_its_error_is_one_line(
    name: str, expected: tuple[int, int] | str, swept: tuple[Outcome, Path]
) -> None:
    outcome, folder = swept
    records = json.loads((folder / "faces.json").read_text(encoding="utf-8"))
    (record,) = [record for record in records if record["image"] == f"in/{name}"]
    if isinstance(expected, str):
        assert record["faces"] == []
        assert record["error"].startswith(f"in/{name}: ")
        assert expected in record["error"]
        assert " ".join(record["error"].split()) in outcome.errors
    else:
        assert (record["width"], record["height"]) == expected
        assert "error" not in record


def test_the_run_ends_with_status_1_and_an_error_for_each_that_failed(
    swept: tuple[Outcome, Path],
) -> None:
    outcome, folder = swept
    failed = [name for name, (_, expected) in IMAGES.items() if isinstance(expected, str)]
    assert outcome.status == 1
    assert len(outcome.errors) == len(failed)
    assert len(list((folder / "out").iterdir())) == len(IMAGES) - len(failed)
    assert outcome.out.count("[INFO] wrote out/") == len(IMAGES) - len(failed)


def test_no_setting_of_pillow_is_changed() -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    assert Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("name", ODD_NAMES)
def test_every_console_shows_every_name(
    name: str, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved("PNG")(tmp_path / name)
    command = f"--image={name}", "--detector", "builtin", "--no-display"
    outcome = run_command(detect_mask_image.main, *command, encoding=encoding)
    assert (outcome.status, outcome.errors) == (0, [])
