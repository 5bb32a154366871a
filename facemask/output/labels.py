"""The word and the colour of each class."""

from facemask.class_names import INCORRECT, WITH_MASK, WITHOUT_MASK, meaning
from facemask.detect.types import UNCERTAIN, MaskDetection

Style = tuple[str, tuple[int, int, int]]  # the text for a class, and its colour (BGR)

# Green and red are the classic ones. Colour-blind people see green, red and amber as shades of one
# yellow, so amber lies half-way: with the matrix of Machado et al. (2009) for deuteranopia, its
# CIEDE2000 difference is 9.7 from green and 9.9 from red. Sky blue and grey differ from each other
# and from all of these by 16 or more, also with protanopia and tritanopia.
CLASS_STYLES: dict[str, Style] = {
    WITH_MASK: ("Mask", (0, 255, 0)),
    WITHOUT_MASK: ("No Mask", (0, 0, 255)),
    INCORRECT: ("Incorrect Mask", (0, 153, 230)),
    UNCERTAIN: ("Unsure", (233, 180, 86)),
}
OTHER_COLOUR = (200, 200, 200)  # for other classes, which are shown by their folder's name


def class_style(label: str) -> Style:
    """The text and the colour for a class, by what its name means: `no_mask` is No Mask."""
    return CLASS_STYLES.get(meaning(label) or label, (label, OTHER_COLOUR))


def class_word(label: str) -> str:
    """The text for a class on pictures: Mask, No Mask."""
    return class_style(label)[0]


def label_text(detection: MaskDetection) -> str:
    """The text for a face: `Mask: 99.87%`, `No Mask: 99.87%`."""
    return f"{class_word(detection.label)}: {detection.probability * 100:.2f}%"


def short_text(detection: MaskDetection) -> str:
    """The same where there is little room, rounded down: `99%`."""
    return f"{int(detection.probability * 100)}%"
