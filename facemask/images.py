"""Reading images, and turning a face into model input.

Training and detection both use this module: it is the one place that knows size, interpolation,
channel order and range.
"""

import io
import mimetypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

import cv2
import numpy as np
from PIL import Image, ImageOps

from facemask.errors import FacemaskError
from facemask.files import reason, replacing
from facemask.geometry import FaceBox

# A file of 400 kB can unpack to gigabytes. The largest photographs of phones and cameras have
# 200 megapixels (16,320 x 12,240); decoding one takes 2 GB of memory.
MAX_PIXELS = 200_000_000

# The formats in common use. Pillow knows more, but some of those start other programs (EPS).
_FORMATS = (
    "JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "TGA", "JPEG2000", "AVIF",
)  # fmt: skip

# The formats that write_image can write.
WRITABLE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

# Pillow modes of more than 8 bits, and the value that stands for white in each.
_WHITE = {"I": 65535.0, "I;16": 65535.0, "I;16L": 65535.0, "I;16B": 65535.0, "F": 1.0}

# Files that operating systems write into folders.
_SYSTEM_FILES = {"thumbs.db", "desktop.ini"}

# Pillow keeps an image in blocks of 16 MB, which the C library does not give back to the system on
# every thread: four threads that had each read 200 megapixels still held 1.1 GB. It gives back
# blocks of more than 32 MB. https://pillow.readthedocs.io/en/stable/reference/block_allocator.html
_PILLOW_BLOCK = 64 * 2**20  # bytes

_PART = 2**20  # pixels that are copied from Pillow at a time

_open_lock = threading.Lock()

ImageSource = str | os.PathLike[str] | bytes  # the path of an image file, or the file's content


class ImageError(FacemaskError):
    """An image can't be read. The message is one line that names it."""


def read_image(
    source: ImageSource,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    least_side: int | None = None,
) -> np.ndarray:
    """Read an image as it is meant to be seen: upright, opaque, in colour.

    The content decides, not the suffix. EXIF rotation is applied; transparent parts are laid on
    white; grey, palette, CMYK and 16-bit images become 8-bit colour; of an animation the first
    frame is taken.

    source: the path of a file, or the content of one. name: what errors call it; by default, the
    path. max_pixels: larger images are not decoded. least_side: a JPEG may be decoded at a half, a
    quarter or an eighth of its size, which takes a fraction of the time, as long as its longer side
    keeps so many pixels.
    Returns: (height, width, 3) uint8, BGR, contiguous and writable.
    Raises ImageError for an image that is missing, unreadable, empty, truncated or too large, and
    for a file that is no image.
    """
    with _opened(source, name) as (image, name):
        width, height = image.size
        if width * height > max_pixels:
            raise ImageError(
                f"{name}: expected at most {max_pixels / 1e6:g} megapixels, found"
                f" {width}x{height} pixels"
            )
        if least_side:
            # Neither side of the result falls below this size. Pillow ignores other formats.
            image.draft(None, (least_side, 1) if width > height else (1, least_side))
        return _to_bgr(_to_rgb(image))


def image_size(source: ImageSource, name: str | None = None) -> tuple[int, int]:
    """Width and height of an image as its header states them, in pixels; nothing is decoded.

    source, name, and what is raised: as read_image.
    """
    with _opened(source, name) as (image, _):
        return image.size


@contextmanager
def _opened(source: ImageSource, name: str | None) -> Iterator[tuple[Image.Image, str]]:
    """The image, not decoded yet, and its name. Errors of the block become ImageErrors."""
    file = io.BytesIO(source) if isinstance(source, bytes) else Path(source)
    name = name or ("image" if isinstance(file, io.BytesIO) else str(file))
    try:
        if isinstance(file, Path) and not file.is_file():
            if not file.exists():
                raise ImageError(f"{name}: no such image")
            kind = "a folder" if file.is_dir() else "no regular file"  # a pipe might never end
            raise ImageError(f"{name}: expected an image, found {kind}")
        if not (file.stat().st_size if isinstance(file, Path) else source):
            raise ImageError(f"{name}: expected an image, found an empty file")
        with _open(file) as image:
            yield image, name
    except ImageError:
        raise
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{name}: not an image, or of a format unknown here") from error
    except OSError as error:
        raise ImageError(f"{name}: can't be read: {reason(error)}") from error
    except Exception as error:  # decoders raise many kinds of errors for broken files
        raise ImageError(
            f"{name}: can't be decoded: {str(error) or type(error).__name__}"
        ) from error


