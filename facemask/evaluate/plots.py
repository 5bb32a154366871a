"""An evaluation as pictures: confusion matrices and sheets of misclassified crops."""

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facemask.evaluate.crops import Mistakes
from facemask.evaluate.image_sets import numbered
from facemask.evaluate.metrics import Classification
from facemask.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 6  # pictures beside one another on a sheet of mistakes


def write_pictures(
    folder: Path,
    sets: Sequence[dict[str, Any]],
    mistakes: Mapping[tuple[str, str, str], Mistakes] | None,
) -> list[str]:
    """Write a confusion matrix and a sheet of mistakes for each set, row and model.

    sets: records, see runner; mistakes: by set, row and model; None for no sheets, which show
    people's faces. Returns the files' names.
    """
    figures = {
        (record["name"], row["name"], model): figures
        for record in sets
        for row in record["rows"]
        for model, figures in row["figures"].items()
    }
    stems = numbered(["-".join(map(_slug, key)) for key in figures])
    written = []
    for stem, (key, classification) in zip(stems, figures.items(), strict=True):
        set_name, row_name, model = key
        title = f"{model}: {set_name}, {row_name}"
        confusion = folder / f"{stem}-confusion.png"
        _save(confusion, confusion_figure(classification, title))
        written.append(confusion.name)
        sheet = folder / f"{stem}-mistakes.png"
        if mistakes and mistakes[key]:
            title = f"most confident mistakes of {title}"
            _save(sheet, mistakes_figure(mistakes[key], model, title))
            written.append(sheet.name)
        elif mistakes:  # a sheet of an earlier run would be taken for one of this run
            sheet.unlink(missing_ok=True)
    return written


def confusion_figure(figures: Classification, title: str) -> "Figure":
    """The confusion matrix of a model, with draw_confusion."""
    from matplotlib.figure import Figure

    classes = len(figures.classes)
    figure = Figure(figsize=(2.5 + 1.2 * classes, 2 + classes), layout="constrained")
    draw_confusion(figure.subplots(), figures)
    figure.suptitle(title, fontsize=9, wrap=True, parse_math=False)
    return figure


def draw_confusion(axes: "Axes", figures: Classification) -> None:
    """Draw counts by true and predicted class, with their percentage of the true class."""
    from sklearn.metrics import ConfusionMatrixDisplay

    counts = np.array(figures.confusion)
    totals = np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape)
    percentages = counts / np.maximum(totals, 1) * 100
    names = [_short(name) for name in figures.classes]
    display = ConfusionMatrixDisplay(percentages, display_labels=names)
    display.plot(ax=axes, cmap="Blues", colorbar=False, im_kw={"vmin": 0, "vmax": 100})
    numbers = zip(counts.flat, percentages.flat, totals.flat, strict=True)
    for text, (count, percentage, total) in zip(axes.texts, numbers, strict=True):
        text.set_text(f"{count}\n{percentage:.1f} %" if total else "0")
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)
    axes.tick_params("x", rotation=20)
    axes.set(xlabel="predicted class", ylabel="true class")


def mistakes_figure(mistakes: Mistakes, model: str, title: str) -> "Figure":
    """A sheet of a model's mistakes with their true and predicted class, in their order."""
    from matplotlib.figure import Figure

    rows = -(-len(mistakes) // COLUMNS)
    figure = Figure(figsize=(2.1 * COLUMNS, 2.6 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes in panels:
        axes.axis("off")
    for axes, (crop, image) in zip(panels, mistakes, strict=False):
        axes.imshow(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        lines = (
            f"labelled {_short(str(crop.truth))}",
            f"predicted {_short(crop.predicted[model])}",
            f"{crop.probabilities[model].max() * 100:.2f} %",
            _short(crop.name),
        )
        axes.set_title("\n".join(lines), fontsize=7, parse_math=False)
    figure.suptitle(title, fontsize=9, wrap=True, parse_math=False)
    return figure


def _short(text: str, most: int = 28) -> str:
    """A name with its middle left out, which differs least between names."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 + 1 :]}"


def _slug(name: str) -> str:
    """A name as a part of a file name."""
    return re.sub(r"[^\w.]+", "_", name).strip("_")[:60]


def _save(path: Path, figure: "Figure") -> None:
    with warnings.catch_warnings(), replacing(path) as temporary:
        warnings.filterwarnings("ignore", message="Glyph")  # of scripts that the font lacks
        figure.savefig(temporary, dpi=110)
