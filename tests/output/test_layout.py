import numpy as np
import pytest

from facemask.geometry import FaceBox
from facemask.output.layout import Placement, letter_sizes, place_labels, place_legend

SIZE = 640, 480
SMALLEST, _, LARGEST = letter_sizes(*SIZE)
TEXTS = ["No Mask: 99.87%", "99%"]


def measure(text: str, size: int) -> tuple[int, int]:
    """Letters half as wide as high, on lines without space between them."""
    return len(text) * size // 2, size


def face(x1: int, y1: int, x2: int, y2: int) -> FaceBox:
    return FaceBox(x1, y1, x2, y2, 0.9)


def place(
    *faces: FaceBox, size: tuple[int, int] = SIZE, taken: tuple[tuple[int, int, int, int], ...] = ()
) -> list[Placement | None]:
    return place_labels(faces, [TEXTS] * len(faces), size, measure, taken)


def placed(label: Placement) -> FaceBox:
    """The rectangle of a label."""
    width, height = measure(label.text, label.size)
    return face(label.x, label.y, label.x + width, label.y + height)


def overlap(one: FaceBox, other: FaceBox) -> bool:
    return one.iou(other) > 0


def test_no_faces() -> None:
    assert place() == []


@pytest.mark.parametrize(
    ("box", "x", "y"),
    [
        ((200, 200, 400, 400), "left", "above"),
        ((200, 0, 400, 200), "left", "below"),
        ((560, 200, 640, 300), "right edge", "above"),
        ((0, 0, 640, 480), "left", "inside"),
        ((0, 0, 300, 480), "beside", "middle"),
        ((-8, 100, 200, 300), "left edge", "above"),
    ],
)
def test_where_the_label_of_one_face_stands(box: tuple[int, int, int, int], x: str, y: str) -> None:
    (label,) = place(face(*box))
    assert label
    assert label.text == TEXTS[0]
    wide, high = measure(label.text, label.size)
    columns = {
        "left": box[0], "right edge": 640 - wide, "left edge": 0, "beside": box[2],
    }  # fmt: skip
    middle = (box[1] + box[3] - high) // 2
    rows = {"above": box[1] - high, "below": box[3], "inside": box[1], "middle": middle}
    assert (label.x, label.y) == (columns[x], rows[y])


def test_letters_fit_the_face_within_limits() -> None:
    small, medium, large = (
        place(face(200, 200, 200 + side, 200 + side))[0] for side in (20, 100, 250)
    )
    assert small
    assert medium
    assert large
    assert (small.text, small.size) == (TEXTS[0], SMALLEST)
    assert SMALLEST < medium.size < LARGEST
    assert measure(medium.text, medium.size)[0] == pytest.approx(120, abs=8)
    assert large.size == LARGEST


def test_letters_grow_with_the_picture() -> None:
    assert [letter_sizes(width, width * 3 // 4).smallest for width in (320, 640, 1100, 4400)] == [
        12, 12, 12, 40,
    ]  # fmt: skip
    for width in (1, 320, 640, 4000):
        sizes = letter_sizes(width, 300)
        assert sizes.smallest <= sizes.legend <= sizes.largest


def test_a_label_keeps_off_the_face_above() -> None:
    upper, lower = face(200, 100, 300, 200), face(200, 205, 300, 305)
    labels = place(lower, upper)
    assert labels[0]
    assert labels[0].y == 305
    assert labels[1]
    assert labels[1].y < 100


def test_a_short_text_where_there_is_no_room_for_the_whole() -> None:
    row = [face(x, 200, x + 40, 240) for x in range(0, 640, 50)]
    labels = place(*row)
    assert {label.text for label in labels if label} == {"99%"}
    assert None not in labels


def test_one_face_far_from_others_keeps_its_whole_text() -> None:
    row = [face(x, 20, x + 40, 60) for x in range(0, 640, 50)]
    label = place(*row, face(300, 300, 340, 340))[-1]
    assert label
    assert label.text == TEXTS[0]


def test_a_box_alone_in_a_crowd() -> None:
    crowd = [face(x, y, x + 12, y + 12) for x in range(0, 640, 14) for y in range(0, 480, 14)]
    assert place(*crowd)[len(crowd) // 2] is None


def test_the_first_faces_choose_first() -> None:
    """Two faces that leave one free place between the picture's edges and one another."""
    left, right = face(0, 30, 60, 100), face(70, 30, 130, 100)
    size = 130, 100
    first, second = place(left, right, size=size)
    assert first
    assert first.text == TEXTS[0]
    other_second, other_first = place(right, left, size=size)
    assert other_second
    assert other_second.text == TEXTS[0]
    assert (second and second.text) != TEXTS[0]
    assert (other_first and other_first.text) != TEXTS[0]


def test_labels_keep_off_what_is_taken() -> None:
    (label,) = place(face(200, 200, 400, 400), taken=((0, 0, 640, 200),))
    assert label
    assert label.y == 400


@pytest.mark.parametrize("count", [2, 5, 20, 60, 200])
@pytest.mark.parametrize("size", [(320, 240), (640, 480), (4000, 3000)])
def test_labels_cover_no_face_no_label_and_no_edge(count: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(count)
    sides = rng.integers(size[1] // 40, size[1] // 6, count)
    corners = rng.uniform(-0.02, 0.98, (count, 2)) * size
    faces = [
        face(int(x), int(y), int(x) + side, int(y) + side)
        for (x, y), side in zip(corners, sides.tolist(), strict=True)
    ]
    labels = place(*faces, size=size)
    assert any(labels)
    rectangles = [(index, placed(label)) for index, label in enumerate(labels) if label]
    for number, (owner, rectangle) in enumerate(rectangles):
        assert rectangle.clip(*size) == rectangle
        assert not any(overlap(rectangle, other) for _, other in rectangles[:number])
        strangers = [other for index, other in enumerate(faces) if index != owner]
        assert not any(overlap(rectangle, other) for other in strangers)


@pytest.mark.parametrize(
    ("faces", "corner"),
    [
        ([], (0, 400)),
        ([face(100, 100, 200, 200)], (0, 400)),
        ([face(10, 410, 60, 470)], (500, 400)),
        ([face(0, 300, 640, 480)], (500, 0)),
        ([face(0, 300, 640, 480), face(600, 0, 640, 40)], (500, 50)),
        ([face(0, 0, 640, 480)], (0, 400)),
    ],
)
def test_a_legend_stands_where_it_covers_least(
    faces: list[FaceBox], corner: tuple[int, int]
) -> None:
    assert place_legend(faces, (140, 80), SIZE) == corner


@pytest.mark.parametrize("extent", [(321, 50), (50, 241), (900, 900)])
def test_no_legend_that_would_hide_the_picture(extent: tuple[int, int]) -> None:
    assert place_legend([], extent, SIZE) is None
