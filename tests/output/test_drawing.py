from typing import Any

import cv2
import numpy as np
import pytest

from facemask.detect.types import MaskDetection
from facemask.geometry import FaceBox
from facemask.output import drawing, lettering
from facemask.output.drawing import draw_detections, draw_status
from facemask.output.labels import CLASS_STYLES, OTHER_COLOUR, label_text, short_text


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
    assert short_text(face) == "99%"
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


@pytest.mark.parametrize(
    "labels",
    [
        ("with_mask", "without_mask"),
        ("without_mask", "with_mask"),
        ("mask_weared_incorrect", "No-Mask"),
        ("uncertain", "mask_weared_incorrect", "without_mask"),
    ],
)
def test_faces_without_a_mask_are_on_top(labels: tuple[str, ...]) -> None:
    detections = [detection(60, 60, 200, 200, label) for label in labels]
    drawn = draw_detections(np.zeros((300, 300, 3), np.uint8), detections)
    assert tuple(drawn[199, 130].tolist()) == (0, 0, 255)


def test_an_incorrect_mask_is_above_a_proper_one() -> None:
    detections = [detection(60, 60, 200, 200, label) for label in ("incorrect", "with_mask")]
    drawn = draw_detections(np.zeros((300, 300, 3), np.uint8), detections)
    assert tuple(drawn[199, 130].tolist()) == (0, 153, 230)


def test_of_faces_of_one_class_the_highest_scoring_is_on_top() -> None:
    faces = [detection(60, 60, 200, 200, "uncertain"), detection(60, 60, 200, 200)]
    drawn = draw_detections(np.zeros((300, 300, 3), np.uint8), faces)
    assert tuple(drawn[199, 130].tolist()) == CLASS_STYLES["uncertain"][1]


def thickness(drawn: np.ndarray, row: int) -> int:
    """Of the left line of a box that is drawn on black, in that row; without its dark rim."""
    return int(drawn[row, : drawn.shape[1] // 2].any(axis=-1).sum())


@pytest.mark.parametrize("side", [40, 160, 800])
@pytest.mark.parametrize(
    ("label", "thick"),
    [
        ("with_mask", []),
        ("uncertain", []),
        ("beard", []),
        ("mask_weared_incorrect", ["lower"]),
        ("without_mask", ["upper", "lower"]),
    ],
)
def test_classes_differ_by_their_corners_too(side: int, label: str, thick: list[str]) -> None:
    image = np.zeros((3 * side, 3 * side, 3), np.uint8)
    drawn = draw_detections(image, [detection(side, side, 2 * side, 2 * side, label)])
    middle = thickness(drawn, side + side // 2)
    assert middle >= 1
    assert ["upper"] * (thickness(drawn, side + side // 8) > middle) + ["lower"] * (
        thickness(drawn, 2 * side - side // 8) > middle
    ) == thick


def test_lines_grow_with_the_picture_and_with_the_face() -> None:
    small = draw_detections(np.zeros((480, 640, 3), np.uint8), [detection(310, 200, 330, 220)])
    large = draw_detections(np.zeros((480, 640, 3), np.uint8), [detection(200, 100, 400, 300)])
    photograph = draw_detections(
        np.zeros((3000, 4000, 3), np.uint8), [detection(1000, 1000, 1800, 1800)]
    )
    assert thickness(small, 210) == 1
    assert thickness(small, 210) < thickness(large, 200) < thickness(photograph, 1400)


def test_a_box_can_be_seen_on_its_own_colour() -> None:
    green = np.full((300, 300, 3), (0, 255, 0), np.uint8)
    drawn = draw_detections(green, [detection(100, 100, 200, 200)])
    assert (drawn[150, :100] == 0).all(axis=1).any()


def test_a_legend_says_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 small faces: it has each class with the number of its faces, in a corner."""
    texts = []

    def render(text: str, *arguments: Any) -> np.ndarray:
        texts.append(text)
        return lettering.render(text, *arguments)

    monkeypatch.setattr(drawing, "render", render)
    crowd = [
        detection(x, y, x + 12, y + 12, "without_mask" if x == 50 else "with_mask")
        for x in range(50, 250, 20)
        for y in range(20, 140, 20)
    ]
    drawn = draw_detections(np.zeros((240, 320, 3), np.uint8), crowd)
    assert texts[:2] == ["No Mask 6", "Mask 54"]
    assert tuple(drawn[-1, 0].tolist()) == drawing.PANEL
    texts.clear()
    draw_detections(np.zeros((240, 320, 3), np.uint8), crowd[:1])
    assert texts == ["No Mask: 99.87%"]


def test_the_status_is_in_the_upper_left_corner() -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    draw_status(image, "24.9 FPS   Mask 3   No Mask 1")
    rows, columns = np.nonzero((image > 200).all(axis=2))
    assert len(rows) > 0
    assert rows.max() < 40
    assert columns.max() < 319


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


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 500, 3), (500, 2, 3)])
def test_images_too_small_for_letters_are_still_drawn_on(shape: tuple[int, ...]) -> None:
    face = detection(0, 0, shape[1], shape[0])
    image = np.zeros(shape, np.uint8)
    assert draw_detections(image, [face]).shape == shape
    draw_status(image, "1 Mask")
