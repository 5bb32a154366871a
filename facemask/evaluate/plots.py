"""An evaluation as pictures: confusion matrices and sheets of misclassified crops."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facemask.evaluate.metrics import Classification
from facemask.evaluate.runner import Misclassification
from facemask.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 6  # pictures beside one another on a sheet of mistakes


def confusion_figure(figures: Classification, title: str) -> "Figure":
    """How many crops of each class were given which, shaded by their share of the true class."""
    from matplotlib.figure import Figure

    classes = len(figures.classes)
    figure = Figure(figsize=(2.5 + 1.2 * classes, 2 + classes), layout="constrained")
    draw_confusion(figure.subplots(), figures)
    figure.suptitle(title, fontsize=9, wrap=True, parse_math=False)
    return figure


def draw_confusion(axes: "Axes", figures: Classification) -> None:
    """The same into axes of a figure."""
    names = list(figures.classes)
    counts = np.array(figures.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        text = f"{count}\n{share * 100:.1f} %" if counts[row].sum() else "0"
        axes.text(
            column, row, text, ha="center", va="center", color="white" if share > 0.6 else "black"
        )
    places, labels = range(len(names)), [_short(name) for name in names]
    axes.set_xticks(places, labels, rotation=20, parse_math=False)
    axes.set_yticks(places, labels, parse_math=False)
    axes.set(xlabel="given class", ylabel="true class")


def mistakes_figure(mistakes: Sequence[Misclassification], title: str) -> "Figure":
    """A sheet of wrong crops with their true and given class; the surest are at the top left."""
    from matplotlib.figure import Figure

    rows = -(-len(mistakes) // COLUMNS)
    figure = Figure(figsize=(2.1 * COLUMNS, 2.6 * rows + 0.4), layout="constrained")
    cells = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes in cells:
        axes.axis("off")
    for axes, mistake in zip(cells, mistakes, strict=False):
        axes.imshow(cv2.cvtColor(mistake.image, cv2.COLOR_BGR2RGB))
        lines = (
            f"labelled {_short(mistake.truth)}",
            f"given {_short(mistake.given)}",
            f"{mistake.probability * 100:.2f} %",
            _short(mistake.name),
        )
        axes.set_title("\n".join(lines), fontsize=7, parse_math=False)
    figure.suptitle(title, fontsize=9, wrap=True, parse_math=False)
    return figure


def _short(text: str, most: int = 28) -> str:
    """A name cut in its middle, where it tells least."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 + 1 :]}"


def save_figure(path: Path, figure: "Figure") -> None:
    """Write a picture; the suffix decides its format."""
    with warnings.catch_warnings(), replacing(path) as part:
        warnings.filterwarnings("ignore", message="Glyph")  # of scripts that the font lacks
        figure.savefig(part, dpi=110)
