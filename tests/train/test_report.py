import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from facemask.downloads.resources import DATASET
from facemask.evaluate.metrics import classification
from facemask.images import read_image
from facemask.train import report as report_module

CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]])
FIGURES = classification(["a", "b", "a", "b"], PROBABILITIES, ("a", "b"))


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_plot_shows_as_many_epochs_as_ran(tmp_path: Path, epochs: int) -> None:
    curves = {name: [0.1 * place] * epochs for place, name in enumerate(CURVES)}
    drawn = [
        (
            line.get_label(),
            np.asarray(line.get_xdata()).tolist(),
            np.asarray(line.get_ydata()).tolist(),
        )
        for axes in report_module.history_figure(curves).axes
        for line in axes.lines
    ]
    numbers = list(range(1, epochs + 1))
    assert drawn == [
        ("train_loss", numbers, curves["loss"]),
        ("val_loss", numbers, curves["val_loss"]),
        ("train_accuracy", numbers, curves["accuracy"]),
        ("val_accuracy", numbers, curves["val_accuracy"]),
    ]
    report_module.plot_history(tmp_path / "plot.png", curves)
    assert read_image(tmp_path / "plot.png").shape == (540, 1200, 3)
    assert os.listdir(tmp_path) == ["plot.png"]


def test_the_plot_marks_the_best_epoch_and_shows_the_test_images() -> None:
    curves = {name: [0.3, 0.2, 0.4] for name in CURVES}
    loss, accuracy, confusion = report_module.history_figure(curves, 1, FIGURES).axes
    for axes in (loss, accuracy):
        (mark,) = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert np.asarray(mark.get_xdata()).tolist() == [2, 2]
        assert mark.get_label() == "weights of epoch 2"
    shown = [text.get_text().split("\n")[0] for text in confusion.texts]
    assert shown == ["1", "1", "0", "2"]
    assert confusion.get_title() == "4 test images, 75.00 % correct"


def test_the_report_has_all_of_the_training(tmp_path: Path) -> None:
    curves = {name: [0.3, 0.25] for name in CURVES}
    training: Any = SimpleNamespace(
        history=curves,
        best_epoch=1,
        interrupted=False,
        images=SimpleNamespace(skipped=("y.jpg: bad",)),
    )
    record = {"sources": ("x",), "settings": {"classic": False, "margin": 0.1, "seed": 42}}
    report_module.write_report(tmp_path / "r.json", "m.keras", record, training, FIGURES)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["test"]["confusion"] == [[1, 1], [0, 2]]
    assert report["test"]["classes"]["b"]["recall"] == 1.0
    assert report["settings"] == record["settings"]
    assert report["curves"] == curves
    assert (report["epochs"], report["best_epoch"], report["interrupted"]) == (2, 2, False)
    assert (report["model"], report["sources"]) == ("m.keras", ["x"])
    assert report["skipped"] == ["y.jpg: bad"]


def test_a_training_on_the_classic_photographs_alone_says_what_it_knows() -> None:
    classic = tuple(DATASET.sha256_by_name().values())
    lines: list[str] = []
    for digests in (classic[:9], (*classic[:9], "0" * 64)):
        images: Any = SimpleNamespace(digests=digests)
        report_module.announce_result(FIGURES, images, lines.append)
    first, remark, second = lines
    assert first == second == report_module.summary(FIGURES)
    assert remark.startswith("the classic photographs alone show one drawn mask, and this model")


def test_the_summary_is_one_line_with_the_interval() -> None:
    line = report_module.summary(FIGURES)
    assert line.startswith("test accuracy 0.7500 on 4 images (95 % interval 0.3006 to 0.9544)")
    assert "\n" not in line
