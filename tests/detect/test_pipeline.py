import numpy as np
import pytest

from facemask.detect.pipeline import detect_masks
from facemask.errors import FacemaskError
from facemask.geometry import FaceBox

from ..conftest import FakeClassifier, FakeDetector

BRIGHT, DARK = FaceBox(0, 0, 10, 10, 0.9), FaceBox(20, 20, 30, 40, 0.6)


@pytest.fixture
def image() -> np.ndarray:
    image = np.zeros((50, 50, 3), np.uint8)
    image[:10, :10] = 255
    return image


def test_no_face_is_an_empty_list_without_a_call_of_the_classifier(image: np.ndarray) -> None:
    classifier = FakeClassifier()
    assert detect_masks(image, FakeDetector(), classifier) == []
    assert classifier.calls == []


def test_all_faces_of_an_image_go_to_the_classifier_in_one_call(image: np.ndarray) -> None:
    classifier = FakeClassifier()
    detections = detect_masks(image, FakeDetector(BRIGHT, DARK), classifier)
    assert classifier.calls == [2]
    assert [(item.face, item.label, item.probability) for item in detections] == [
        (BRIGHT, "with_mask", 0.9),
        (DARK, "without_mask", 0.8),
    ]


def test_confidence_reaches_the_detector(image: np.ndarray) -> None:
    (detection,) = detect_masks(image, FakeDetector(BRIGHT, DARK), FakeClassifier(), confidence=0.6)
    assert detection.face == BRIGHT


def test_crops_are_grown_by_the_margin_of_the_model(image: np.ndarray) -> None:
    classifier = FakeClassifier()
    classifier.margin = 2.0  # the bright tenth no longer fills its crop
    assert detect_masks(image, FakeDetector(BRIGHT), classifier)[0].label == "without_mask"


@pytest.mark.parametrize(
    ("uncertain", "labels"),
    [
        (0.0, ["with_mask", "without_mask"]),
        (0.8, ["with_mask", "without_mask"]),
        (0.81, ["with_mask", "uncertain"]),
        (0.9, ["with_mask", "uncertain"]),
        (1.0, ["uncertain", "uncertain"]),
    ],
)
def test_faces_of_strictly_less_probability_are_uncertain(
    image: np.ndarray, uncertain: float, labels: list[str]
) -> None:
    detector, classifier = FakeDetector(BRIGHT, DARK), FakeClassifier()
    detections = detect_masks(image, detector, classifier, uncertain=uncertain)
    assert [item.label for item in detections] == labels
    assert [item.probability for item in detections] == [0.9, 0.8]


def test_a_probability_of_one_is_never_uncertain(
    image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = FakeClassifier()
    monkeypatch.setattr(classifier, "predict", lambda crops: np.array([[0.0, 1.0]]))
    (detection,) = detect_masks(image, FakeDetector(BRIGHT), classifier, uncertain=1.0)
    assert detection.label == "without_mask"


def test_a_class_named_uncertain_is_not_mixed_up_with_the_label(
    image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = FakeClassifier()
    monkeypatch.setattr(classifier, "class_names", ("with_mask", "uncertain"))
    (detection,) = detect_masks(image, FakeDetector(DARK), classifier)
    assert detection.label == "uncertain"
    with pytest.raises(FacemaskError, match=r"--uncertain 0.5: the model has a class named"):
        detect_masks(image, FakeDetector(), classifier, uncertain=0.5)
