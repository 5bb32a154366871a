"""An evaluation as Markdown tables, aligned to be read as they are."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from facemask.class_names import INCORRECT, same_class
from facemask.evaluate.detection import (
    AP_CONFIDENCE,
    LARGE_FACE_PX,
    LIGHT_LIMITS,
    WIDE_FACE_PX,
)
from facemask.evaluate.group_figures import AS_THEY_ARE, MIN_GROUP, GroupCount
from facemask.evaluate.metrics import Classification, Ratio

NOTES = """\
Right: the share of crops that are given their class, with its 95 % interval (Wilson). Balanced: the
mean of the classes' shares. ECE: expected calibration error, how far the probabilities are from how
often they are right (Guo et al. 2017, 15 bins; 0 is best). `called`: of the crops that a model
gives a third class, the share that is of it. With or without: the share of the crops of these two
classes that gets the right one of them, whatever the probability of a third."""

DETECTION_NOTES = """\
Found: the share of the annotated faces that a box of the detector covers, with at least half shared
(intersection over union); also by the face's width, its class, and the light on it (dark: a mean
grey below {dark}; bright: from {bright} on). Boxes right: the share of the detector's boxes that
are of an annotated face. IoU: the mean intersection over union of the found faces of that width.
All are of boxes of more than {confidence:g} confidence. ms: for one of the photographs, stretched
to 640x480 pixels, the median of several calls of each detector in turn."""

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

LIGHT_TITLE = """\
Right by the light on the face (dark: a mean grey below {dark}; bright: from {bright} on), and of
the same faces without colours, as cameras give them at night."""

GROUP_TITLE = """\
Errors by group, in %, with their 95 % interval (Wilson)."""

GROUP_NOTES = """\
As they are: of the photographs. (few) marks a group of less than {least} faces, which is not
compared. Largest difference: in points, between the two groups that are farthest apart."""

DRAWN_NOTES = """\
The other columns are of the same faces with a mask drawn on: worn properly, below the nose, on the
chin. `: with_mask` is the share of these that is called with_mask, also by models that do not know
masks worn incorrectly. Drawn masks are not real ones: differences between groups say more than the
errors themselves."""

AGREEMENT_NOTES = "Same label: the share of crops that both models give the same class."

Rows = list[dict[str, Any]]  # cells by column
Records = Sequence[dict[str, Any]]  # of sets, see runner

# Columns of words are aligned on the left, the others on the right.
WORD_COLUMNS = (
    "data", "crops", "model", "models", "detector", "width", "colour", "light", "column", "group",
)  # fmt: skip


def tables(sets: Records, known: Sequence[str], confidence: float) -> str:
    """All tables of an evaluation, each with its notes.

    known: the classes that all models know; confidence: the operating point of the detectors.
    """
    notes = [
        f"{record['name']}, {row['name']}: {row['note']}."
        for record in sets
        for row in record["rows"]
        if row["note"]
    ]
    widths: Rows = [
        {"data": record["name"], "width": f"{width} px"} | _ratio_cells(ratios)
        for record in sets
        for width, ratios in record["by_width"].items()
    ]
    colours: Rows = [
        {"data": record["name"], "crops": record["rows"][0]["name"], "colour": colour}
        | _ratio_cells(ratios)
        for record in sets
        for colour, ratios in record["by_colour"].items()
    ]
    lights: Rows = [
        {"data": record["name"], "light": light} | _ratio_cells(ratios)
        for record in sets
        for light, ratios in record["by_light"].items()
    ]
    drawn = DRAWN_NOTES if any(len(record["by_group"]) > 1 for record in sets) else ""
    lowest = min(AP_CONFIDENCE, confidence)
    limits = dict(zip(("dark", "bright"), LIGHT_LIMITS, strict=True))
    blocks = [  # the text above, the rows, the texts below
        ("", _class_rows(sets, known), ["\n".join(notes), NOTES]),
        (WIDTH_TITLE, widths, []),
        (COLOUR_TITLE, colours, []),
        (LIGHT_TITLE.format(**limits), lights, []),
        (GROUP_TITLE, _group_rows(sets), [GROUP_NOTES.format(least=MIN_GROUP), drawn]),
        (BOXES_TITLE, _box_count_rows(sets), []),
        ("", _detection_rows(sets), [DETECTION_NOTES.format(confidence=confidence, **limits)]),
        ("", _precision_rows(sets), [PRECISION_NOTES.format(confidence=lowest)]),
        ("", _agreement_rows(sets), [AGREEMENT_NOTES]),
    ]
    texts = [
        text for above, rows, below in blocks if rows for text in (above, _table(rows), *below)
    ]
    return "\n\n".join(filter(None, texts)) + "\n"


def _third_class_cells(figures: Classification) -> dict[str, str]:
    """What counts beside recall where a model knows masks that are worn incorrectly."""
    if figures.with_or_without is None:
        return {}
    cells = {"with or without": _percent(figures.with_or_without.fraction)}
    incorrect = same_class(INCORRECT, figures.classes)
    if incorrect:
        cells[f"called {incorrect}"] = _percent(figures.classes[incorrect].precision)
    return cells


def _class_rows(sets: Records, known: Sequence[str]) -> Rows:
    rows: Rows = []
    for record in sets:
        for crops in record["rows"]:
            start = {"data": record["name"], "crops": crops["name"]}
            if not crops["figures"]:
                rows.append(start | {"model": "any", "number": 0})
            for model, figures in crops["figures"].items():
                low, high = figures.interval
                row = {
                    "model": model,
                    "number": figures.crops,
                    "right": _percent(figures.accuracy),
                    "95 %": f"{low * 100:.1f}-{high * 100:.1f}",
                    "balanced": _percent(figures.balanced_accuracy),
                    **{label: _percent(figures.classes[label].recall) for label in known},
                    **_third_class_cells(figures),
                    "ECE": f"{figures.calibration_error:.3f}",
                }
                rows.append(start | row)
    return rows


def _group_rows(sets: Records) -> Rows:
    rows: Rows = []
    for record in sets:
        measures: list[str] = ["number", *record["by_group"]]
        empty = dict.fromkeys(measures, "-")  # the columns in their order
        of_group: dict[tuple[str, str, str], dict[str, str]] = defaultdict(empty.copy)
        for measure, columns in record["by_group"].items():
            for column, groups in columns.items():
                for group, models in groups.items():
                    for model, count in models.items():
                        cells = of_group[column, group, model]
                        cells[measure] = _with_interval(count)
                        if measure == AS_THEY_ARE:
                            few = " (few)" if count.total < MIN_GROUP else ""
                            cells["number"] = f"{count.total}{few}"
                differences = record["group_differences"][measure].get(column, {})
                for model, largest in differences.items():
                    points = largest["difference"]
                    between = f" ({largest['highest']}, {largest['lowest']})" if points else ""
                    text = _percent(points) + between
                    of_group[column, "largest difference", model][measure] = text
        rows += [
            {"data": record["name"], "column": column, "group": group, "model": model} | cells
            for (column, group, model), cells in of_group.items()
        ]
    return rows


def _with_interval(count: GroupCount) -> str:
    low, high = count.interval
    return f"{_percent(count.count / count.total)} ({low * 100:.1f}-{high * 100:.1f})"


def _box_count_rows(sets: Records) -> Rows:
    return [
        {
            "data": record["name"],
            "detector": detector,
            "no box": counts["none"],
            "one": counts["one"],
            "several": counts["several"],
            "one, %": _percent(counts["one"] / sum(counts.values())),
        }
        for record in sets
        for detector, counts in record["box_counts"].items()
    ]


def _detection_rows(sets: Records) -> Rows:
    return [
        {
            "data": record["name"],
            "detector": detector,
            "ms": f"{record['milliseconds'][detector]:.1f}",
            "faces": metrics["recall"].total,
            "found": _percent(metrics["recall"].fraction),
            f">= {WIDE_FACE_PX} px": _percent_of(metrics["large"]),
            "boxes right": _percent(metrics["precision"].fraction),
            f"IoU >= {LARGE_FACE_PX} px": _percent(metrics["large_iou"]),
            **{f"{width} px": _percent_of(ratio) for width, ratio in metrics["by_width"].items()},
            **{label: _percent_of(ratio) for label, ratio in metrics["by_label"].items()},
            **{light: _percent_of(ratio) for light, ratio in metrics["by_light"].items()},
        }
        for record in sets
        for detector, metrics in record["findings"].items()
    ]


def _precision_rows(sets: Records) -> Rows:
    rows: Rows = []
    for record in sets:
        for detector, faces in record["face_average_precision"].items():
            for model in record["precisions"][detector]:
                values = {"faces AP50": faces["AP50"], "faces AP": faces["AP"]}
                for name, suffix in (("AP50", ""), ("AP", "_50_95")):
                    mean = record[f"mean_average_precision{suffix}"][detector][model]
                    by_class = record[f"precisions{suffix}"][detector][model]
                    values |= {f"m{name}": mean}
                    values |= {f"{name} {label}": value for label, value in by_class.items()}
                row = {"data": record["name"], "detector": detector, "model": model}
                rows.append(row | {name: _percent(value) for name, value in values.items()})
    return rows


def _agreement_rows(sets: Records) -> Rows:
    return [
        {
            "data": record["name"],
            "crops": crops["name"],
            "models": pair,
            "number": agreement["crops"],
            "same label": _percent(agreement["same_label"]),
            "largest difference": f"{agreement['largest_difference']:.4f}",
        }
        for record in sets
        for crops in record["rows"]
        for pair, agreement in crops["agreements"].items()
    ]


def _table(rows: Rows) -> str:
    """A Markdown table of rows by column. A cell that a row lacks is `-`."""
    from tabulate import tabulate

    columns = dict.fromkeys(column for row in rows for column in row)
    return tabulate(
        # A bar would end the cell.
        [[str(row.get(name, "-")).replace("|", "/") for name in columns] for row in rows],
        headers=[name.replace("|", "/") for name in columns],
        tablefmt="pipe",
        disable_numparse=True,  # it would write 5.10 as 5.1
        colalign=["left" if name in WORD_COLUMNS else "right" for name in columns],
    )


def _ratio_cells(ratios: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    return {
        model: f"{ratio['right'] / ratio['total'] * 100:.1f} ({ratio['right']}/{ratio['total']})"
        for model, ratio in ratios.items()
    }


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{fraction * 100:.2f}"


def _percent_of(ratio: Ratio) -> str:
    return f"{_percent(ratio.fraction)} % of {ratio.total}" if ratio.total else "-"
