"""The figures, on examples small enough to work out by hand."""

import numpy as np
import pytest

from facemask.data.pascal_voc import AnnotatedFace
from facemask.evaluate import metrics
from facemask.evaluate.metrics import Ratio, expected_calibration_error, match_faces
from facemask.geometry import FaceBox

NAMES = ("with_mask", "without_mask")
MASKED, BARE = NAMES


def face(label: str, x: int, width: int = 20) -> AnnotatedFace:
    return AnnotatedFace(FaceBox(x, 0, x + width, 20, 1.0), label)


def box(x: int, confidence: float, width: int = 20) -> FaceBox:
    return FaceBox(x, 0, x + width, 20, confidence)


def rows(*masked: float) -> np.ndarray:
    """Probabilities of two classes, given those of with_mask."""
    return np.array([[value, 1 - value] for value in masked], np.float32).reshape(-1, 2)


# --- classes ---


def test_classification() -> None:
    """Three masked faces, two of them right, and one bare face, right."""
    found = metrics.classification([MASKED, MASKED, MASKED, BARE], rows(0.9, 0.8, 0.3, 0.1), NAMES)
    assert (found.crops, found.right, found.accuracy) == (4, 3, 0.75)
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert found.confusion == ((2, 1), (0, 1))
    masked, bare = found.classes[MASKED], found.classes[BARE]
    assert (masked.precision, masked.recall, masked.support) == (1.0, pytest.approx(2 / 3), 3)
    assert masked.f1 == pytest.approx(0.8)
    assert (bare.precision, bare.recall, bare.support) == (0.5, 1.0, 1)


def test_a_class_without_crops_has_no_recall_and_does_not_count() -> None:
    found = metrics.classification(
        [MASKED, MASKED], np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]), (*NAMES, "other")
    )
    assert found.balanced_accuracy == 0.5
    assert found.classes[BARE] == metrics.ClassFigures(0.0, None, 0.0, 0)
    assert found.classes["other"] == metrics.ClassFigures(None, None, None, 0)
    assert found.confusion == ((1, 1, 0), (0, 0, 0), (0, 0, 0))


def test_truth_goes_by_name_whatever_the_models_order() -> None:
    found = metrics.classification([BARE], np.array([[0.9, 0.1]]), (BARE, MASKED))
    assert found.accuracy == 1.0


@pytest.mark.parametrize("truth", [[], ["unknown"]])
def test_no_figures_of_nothing(truth: list[str]) -> None:
    with pytest.raises(ValueError, match="Expected crops of"):
        metrics.classification(truth, rows(*[0.5] * len(truth)), NAMES)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [  # by SciPy: binomtest(right, count).proportion_ci(method="wilson")
        (0, 10, 0.0, 0.27753), (10, 10, 0.72247, 1.0), (5, 10, 0.23659, 0.76341),
        (275, 276, 0.97977, 0.99936),
    ],
)  # fmt: skip
def test_wilson_interval(right: int, count: int, low: float, high: float) -> None:
    assert metrics.wilson_interval(right, count) == pytest.approx((low, high), abs=1e-5)


def test_calibration_error() -> None:
    """Two crops at 0.9, one right: 0.4 off. Two at 0.6, both right: 0.4 off the other way."""
    labels = np.array([0, 1, 0, 0])
    assert expected_calibration_error(labels, rows(0.9, 0.9, 0.6, 0.6)) == pytest.approx(0.4)


def test_within_a_bin_errors_even_out() -> None:
    """Three of four right at 0.75: as often as was said."""
    labels = np.array([0, 0, 0, 1])
    assert expected_calibration_error(labels, rows(0.75, 0.75, 0.75, 0.75)) == pytest.approx(0.0)


def test_certain_answers_have_a_bin_too() -> None:
    assert expected_calibration_error(np.array([0, 1]), rows(1.0, 1.0)) == pytest.approx(0.5)


def test_agreement() -> None:
    found = metrics.agreement(rows(0.9, 0.6, 0.2, 0.1), rows(0.8, 0.4, 0.2, 0.1))
    assert (found.crops, found.same_label) == (4, 0.75)
    assert found.largest_difference == pytest.approx(0.2)


# --- which detection is of which face ---


def test_a_box_belongs_to_the_face_that_it_overlaps_most() -> None:
    found = match_faces([face(MASKED, 0), face(BARE, 8)], [box(6, 0.9), box(1, 0.8)])
    assert found.matches == (1, 0)


@pytest.mark.parametrize(("width", "match"), [(40, 0), (41, None)])
def test_half_must_be_shared(width: int, match: int | None) -> None:
    assert match_faces([face(MASKED, 0)], [box(0, 0.9, width=width)]).matches == (match,)


def test_a_face_is_found_once_by_the_surest_box() -> None:
    found = match_faces([face(MASKED, 0)], [box(0, 0.7), box(1, 0.9), box(2, 0.8)])
    assert found.matches == (None, 0, None)


def test_nothing_to_match() -> None:
    assert match_faces([], [box(0, 0.9)]).matches == (None,)
    assert match_faces([face(MASKED, 0)], []).matches == ()


