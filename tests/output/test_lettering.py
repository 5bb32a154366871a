import numpy as np
import pytest

from facemask.output.lettering import ink_on, render, text_size

BLACK, WHITE, GREEN, RED = (0, 0, 0), (255, 255, 255), (0, 255, 0), (0, 0, 255)


@pytest.mark.parametrize("text", ["Mask: 99.87%", "99%", "g", ""])
@pytest.mark.parametrize("size", [12, 40])
def test_the_picture_has_the_size_that_is_measured(text: str, size: int) -> None:
    width, height = text_size(text, size)
    assert render(text, size, GREEN, BLACK).shape == (height, width, 3)


@pytest.mark.parametrize("size", [12, 13, 40, 90])
def test_letters_are_inside_their_background(size: int) -> None:
    text = render("No Mask: gj 99.87%", size, RED, WHITE)
    edge = np.concatenate([text[0], text[:, 0], text[:, -1]])
    assert (edge == RED).all()
    assert (text == WHITE).all(axis=2).any()
    rows = np.nonzero((text != RED).any(axis=(1, 2)))[0]
    assert 0.7 * size < rows.max() - rows.min() < 1.2 * size


def test_the_ink_can_be_read_on_its_background() -> None:
    assert ink_on(GREEN) == BLACK
    assert ink_on(WHITE) == BLACK
    assert ink_on(RED) == WHITE
    assert ink_on(BLACK) == WHITE


def test_letters_that_the_font_lacks() -> None:
    def shown(text: str) -> list:
        return render(text, 20, BLACK, WHITE).tolist()

    assert shown("masqu\u00e9") == shown("masque")
    assert shown("masque\u0301") == shown("masque")
    assert shown("\u53e3\u7f69") == shown("??")
    assert shown("masque") != shown("mosque")
