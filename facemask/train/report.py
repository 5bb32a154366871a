"""A training as a plot of its curves, and as data."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from facemask.data.dataset import LabelledImages
from facemask.data.loading import is_classic, is_drawn
from facemask.data.splits import PARTS
from facemask.detect.model_choice import SHIPPED
from facemask.evaluate.metrics import Classification, classification_record, rounded
from facemask.evaluate.plots import draw_confusion
from facemask.files import replacing, write_text
from facemask.train.checkpoint import History
from facemask.train.model import versions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from facemask.train.stages import Training


def plot_history(
    path: str | os.PathLike[str],
    history: History,
    best_epoch: int | None = None,
    test: Classification | None = None,
) -> None:
    """Write history_figure to a file, whose suffix decides the format.

    Raises FacemaskError when it can't be written.
    """
    figure = history_figure(history, best_epoch, test)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def history_figure(
    history: History, best_epoch: int | None = None, test: Classification | None = None
) -> "Figure":
    """The loss and accuracy curves over all epochs, side by side.

    best_epoch: the epoch, from 0, whose weights the model has; it is marked. test: the figures of
    the test images, whose confusion matrix is drawn beside the curves.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = range(1, len(history["loss"]) + 1)
    panels = 2 if test is None else 3
    figure = Figure(figsize=(5 * panels, 4.5), layout="constrained")
    plots = figure.subplots(1, panels)
    for axes, name in zip(plots, ("loss", "accuracy"), strict=False):
        # With markers, because a line through a single epoch shows nothing.
        axes.plot(epochs, history[name], marker=".", label=f"train_{name}")
        axes.plot(epochs, history[f"val_{name}"], marker=".", label=f"val_{name}")
        if best_epoch is not None:
            axes.axvline(
                best_epoch + 1,
                linestyle="--",
                color="grey",
                label=f"weights of epoch {best_epoch + 1}",
            )
        axes.set(xlabel="Epoch", title=f"Training and validation {name}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    if test is not None:
        draw_confusion(plots[-1], test)
        plots[-1].set_title(f"{test.crops} test images, {test.accuracy * 100:.2f} % correct")
    return figure


def training_record(
    folders: Sequence[str],
    training: "Training",
    settings: Mapping[str, Any],
    temperature: float,
    test: Classification,
) -> dict[str, Any]:
    """What the model file records of its training; all values are JSON types.

    folders: of the images. They appear by their names only, because a path would describe the
    user's machine.
    """
    images, split = training.images, training.split
    return {
        "sources": images.source_names,
        "date": date.today().isoformat(),
        "dataset_sha256": images.digest,
        "drawn_sample": is_drawn(folders),
        "images": {name: len(getattr(split, name)) for name in PARTS},
        "settings": dict(settings),
        "temperature": round(temperature, 4),  # already part of the weights
        "test_accuracy": round(test.accuracy, 4),
        "test_balanced_accuracy": round(test.balanced_accuracy, 4),
        "test_calibration_error": round(test.calibration_error, 4),
        "versions": versions(),
    }


def write_report(
    path: str | os.PathLike[str],
    model: str,
    record: Mapping[str, Any],
    training: "Training",
    test: Classification,
) -> None:
    """Write all figures of a training as JSON.

    model: the file's name; record: see training_record. Raises FacemaskError when the file can't
    be written.
    """
    report = {
        "model": model,
        **record,
        "test": classification_record(test),
        "curves": rounded(training.history),
        "epochs": len(training.history["loss"]),
        "best_epoch": training.best_epoch + 1,
        "interrupted": training.interrupted,
        "skipped": list(training.images.skipped),
    }
    write_text(path, json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def announce_result(
    test: Classification, images: LabelledImages, announce: Callable[[str], None]
) -> None:
    """Announce the figures of the test images, and what they do not show.

    images: those of the training, of all parts.
    """
    announce(summary(test))
    if is_classic(images):
        announce(
            "the classic photographs alone show one drawn mask, and this model knows no other;"
            f" {SHIPPED}, which comes with the project, has learnt real masks"
        )


def summary(test: Classification) -> str:
    """The figures of the test images on one line."""
    low, high = test.interval
    return (
        f"test accuracy {test.accuracy:.4f} on {test.crops} images (95 % interval {low:.4f} to"
        f" {high:.4f}), balanced {test.balanced_accuracy:.4f}, calibration error"
        f" {test.calibration_error:.4f}"
    )
