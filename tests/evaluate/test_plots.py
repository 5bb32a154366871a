"""The pictures of an evaluation."""

import numpy as np

from facemask.evaluate import plots
from facemask.evaluate.crops import Crop
from facemask.evaluate.metrics import classification


def test_a_sheet_has_as_many_pictures_as_there_are_mistakes() -> None:
    image = np.full((30, 20, 3), (255, 0, 0), np.uint8)  # blue, BGR
    names = [f"cost$_{number}$.jpg" for number in range(8)]
    rows, predicted = {"m": np.array([0.013, 0.987])}, {"m": "b"}
    mistakes = [
        (Crop("a", name, True, 20, None, "usual", rows, predicted), image) for name in names
    ]
    figure = plots.mistakes_figure(mistakes, "m", "title")
    shown = [axes for axes in figure.axes if axes.images]
    assert len(figure.axes) == 12
    assert len(shown) == 8
    assert shown[7].get_title() == "labelled a\npredicted b\n98.70 %\ncost$_7$.jpg"
    array = shown[0].images[0].get_array()
    assert array is not None
    assert array[0, 0].tolist() == [0, 0, 255]


def test_a_confusion_matrix_has_its_counts() -> None:
    figures = classification(
        ["x", "x", "y"], np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0]]), ("x", "y", "z")
    )
    axes = plots.confusion_figure(figures, "title").axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert texts == [
        "1\n50.0 %", "1\n50.0 %", "0\n0.0 %", "0\n0.0 %", "1\n100.0 %", "0\n0.0 %", "0", "0", "0",
    ]  # fmt: skip