def test_finding() -> None:
    """Widths on both sides of each limit; the faces of 15, 24 and 60 pixels are found."""
    widths = (15, 16, 23, 24, 31, 32, 59, 60)
    places = np.cumsum((0, *widths)).tolist()
    faces = [
        face(MASKED if width < 40 else "other", x, width)
        for x, width in zip(places, widths, strict=False)
    ]
    boxes = [box(places[i], 0.9, widths[i]) for i in (0, 3, 7)]
    scenes = [match_faces(faces, [*boxes, box(1000, 0.9)]), match_faces([], [])]
    found = metrics.detection_metrics(scenes, NAMES)
    assert found.images == 2
    assert found.recall == Ratio(3, 8)
    assert found.precision == Ratio(3, 4)
    assert found.by_width == {
        "<16": Ratio(1, 1), "16-23": Ratio(0, 2), "24-31": Ratio(1, 2), "32-59": Ratio(0, 2),
        ">=60": Ratio(1, 1),
    }  # fmt: skip
    assert found.by_label == {MASKED: Ratio(2, 6), "other": Ratio(1, 2)}
    assert found.ignored == 2
    assert found.recall.fraction == 0.375
    assert Ratio(0, 0).fraction is None


# --- which crops are right ---


def test_right_by_group_and_model() -> None:
    """The first model is right on the first and the last crop, the second, reversed, on the second.

    Crops of no group or of no class count nowhere.
    """
    truth = [MASKED, MASKED, BARE, None, BARE]
    groups = ["near", "far", None, "far", "far"]
    values = rows(0.9, 0.1, 0.1, 0.1, 0.2)
    found = metrics.accuracy_by_group(
        groups, ["far", "none", "near"], truth,
        {"a": values, "b": values}, {"a": NAMES, "b": (BARE, MASKED)},
    )  # fmt: skip
    assert found == {
        "far": {"a": Ratio(1, 2), "b": Ratio(1, 2)},
        "near": {"a": Ratio(1, 1), "b": Ratio(0, 1)},
    }
    assert list(found) == ["far", "near"]


def test_right_by_group_of_nothing() -> None:
    assert metrics.accuracy_by_group([], ["near"], [], {"a": rows()}, {"a": NAMES}) == {}


@pytest.mark.parametrize(
    ("width", "name"), [(1, "<16"), (15, "<16"), (16, "16-23"), (59, "32-59"), (60, ">=60")]
)
def test_size_name(width: int, name: str) -> None:
    assert metrics.size_name(width) == name


# --- average precision ---


@pytest.mark.parametrize(
    ("true", "positives", "area"),
    [
        ([1, 1], 2, 1.0),
        ([1, 1], 4, 0.5),  # what is never found has no precision
        ([0, 1], 1, 0.5),
        ([1, 0, 1], 2, 0.5 + 0.5 * 2 / 3),
        ([1, 0, 0, 1, 1], 3, (1 + 0.6 + 0.6) / 3),  # the envelope lifts 2/4 to 3/5
        ([0, 0], 2, 0.0),
        ([], 2, 0.0),
    ],
)
def test_average_precision(true: list[int], positives: int, area: float) -> None:
    scores = np.linspace(0.9, 0.1, len(true))
    order = np.random.default_rng(0).permutation(len(true))
    found = metrics.average_precision(scores[order], np.array(true, dtype=bool)[order], positives)
    assert found == pytest.approx(area)


def test_average_precision_of_each_class() -> None:
    """Two scenes. Masked: a true one, and one on a bare face that is surer. Bare: never found."""
    scenes = [
        match_faces([face(MASKED, 0), face(BARE, 100)], [box(0, 0.6), box(100, 0.9)]),
        match_faces([face(MASKED, 0)], []),
    ]
    found = metrics.average_precisions(scenes, rows(0.9, 0.9), NAMES, NAMES)
    assert found == {MASKED: pytest.approx(0.25), BARE: 0.0}


def test_the_score_is_confidence_times_probability() -> None:
    """The false one has more confidence and less probability: 0.9 x 0.6 < 0.7 x 1."""
    scene = match_faces([face(MASKED, 0)], [box(100, 0.9), box(0, 0.7)])
    found = metrics.average_precisions([scene], rows(0.6, 1.0), NAMES, NAMES)
    assert found == {MASKED: 1.0, BARE: None}
    found = metrics.average_precisions([scene], rows(0.6, 0.7), NAMES, NAMES)
    assert found[MASKED] == 0.5


def test_a_face_of_an_unknown_class_is_neither_true_nor_false() -> None:
    """The surest box is of such a face; a second box of it is false all the same."""
    faces = [face("other", 0), face(MASKED, 100)]
    scene = match_faces(faces, [box(0, 0.9), box(100, 0.8)])
    assert metrics.average_precisions([scene], rows(0.9, 0.9), NAMES, NAMES)[MASKED] == 1.0
    twice = match_faces(faces, [box(0, 0.9), box(1, 0.85), box(100, 0.8)])
    assert metrics.average_precisions([twice], rows(0.9, 0.9, 0.9), NAMES, NAMES)[MASKED] == 0.5


def test_without_any_detection() -> None:
    scene = match_faces([face(MASKED, 0)], [])
    found = metrics.average_precisions([scene], rows(), NAMES, NAMES)
    assert found == {MASKED: 0.0, BARE: None}


def test_mean_of_what_is_known() -> None:
    assert metrics.nanmean([0.5, None, 1.0]) == 0.75
    assert metrics.nanmean([None]) is None
