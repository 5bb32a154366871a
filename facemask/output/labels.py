"""The word and the colour of each class."""

from facemask.detect.types import UNCERTAIN, MaskDetection

# The text for each class, and its colour (BGR). Amber and orange are similar, as both labels ask a
# person to look; the text tells them apart.
CLASS_STYLES = {
    "with_mask": ("Mask", (0, 255, 0)),
    "without_mask": ("No Mask", (0, 0, 255)),
    "mask_weared_incorrect": ("Incorrect Mask", (0, 165, 255)),
    UNCERTAIN: ("Unsure", (0, 191, 255)),
}
OTHER_COLOUR = (255, 200, 0)  # for other classes, which are shown by their folder's name


def class_word(label: str) -> str:
    """The text for a class on pictures: Mask, No Mask."""
    return CLASS_STYLES.get(label, (label, OTHER_COLOUR))[0]


def label_text(detection: MaskDetection) -> str:
    """The text for a face: `Mask: 99.87%`, `No Mask: 99.87%`."""
    return f"{class_word(detection.label)}: {detection.probability * 100:.2f}%"
