"""Lines of text as small pictures. Pillow sets the type; its own font comes with it."""

import unicodedata
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]  # BGR

# The texts of a video change in each frame, the letters do not. 2,048 letters of 40 pixels take
# 3 MB; a video needs about 20 letters in a few dozen sizes.
CACHED_LETTERS = 2048
CACHED_FONTS = 256
SPACE = 0.32  # between words, in ems


@lru_cache(maxsize=CACHED_LETTERS)
def text_size(text: str, size: int) -> tuple[int, int]:
    """Width and height, in pixels, of the picture that render gives."""
    letters = [_letter(letter, size) for letter in _printable(text)]
    return sum(letter.shape[1] for letter in letters) + 2 * _padding(size), letters[0].shape[0]


def render(text: str, size: int, fill: Colour, ink: Colour) -> np.ndarray:
    """A line of text on a filled background: (height, width, 3) uint8, BGR.

    text: not empty. size: of the font, pixels an em; capitals are 0.75 of it high. fill, ink: the
    colours of the background and of the letters.
    Accents are left out, and a question mark stands for letters other than the Latin ones: the font
    has no others.
    """
    letters = [_letter(letter, size) for letter in _printable(text)]
    space = np.zeros((letters[0].shape[0], _padding(size)), np.uint8)
    return _shades(fill, ink)[np.hstack([space, *letters, space])]


def ink_on(fill: Colour) -> Colour:
    """Black or white, whichever can be read on a background of that colour."""
    light = np.dot(fill, (0.114, 0.587, 0.299)) > 127  # luma of BGR, Rec. 601
    return (0, 0, 0) if light else (255, 255, 255)


def _padding(size: int) -> int:
    """Pixels at both ends of a line."""
    return max(2, size // 4)


@lru_cache(maxsize=64)
def _printable(text: str) -> str:
    """A text in letters that the font has, and at least one."""
    letters = unicodedata.normalize("NFKD", text)
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return bare.encode("ascii", "replace").decode() or " "


@lru_cache(maxsize=CACHED_FONTS)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # it is, for any size that is given
    return font


@lru_cache(maxsize=CACHED_LETTERS)
def _letter(letter: str, size: int) -> np.ndarray:
    """How much of each pixel a letter covers: (line height, advance) uint8."""
    font = _font(size)
    # The font's own space is so narrow that words in small letters run together.
    advance = SPACE * size if letter == " " else font.getlength(letter)
    picture = Image.new("L", (max(1, round(advance)), sum(font.getmetrics())))
    ImageDraw.Draw(picture).text((0, 0), letter, fill=255, font=font)
    return np.asarray(picture)


@lru_cache(maxsize=64)
def _shades(fill: Colour, ink: Colour) -> np.ndarray:
    """The colours from fill to ink: (256, 3) uint8."""
    return np.rint(np.linspace(fill, ink, 256)).astype(np.uint8)
