"""An evaluation as Markdown tables, aligned to be read as they are."""

from collections.abc import Mapping, Sequence

from facemask.evaluate.detection import AP_CONFIDENCE, WIDE_FACE_PX
from facemask.evaluate.metrics import Ratio
from facemask.evaluate.runner import SetResult

NOTES = """\
Right: the share of crops that are given their class, with its 95 % interval (Wilson). Balanced: the
mean of the classes' shares. ECE: expected calibration error, how far the probabilities are from how
often they are right (Guo et al. 2017, 15 bins; 0 is best)."""

DETECTION_NOTES = """\
Found: the share of the annotated faces that a box of the detector covers, with at least half shared
(intersection over union); also by the face's width, and by its class. Boxes right: the share of the
detector's boxes that are of an annotated face. Both are of boxes of more than {confidence:g}
confidence. ms: for one of the photographs, stretched to 640x480 pixels, the median of several calls
of each detector in turn."""

PRECISION_NOTES = """\
AP50: average precision at an intersection over union of .5; AP: the mean over .5, .55, ..., .95
(both as COCO has them, at 101 recalls), of all boxes of more than {confidence:g} confidence. For
the faces alone, all are of one class. With a model, a box is of its most probable class, and its
score is the detector's confidence times the class's probability; m: the mean over the classes."""

WIDTH_TITLE = """\
Right by face width: the annotated faces of known classes, of any width, in their own boxes."""

BOXES_TITLE = """\
Images of class folders by how many faces a detector finds in them."""

COLOUR_TITLE = """\
Masked faces right by colour of the mask: the colour is a coarse guess from the pixels, which the
light changes."""

AGREEMENT_NOTES = "Same label: the share of crops that both models give the same class."


def tables(results: Sequence[SetResult], known: Sequence[str], confidence: float) -> str:
    """All tables of an evaluation, each with its notes.

    known: the classes that all models know; confidence: the operating point of the detectors.
    """
    blocks = [_classes_table(results, known), *_notes(results), NOTES]
    if by_width := [
        {"data": result.name, "width": f"{width} px", **_ratio_cells(row)}
        for result in results
        for width, row in result.by_width.items()
    ]:
        blocks += [WIDTH_TITLE, _table(by_width, words=2)]
    if by_colour := [
        {"data": r.name, "crops": r.crop_sets[0].name, "colour": colour, **_ratio_cells(row)}
        for r in results
        for colour, row in r.by_colour.items()
    ]:
        blocks += [COLOUR_TITLE, _table(by_colour, words=3)]
    if any(result.box_counts for result in results):
        blocks += [BOXES_TITLE, _boxes_table(results)]
    if any(result.detectors for result in results):
        blocks += [
            _detection_table(results),
            DETECTION_NOTES.format(confidence=confidence),
            _precision_table(results),
            PRECISION_NOTES.format(confidence=min(AP_CONFIDENCE, confidence)),
        ]
    if any(crops.agreements for result in results for crops in result.crop_sets):
        blocks += [_agreement_table(results), AGREEMENT_NOTES]
    return "\n\n".join(blocks) + "\n"


def _classes_table(results: Sequence[SetResult], known: Sequence[str]) -> str:
    rows = []
    for result in results:
        for crops in result.crop_sets:
            if not crops.figures:
                rows.append({"data": result.name, "crops": crops.name, "model": "any", "number": 0})
            for model, figures in crops.figures.items():
                low, high = figures.interval
                row = {"data": result.name, "crops": crops.name, "model": model}
                row |= {"number": figures.crops, "right": _percent(figures.accuracy)}
                row |= {"95 %": f"{low * 100:.1f}-{high * 100:.1f}"}
                row |= {"balanced": _percent(figures.balanced_accuracy)}
                row |= {name: _percent(figures.classes[name].recall) for name in known}
                rows.append(row | {"ECE": f"{figures.calibration_error:.3f}"})
    return _table(rows, words=3)


def _notes(results: Sequence[SetResult]) -> list[str]:
    lines = [
        f"{result.name}, {crops.name}: {crops.note}."
        for result in results
        for crops in result.crop_sets
        if crops.note
    ]
    return ["\n".join(lines)] if lines else []


def _boxes_table(results: Sequence[SetResult]) -> str:
    rows = []
    for result in results:
        for detector, counts in result.box_counts.items():
            images = counts.none + counts.one + counts.several
            row = {"data": result.name, "detector": detector, "no box": counts.none}
            row |= {"one": counts.one, "several": counts.several}
            rows.append(row | {"one, %": _percent(counts.one / images)})
    return _table(rows, words=2)


def _detection_table(results: Sequence[SetResult]) -> str:
    rows = []
    for result in results:
        for detector, figures in result.detectors.items():
            metrics = figures.metrics
            row = {"data": result.name, "detector": detector, "ms": f"{figures.milliseconds:.1f}"}
            row |= {"faces": metrics.recall.total, "found": _percent(metrics.recall.fraction)}
            row |= {f">= {WIDE_FACE_PX} px": _percent_of(metrics.large)}
            row |= {"boxes right": _percent(metrics.precision.fraction)}
            row |= {f"{width} px": _percent_of(ratio) for width, ratio in metrics.by_width.items()}
            rows.append(
                row | {label: _percent_of(ratio) for label, ratio in metrics.by_label.items()}
            )
    return _table(rows, words=2)


def _precision_table(results: Sequence[SetResult]) -> str:
    rows = []
    for result in results:
        for detector, figures in result.detectors.items():
            faces = figures.face_precision
            for model, precision in figures.precision.items():
                row = {"data": result.name, "detector": detector, "model": model}
                values = {"faces AP50": faces.ap50, "faces AP": faces.ap, "mAP50": precision.ap50}
                values |= {f"AP50 {name}": ap for name, ap in precision.ap50_by_class.items()}
                values |= {"mAP": precision.ap}
                values |= {f"AP {name}": ap for name, ap in precision.ap_by_class.items()}
                rows.append(row | {name: _percent(value) for name, value in values.items()})
    return _table(rows, words=3)


def _agreement_table(results: Sequence[SetResult]) -> str:
    rows = []
    for result in results:
        for crops in result.crop_sets:
            for pair, figures in crops.agreements.items():
                row = {"data": result.name, "crops": crops.name, "models": pair}
                row |= {"number": figures.crops, "same label": _percent(figures.same_label)}
                rows.append(row | {"largest difference": f"{figures.largest_difference:.4f}"})
    return _table(rows, words=3)


def _table(rows: Sequence[Mapping[str, object]], words: int) -> str:
    """A Markdown table of rows by column; the first columns, `words` of them, hold words.

    A cell that a row lacks is `-`.
    """
    from tabulate import tabulate

    columns = list(dict.fromkeys(column for row in rows for column in row))
    # A bar would end the cell.
    cells = [[str(row.get(name, "-")).replace("|", "/") for name in columns] for row in rows]
    return tabulate(
        cells,
        headers=[name.replace("|", "/") for name in columns],
        tablefmt="pipe",
        disable_numparse=True,  # it would write 5.10 as 5.1
        colalign=["left"] * words + ["right"] * (len(columns) - words),
    )


def _ratio_cells(ratios: Mapping[str, Ratio]) -> dict[str, str]:
    return {
        model: f"{ratio.count / ratio.total * 100:.1f} ({ratio.count}/{ratio.total})"
        for model, ratio in ratios.items()
    }


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{fraction * 100:.2f}"


def _percent_of(ratio: Ratio) -> str:
    return f"{_percent(ratio.fraction)} % of {ratio.total}" if ratio.total else "-"