def _open(file: Path | io.BytesIO) -> Image.Image:
    """Image.open, without Pillow's limit of 179 million pixels: read_image has its own.

    The limit is a variable of Pillow's module, hence the lock; opening reads the header only.
    """
    with _open_lock:
        Image.core.set_block_size(_PILLOW_BLOCK)
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            Image.init()
            return Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN])
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _to_rgb(image: Image.Image) -> Image.Image:
    image.load()
    with suppress(Exception):  # the image can be good where its EXIF data is unreadable
        ImageOps.exif_transpose(image, in_place=True)  # a copy would take 4 bytes a pixel
    if image.mode in _WHITE:
        grey = np.asarray(image, dtype=np.float32) * (255.0 / _WHITE[image.mode])
        grey = np.nan_to_num(np.clip(np.rint(grey), 0, 255))
        image = Image.fromarray(grey.astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_bgr(image: Image.Image) -> np.ndarray:
    """The pixels of an RGB image; in parts, because Pillow makes two copies of what it gives."""
    width, height = image.size
    bgr = np.empty((height, width, 3), np.uint8)
    rows = max(1, _PART // width)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(height, top + rows))) if rows < height else image
        cv2.cvtColor(np.asarray(strip), cv2.COLOR_RGB2BGR, dst=bgr[top : top + rows])
    return bgr


def write_image(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Write an image (H, W, 3) uint8, BGR, in the format of the path's suffix, whole or not at all.

    Raises FacemaskError when it can't be written, or is too large for the format (a JPEG has at
    most 65,535 pixels a side, a WebP 16,383).
    """
    path = Path(path)
    try:
        encoded, data = cv2.imencode(path.suffix.lower(), image)
    except cv2.error:
        encoded, data = False, np.empty(0, np.uint8)
    if not encoded:
        height, width = image.shape[:2]
        raise FacemaskError(f"{path}: {width}x{height} pixels can't be written as {path.suffix}")
    with replacing(path) as part:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data.tobytes())


def list_files(folder: str | os.PathLike[str]) -> list[Path]:
    """All files below a folder but hidden ones, in the same order on every machine."""
    folder = Path(folder)
    files = [Path(root, name) for root, _, names in os.walk(folder) for name in names]
    visible = [path for path in files if not is_hidden(path.relative_to(folder))]
    return sorted(visible, key=lambda path: path.relative_to(folder).as_posix())


def is_hidden(inner: PurePath) -> bool:
    """Whether a file, by its path in a given folder, is hidden or written by the system."""
    return inner.name.lower() in _SYSTEM_FILES or any(name.startswith(".") for name in inner.parts)


def is_document(path: Path) -> bool:
    """Whether the suffix is that of another kind of file (.md, .xml, .csv, .mp4, ...).

    Such files beside images are skipped. Images with a wrong or missing suffix are still read.
    """
    kind = mimetypes.guess_type(path.name)[0]
    known = kind is not None and not kind.startswith("image/")
    return known or path.suffix.lower() in {".ipynb", ".jsonl", ".yaml", ".yml", ".toml", ".sha256"}


def crop_face(image: np.ndarray, box: FaceBox, margin: float = 0.0) -> np.ndarray:
    """Cut a face out of an image (H, W, 3): a view of what lies inside the box grown by margin.

    margin: as in FaceBox.expand. The view is never empty.
    Raises ValueError for a box wholly outside the image.
    """
    height, width = image.shape[:2]
    box = box.expand(margin).clip(width, height)
    if not box.area:
        raise ValueError(f"Expected a box inside {width}x{height} pixels. Received: {box}")
    return image[box.y1 : box.y2, box.x1 : box.x2]


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Stretch an image to size = (height, width), pixels; the aspect ratio is not kept.

    Area averaging to shrink (bilinear alone would skip pixels), bilinear to enlarge.
    """
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    return cv2.resize(
        image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )


def shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """As resize, in a fraction of the time for large images: halved as often as possible first.

    Averages of 2 x 2 pixels have a fast path in OpenCV. At a ratio of less than two, bilinear
    interpolation skips no pixel. The result differs from that of resize by a grey level on average:
    for a face detector, not for the classifier, which was trained with resize.
    """
    (rows, columns), (height, width) = size, image.shape[:2]
    while height >= 2 * rows or width >= 2 * columns:
        height //= 2 if height >= 2 * rows else 1
        width //= 2 if width >= 2 * columns else 1
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    if (height, width) == size:
        return image
    return cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)


def model_input(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Turn an image or a face crop into what the classifier takes.

    image: (H, W, 3) uint8, BGR, of any size; size: (height, width) of the model's input.
    Returns: (height, width, 3) float32, RGB, in [-1, 1]: the range that MobileNetV2's ImageNet
    weights were trained with (keras.applications.mobilenet_v2.preprocess_input).
    """
    rgb = cv2.cvtColor(resize(image, size), cv2.COLOR_BGR2RGB)
    scaled = rgb.astype(np.float32)  # the only copy: another one would double the time
    scaled /= 127.5
    scaled -= 1.0
    return scaled
