"""An evaluation as tables to read, as data, and as pictures."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from facemask.evaluate.metrics import WIDE_FACE_PX, Ratio, nanmean
from facemask.evaluate.runner import SetResult

if TYPE_CHECKING:
    pass

NOTES = """\
Right: the share of crops that are given their class, with its 95 % interval (Wilson). Balanced: the
mean of the classes' shares. ECE: expected calibration error, how far the probabilities are from how
often they are right (Guo et al. 2017, 15 bins; 0 is best)."""

DETECTION_NOTES = """\
Found: the share of the annotated faces that a box of the detector covers, with at least half shared
(intersection over union); also by the face's width, and by its class. Boxes right: the share of the
detector's boxes that are of an annotated face. ms: for one of the photographs, stretched to 640x480
pixels, the median of several calls of each detector in turn. AP: average precision at that overlap
(Pascal VOC 2010, all points); a box's score is the detector's confidence times the class's
probability. All of this is of boxes of more than {confidence:g} confidence, so that no AP exceeds
the faces found."""

WIDTH_TITLE = """\
Right by face width: the annotated faces of known classes, of any width, in their own boxes."""

BOXES_TITLE = """\
Images of class folders by how many faces a detector finds in them."""

COLOUR_TITLE = """\
Masked faces right by colour of the mask: the colour is a coarse guess from the pixels, which the
light changes."""


def tables(results: Sequence[SetResult], known: Sequence[str], confidence: float) -> str:
    """The figures as Markdown tables that are aligned to be read as they are, and their notes."""
    parts = [_classes_table(results, known), NOTES]
    if any(result.by_width for result in results):
        parts += [WIDTH_TITLE, _width_table(results)]
    if any(result.by_colour for result in results):
        parts += [COLOUR_TITLE, _colour_table(results)]
    if any(result.box_counts for result in results):
        parts += [BOXES_TITLE, _boxes_table(results)]
    if any(result.findings for result in results):
        parts += [
            _finding_table(results),
            _precision_table(results, known),
            DETECTION_NOTES.format(confidence=confidence),
        ]
    if any(row.agreements for result in results for row in result.rows):
        parts += [
            _agreement_table(results),
            "Same label: the share of crops that both models give the same class.",
        ]
    return "\n\n".join(parts) + "\n"


def _classes_table(results: Sequence[SetResult], known: Sequence[str]) -> str:
    head = ["data", "crops", "model", "number", "right", "95 %", "balanced", *known, "ECE"]
    lines = []
    for result in results:
        for row in result.rows:
            if not row.figures:
                lines.append([result.name, row.name, "any", "0", *["-"] * (len(head) - 4)])
            for model, figures in row.figures.items():
                low, high = figures.interval
                lines.append(
                    [
                        result.name,
                        row.name,
                        model,
                        str(figures.crops),
                        _percent(figures.accuracy),
                        f"{low * 100:.1f}-{high * 100:.1f}",
                        _percent(figures.balanced_accuracy),
                        *(_percent(figures.classes[name].recall) for name in known),
                        f"{figures.calibration_error:.3f}",
                    ]
                )
    notes = [
        f"{result.name}, {row.name}: {row.note}."
        for result in results
        for row in result.rows
        if row.note
    ]
    return "\n".join([_table(head, lines, words=3), "", *notes]).rstrip()


def _width_table(results: Sequence[SetResult]) -> str:
    found = [
        ([result.name, f"{width} px"], shares)
        for result in results
        for width, shares in result.by_width.items()
    ]
    return _shares_table(["data", "width"], found)


def _colour_table(results: Sequence[SetResult]) -> str:
    found = [
        ([result.name, result.rows[0].name, colour], shares)
        for result in results
        for colour, shares in result.by_colour.items()
    ]
    return _shares_table(["data", "crops", "colour"], found)


def _shares_table(
    head: Sequence[str], found: Sequence[tuple[Sequence[str], Mapping[str, Ratio]]]
) -> str:
    """A line for each group of crops: what it is, then a column for each model."""
    lines = [
        [
            *words,
            *(
                f"{share.count / share.total * 100:.1f} ({share.count}/{share.total})"
                for share in shares.values()
            ),
        ]
        for words, shares in found
    ]
    return _table([*head, *found[0][1]], lines, words=len(head))


def _boxes_table(results: Sequence[SetResult]) -> str:
    lines = [
        [
            result.name,
            detector,
            *map(str, (counts.none, counts.one, counts.several)),
            _percent(counts.one / (counts.none + counts.one + counts.several)),
        ]
        for result in results
        for detector, counts in result.box_counts.items()
    ]
    head = ["data", "detector", "no box", "one", "several", "one, %"]
    return _table(head, lines, words=2)


def _finding_table(results: Sequence[SetResult]) -> str:
    found = [
        (result.name, detector, finding, result.milliseconds[detector])
        for result in results
        for detector, finding in result.findings.items()
    ]
    widths = list(found[0][2].by_width)
    labels = sorted({label for *_, finding, _ in found for label in finding.by_label})
    head = [
        *("data", "detector", "faces", "found", f">= {WIDE_FACE_PX} px", "boxes right"),
        *(f"{width} px" for width in widths),
        *labels,
        "ms",
    ]
    lines = [
        [
            name,
            detector,
            str(finding.recall.total),
            _percent(finding.recall.fraction),
            _share(finding.large),
            _percent(finding.precision.fraction),
            *(_share(finding.by_width[width]) for width in widths),
            *(_share(finding.by_label.get(label, Ratio(0, 0))) for label in labels),
            f"{milliseconds:.1f}",
        ]
        for name, detector, finding, milliseconds in found
    ]
    return _table(head, lines, words=2)


def _precision_table(results: Sequence[SetResult], known: Sequence[str]) -> str:
    lines = [
        [
            result.name,
            detector,
            model,
            *map(_percent, found.values()),
            _percent(nanmean([*found.values()])),
        ]
        for result in results
        for detector, by_model in result.precisions.items()
        for model, found in by_model.items()
    ]
    head = ["data", "detector", "model", *(f"AP {name}" for name in known), "mAP"]
    return _table(head, lines, words=3)


def _agreement_table(results: Sequence[SetResult]) -> str:
    lines = [
        [
            result.name,
            row.name,
            pair,
            str(found.crops),
            _percent(found.same_label),
            f"{found.largest_difference:.4f}",
        ]
        for result in results
        for row in result.rows
        for pair, found in row.agreements.items()
    ]
    head = ["data", "crops", "models", "number", "same label", "largest difference"]
    return _table(head, lines, words=3)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], words: int) -> str:
    """A Markdown table; the first columns, `words` of them, hold words, the others figures."""
    cells = [[cell.replace("|", "/") for cell in line] for line in (head, *lines)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    padded = [
        [
            cell.ljust(width) if column < words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in cells
    ]
    rule = [
        "-" * width if column < words else "-" * (width - 1) + ":"
        for column, width in enumerate(widths)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:]))


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{fraction * 100:.2f}"


def _share(share: Ratio) -> str:
    return f"{_percent(share.fraction)} % of {share.total}" if share.total else "-"
