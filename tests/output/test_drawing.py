import cv2
import numpy as np
import pytest

from facemask.detect.types import MaskDetection
from facemask.geometry import FaceBox
from facemask.output.drawing import draw_detections
from facemask.output.labels import CLASS_STYLES, OTHER_COLOUR, label_text


def detection(
    x1: int, y1: int, x2: int, y2: int, label: str = "with_mask", probability: float = 0.99874
) -> MaskDetection:
    return MaskDetection(FaceBox(x1, y1, x2, y2, 0.9), label, probability)


@pytest.mark.parametrize(
    ("label", "text", "colour"),
    [
        ("with_mask", "Mask: 99.87%", (0, 255, 0)),
        ("without_mask", "No Mask: 99.87%", (0, 0, 255)),
        ("mask_weared_incorrect", "Incorrect Mask: 99.87%", (0, 153, 230)),
        ("uncertain", "Unsure: 99.87%", (233, 180, 86)),
        ("beard", "beard: 99.87%", (200, 200, 200)),
        ("Mask", "Mask: 99.87%", (0, 255, 0)),
        ("with mask", "Mask: 99.87%", (0, 255, 0)),
        ("no_mask", "No Mask: 99.87%", (0, 0, 255)),
        ("incorrect", "Incorrect Mask: 99.87%", (0, 153, 230)),
    ],
)
def test_words_and_colours(label: str, text: str, colour: tuple[int, int, int]) -> None:
    face = detection(60, 60, 200, 200, label)
    assert label_text(face) == text
    drawn = draw_detections(np.zeros((300, 300, 3), np.uint8), [face])
    assert tuple(drawn[60, 130].tolist()) == colour
    assert tuple(drawn[199, 130].tolist()) == colour
    assert tuple(drawn[130, 60].tolist()) == colour
    assert tuple(drawn[130, 199].tolist()) == colour


def test_the_contract_of_the_two_classes() -> None:
    assert CLASS_STYLES["with_mask"] == ("Mask", (0, 255, 0))
    assert CLASS_STYLES["without_mask"] == ("No Mask", (0, 0, 255))


# Machado et al. (2009), severity 1, for linear RGB.
COLOUR_VISION = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.mark.parametrize("vision", COLOUR_VISION)
def test_colours_differ_for_colour_blind_people(vision: str) -> None:
    colours = np.array([*(style[1] for style in CLASS_STYLES.values()), OTHER_COLOUR])
    linear = (colours[:, ::-1] / 255) ** 2.2 @ np.transpose(COLOUR_VISION[vision])
    seen = (linear.clip(0, 1) ** (1 / 2.2)).astype(np.float32)
    lab = cv2.cvtColor(seen[None], cv2.COLOR_RGB2LAB)[0]
    differences = np.linalg.norm(lab[:, None] - lab[None], axis=2)  # CIE76
    assert differences[np.triu_indices(len(lab), 1)].min() > 12


def test_the_highest_scoring_face_is_on_top() -> None:
    detections = [detection(60, 60, 200, 200), detection(60, 60, 200, 200, "without_mask")]
    drawn = draw_detections(np.zeros((300, 300, 3), np.uint8), detections)
    assert tuple(drawn[199, 130].tolist()) == (0, 255, 0)


def test_without_detections_the_copy_is_equal() -> None:
    image = np.full((20, 30, 3), 7, np.uint8)
    drawn = draw_detections(image, [])
    assert np.array_equal(drawn, image)
    assert drawn is not image


def test_the_image_itself_is_not_changed() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    draw_detections(image, [detection(10, 10, 90, 90)])
    assert image.max() == 0


def test_in_place_the_image_itself_is_drawn_on() -> None:
    image, detections = np.zeros((100, 100, 3), np.uint8), [detection(10, 10, 90, 90)]
    copy = draw_detections(image, detections)
    assert draw_detections(image, detections, in_place=True) is image
    assert np.array_equal(image, copy)


def letters(drawn: np.ndarray, face: FaceBox) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns that the label's green covers, without the box itself."""
    green = (drawn[..., 1] > 200) & (drawn[..., 2] < 50)
    for y in (face.y1, face.y2 - 1):
        green[max(0, y - 6) : y + 7, max(0, face.x1 - 6) : face.x2 + 7] = False
    for x in (face.x1, face.x2 - 1):
        green[max(0, face.y1 - 6) : face.y2 + 7, max(0, x - 6) : x + 7] = False
    rows, columns = np.nonzero(green)
    return rows, columns


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [
        (640, 480, (200, 200, 300, 320)),
        (640, 480, (0, 0, 200, 200)),
        (640, 480, (560, 300, 640, 480)),
        (640, 480, (0, 0, 640, 480)),
        (300, 200, (280, 100, 300, 130)),
        (3840, 2160, (3600, 5, 3840, 400)),
        (120, 90, (5, 2, 115, 88)),
    ],
    ids=["middle", "top left", "bottom right", "everywhere", "small at the edge", "4K", "tiny"],
)  # fmt: skip
def test_the_label_is_drawn_inside_the_image(
    width: int, height: int, box: tuple[int, int, int, int]
) -> None:
    face = detection(*box)
    image = np.zeros((height, width, 3), np.uint8)
    rows, columns = letters(draw_detections(image, [face]), face.face)
    assert len(rows) > 20
    # Truncated letters would reach the outermost row or column.
    assert rows.min() > 0
    assert rows.max() < height - 1
    assert columns.max() < width - 1


def test_letters_grow_with_the_image() -> None:
    heights = []
    for scale in (1, 4):
        face = detection(100 * scale, 100 * scale, 300 * scale, 300 * scale)
        drawn = draw_detections(np.zeros((480 * scale, 640 * scale, 3), np.uint8), [face])
        rows, _ = letters(drawn, face.face)
        heights.append(rows.max() - rows.min())
    assert heights[1] > 2.5 * heights[0]


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 500, 3), (500, 2, 3)])
def test_images_too_small_for_letters_are_still_drawn_on(shape: tuple[int, ...]) -> None:
    face = detection(0, 0, shape[1], shape[0])
    assert draw_detections(np.zeros(shape, np.uint8), [face]).shape == shape
