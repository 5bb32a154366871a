"""Which names of classes mean the same."""

import pytest

from facemask.class_names import (
    INCORRECT,
    SPELLINGS,
    WITH_MASK,
    WITHOUT_MASK,
    meaning,
    same_class,
    same_meaning,
    without_incorrect,
)
from facemask.errors import UsageError


@pytest.mark.parametrize("label", SPELLINGS)
def test_each_class_is_a_spelling_of_itself(label: str) -> None:
    assert meaning(label) == label


def test_no_spelling_has_two_meanings() -> None:
    spellings = [name for names in SPELLINGS.values() for name in names]
    assert len(spellings) == len(set(spellings))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("With Mask", WITH_MASK),
        ("with-mask", WITH_MASK),
        ("Mask", WITH_MASK),
        ("masked_face", WITH_MASK),
        ("NoMask", WITHOUT_MASK),
        ("no mask", WITHOUT_MASK),
        ("WITHOUT_MASK", WITHOUT_MASK),
        ("incorrect", INCORRECT),
        ("mask_weared_incorrect", INCORRECT),
        ("IMFD", INCORRECT),
        ("Mask worn incorrectly", INCORRECT),
        ("scarf", None),
        ("face", None),
        ("", None),
        ("??", None),
    ],
)
def test_meaning(name: str, expected: str | None) -> None:
    assert meaning(name) == expected


@pytest.mark.parametrize(
    ("name", "class_names", "expected"),
    [
        ("with_mask", ["with_mask", "Mask"], "with_mask"),
        ("WITH MASK", ["Mask", "with_mask"], "with_mask"),
        ("with_mask", ["Mask", "No Mask"], "Mask"),
        ("Scarf!", ["mask", "scarf"], "scarf"),
        ("masked", ["mask", "with_mask"], None),
        ("incorrect", ["with_mask", "without_mask"], None),
        ("??", ["!", "with_mask"], None),
        ("mask", [], None),
    ],
)
def test_the_nearest_class_of_the_same_meaning(
    name: str, class_names: list[str], expected: str | None
) -> None:
    assert same_class(name, class_names) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["with_mask", "without_mask", "incorrect"], None),
        (["Mask", "scarf", "with_mask"], ("Mask", "with_mask")),
        (["No Mask", "mask", "unmasked", "masked"], ("No Mask", "unmasked")),
        (["Scarf", "scarf"], ("Scarf", "scarf")),
        (["?", "!"], None),
        ([], None),
    ],
)
def test_two_names_of_one_class(names: list[str], expected: tuple[str, str] | None) -> None:
    assert same_meaning(names) == expected


def test_the_incorrect_class_is_merged_away() -> None:
    assert without_incorrect(["incorrect", "Mask", "No Mask"], WITH_MASK) == ("Mask", "No Mask")
    assert without_incorrect(["Mask", "scarf", "incorrect"], WITH_MASK) == ("Mask", "scarf")


@pytest.mark.parametrize(
    "names", [("Mask", "No Mask"), ("Mask", "incorrect"), ("No Mask", "scarf", "incorrect")]
)
def test_what_can_not_be_merged(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=f"one with_mask; found {', '.join(names)}$"):
        without_incorrect(names, WITH_MASK)
