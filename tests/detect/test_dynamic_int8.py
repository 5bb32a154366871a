from pathlib import Path

import numpy as np
import pytest

from facemask.detect import ssd_litert
from facemask.detect.dynamic_int8 import quantize_weights
from facemask.detect.litert import LiteRTModel
from facemask.detect.ssd import SSDFaceDetector
from facemask.images import read_image


def of_convolution(kernels: np.ndarray) -> bytes:
    """A `.tflite` model that is one convolution of 1x1 pixels; kernels: (O, I) float32."""
    data = ssd_litert._Node("", (2, 3, kernels.shape[1]))
    output = ssd_litert._convolution(
        data, kernels[:, :, None, None], np.zeros(len(kernels), np.float32), {}
    )
    return ssd_litert._flatbuffer(data, output)


def test_a_convolution_is_rounded_by_less_than_a_hundredth() -> None:
    rng = np.random.default_rng(0)
    # Each kernel has its own scale: the second would vanish beside the first.
    kernels = (rng.normal(size=(2, 128)) * [[100], [1]]).astype(np.float32)
    images = rng.normal(size=(4, 2, 3, 128)).astype(np.float32)
    content = of_convolution(kernels)
    rounded = quantize_weights(content)
    expected = images @ kernels.T
    exact, near = (
        LiteRTModel.from_bytes(Path("m.tflite"), each, 1)(images) for each in (content, rounded)
    )
    assert exact == pytest.approx(expected, rel=1e-3, abs=1e-2)
    assert not np.array_equal(near, exact)
    error = np.abs(near - expected).mean(axis=(0, 1, 2)) / np.abs(expected).mean(axis=(0, 1, 2))
    assert (error < 0.02).all()
    assert quantize_weights(rounded) == rounded  # nothing is rounded twice


@pytest.mark.parametrize("products", [27, 63])
def test_small_convolutions_stay_as_they_are(products: int) -> None:
    kernels = np.linspace(-1, 1, 5 * products, dtype=np.float32).reshape(5, products)
    images = np.ones((1, 2, 3, products), np.float32)
    models = (each(of_convolution(kernels)) for each in (bytes, quantize_weights))
    first, second = (LiteRTModel.from_bytes(Path("m.tflite"), each, 1)(images) for each in models)
    assert np.array_equal(first, second)


@pytest.mark.assets
def test_the_ssd_finds_the_same_faces_in_int8(assets: Path) -> None:
    load = SSDFaceDetector.load
    detectors = [load(assets / "face_detector", 1, int8) for int8 in (False, True)]
    paths = sorted((assets / "dataset").glob("*/*"))[::70]
    assert len(paths) > 10
    for path in paths:
        expected, faces = (detector.detect(read_image(path)) for detector in detectors)
        assert len(faces) == len(expected) > 0
        assert all(face.iou(other) > 0.85 for face, other in zip(faces, expected, strict=True))
