"""The word and the colour of each class."""

from facemask.detect.types import UNCERTAIN, MaskDetection

# What is written for each class, and its colour (BGR). Amber and orange are near each other, as
# what they ask for is: that a person looks. The words tell them apart.
CLASS_STYLES = {
    "with_mask": ("Mask", (0, 255, 0)),
    "without_mask": ("No Mask", (0, 0, 255)),
    "mask_weared_incorrect": ("Incorrect Mask", (0, 165, 255)),
    UNCERTAIN: ("Unsure", (0, 191, 255)),
}
OTHER_COLOUR = (255, 200, 0)  # a class of the user's own, shown by its folder's name


def class_word(label: str) -> str:
    """What a class is called on pictures: Mask, No Mask."""
    return CLASS_STYLES.get(label, (label, OTHER_COLOUR))[0]


def label_text(detection: MaskDetection) -> str:
    """`Mask: 99.87%`, `No Mask: 99.87%`."""
    return f"{class_word(detection.label)}: {detection.probability * 100:.2f}%"
