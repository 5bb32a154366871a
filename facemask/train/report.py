"""A training as a picture of its curves, and as data."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from facemask.evaluate.metrics import Classification, classification_record, rounded
from facemask.evaluate.plots import draw_confusion
from facemask.files import replacing
from facemask.train.checkpoint import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_history(
    path: str | os.PathLike[str],
    history: History,
    kept: int | None = None,
    test: Classification | None = None,
) -> None:
    """Draw history_figure into a picture; the suffix decides its format."""
    figure = history_figure(history, kept, test)
    with replacing(path) as part:
        figure.savefig(part, dpi=120)


def history_figure(
    history: History, kept: int | None = None, test: Classification | None = None
) -> "Figure":
    """The curves of training.train, loss beside accuracy, over as many epochs as ran.

    kept: the epoch, from 0 on, whose weights the model has; marked. test: what became of the test
    images, shown beside as a confusion matrix.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = range(1, len(history["loss"]) + 1)
    panels = 2 if test is None else 3
    figure = Figure(figsize=(5 * panels, 4.5), layout="constrained")
    plots = figure.subplots(1, panels)
    for axes, name in zip(plots, ("loss", "accuracy"), strict=False):
        # Markers too: a single epoch is a point, of which a line shows nothing.
        axes.plot(epochs, history[name], marker=".", label=f"train_{name}")
        axes.plot(epochs, history[f"val_{name}"], marker=".", label=f"val_{name}")
        if kept is not None:
            axes.axvline(
                kept + 1, linestyle="--", color="grey", label=f"weights kept, epoch {kept + 1}"
            )
        axes.set(xlabel="Epoch", title=f"Training and validation {name}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    if test is not None:
        draw_confusion(plots[-1], test)
        plots[-1].set_title(f"{test.crops} test images, {test.accuracy * 100:.2f} % right")
    return figure


def write_report(
    path: str | os.PathLike[str],
    model: str,
    training: Mapping[str, Any],
    curves: History,
    kept: int,
    test: Classification,
    skipped: Sequence[str],
    interrupted: bool,
) -> None:
    """Write all that is to be known of a training as JSON.

    model: the file's name; training: what its facts say of the training; the others as
    history_figure takes them. skipped: a line for each file that could not be used.
    """
    report = {
        "model": model,
        **training,
        "test": classification_record(test),
        "curves": rounded(curves),
        "epochs": len(curves["loss"]),
        "best_epoch": kept + 1,
        "interrupted": interrupted,
        "skipped": list(skipped),
    }
    with replacing(path) as part:
        part.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
