"""Public objects give eight threads at once what they give one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facemask.detect.builtin import BuiltinFaceDetector
from facemask.detect.classifier import MaskClassifier
from facemask.detect.ssd import SSDFaceDetector
from facemask.detect.yunet import YuNetFaceDetector
from facemask.files import PROJECT
from facemask.images import read_image

CALLS = 32  # enough that the threads meet


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Faces in images of several sizes, so that each call may change the networks' input."""
    image = read_image(PROJECT / "examples" / "example_01.png")
    height, width = image.shape[:2]
    return [
        cv2.resize(image, (round(width * x), round(height * y)))
        for x, y in ((0.5, 0.5), (0.5, 0.3), (0.3, 0.5), (0.4, 0.4))
    ]


def same_on_threads(function: Callable[[Any], Any], items: list[Any]) -> None:
    expected = [function(item) for item in items]
    assert len({str(value) for value in expected}) == len(items)  # a mixed-up result would show
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(function, items * (CALLS // len(items))))
    for number, result in enumerate(results):
        np.testing.assert_equal(result, expected[number % len(items)])


@pytest.mark.parametrize("suffix", [".tflite", ".keras"])
def test_a_classifier_can_be_shared(suffix: str, pictures: list[np.ndarray]) -> None:
    classifier = MaskClassifier.load(PROJECT / "pretrained" / f"mask_detector{suffix}", threads=1)
    same_on_threads(lambda picture: classifier.predict([picture]), pictures)


@pytest.mark.parametrize(
    "load",
    [
        lambda folder: BuiltinFaceDetector.load(threads=1),
        pytest.param(YuNetFaceDetector.load, marks=pytest.mark.assets),
        pytest.param(SSDFaceDetector.load, marks=pytest.mark.assets),
    ],
    ids=["builtin", "yunet", "ssd"],
)
def test_a_face_detector_can_be_shared(
    load: Callable[[Path], Any], pictures: list[np.ndarray], request: pytest.FixtureRequest
) -> None:
    real = request.node.get_closest_marker("assets")
    folder = request.getfixturevalue("assets") / "face_detector" if real else Path()
    detector = load(folder)
    same_on_threads(lambda picture: detector.detect(picture, 0.1), pictures)
