import threading
from pathlib import Path

import numpy as np
import pytest

from facemask.detect.classifier import MaskClassifier
from facemask.detect.metadata import ModelMetadata
from facemask.detect.pipeline import detect_masks
from facemask.detect.pool import Networks
from facemask.detect.ssd import SSDFaceDetector
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.images import read_image
from facemask.threads import in_order, one_thread_per_image
from facemask.train.export import export_tflite

from ..conftest import FakeClassifier, FakeDetector
from .test_classifier import RED_OR_DARK, brightness_model


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each load makes a new fake."""
    monkeypatch.setattr(SSDFaceDetector, "load", lambda *_: FakeDetector())
    monkeypatch.setattr(MaskClassifier, "load", lambda *_: FakeClassifier())


def model_of(content: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.write_bytes(content)
    return path


def test_the_first_load_is_announced_and_only_the_first(fakes: None, tmp_path: Path) -> None:
    messages: list[str] = []
    pool = Networks(tmp_path, tmp_path / "m.keras", messages.append)
    assert messages == []
    assert pool.load()
    assert not pool.load()
    with pool.acquire(), pool.acquire():
        pass
    assert messages == ["loading face detector model...", "loading face mask detector model..."]


def test_threads_do_not_share_a_detector(fakes: None, tmp_path: Path) -> None:
    pool = Networks(tmp_path, tmp_path / "m.keras", lambda message: None)
    with pool.acquire() as (first, _), pool.acquire() as (second, _):
        assert first is not second
    with pool.acquire() as (again, _):
        assert again in (first, second)


@pytest.mark.parametrize(
    ("content", "shared"), [(b"PK\x03\x04....", True), (b"\x1c\x00\x00\x00TFL3", False)]
)
def test_a_keras_model_is_shared_and_an_interpreter_is_not(
    fakes: None, tmp_path: Path, content: bytes, shared: bool
) -> None:
    pool = Networks(tmp_path, model_of(content, tmp_path), lambda message: None)
    with pool.acquire() as (_, first), pool.acquire() as (_, second):
        assert (first is second) == shared


def test_each_copy_merges_the_incorrect_class(
    fakes: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    three = ModelMetadata(("with_mask", "without_mask", "incorrect"))
    monkeypatch.setattr(MaskClassifier, "load", lambda *_: MaskClassifier(lambda x: x, three))
    model = model_of(b"\x1c\x00\x00\x00TFL3", tmp_path)
    pool = Networks(tmp_path, model, lambda message: None, merge_incorrect="without_mask")
    with pool.acquire() as (_, first), pool.acquire() as (_, second):
        assert first.class_names == second.class_names == ("with_mask", "without_mask")


def test_a_thread_that_only_finds_faces_takes_no_classifier(
    fakes: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loads: list[Path] = []
    monkeypatch.setattr(
        MaskClassifier, "load", lambda path, *_: loads.append(path) or FakeClassifier()
    )
    pool = Networks(tmp_path, model_of(b"\x1c\x00\x00\x00TFL3", tmp_path), lambda message: None)
    with pool.detector() as first, pool.detector() as second, pool.classifier() as classifier:
        assert first is not second
    with pool.acquire() as (_, again):
        assert again is classifier
    assert len(loads) == 1


def test_a_pair_comes_back_after_an_error(fakes: None, tmp_path: Path) -> None:
    pool = Networks(tmp_path, tmp_path / "m.keras", lambda message: None)
    with pytest.raises(ZeroDivisionError), pool.acquire() as (first, _):
        _ = 1 // 0
    with pool.acquire() as (second, _):
        assert first is second


def test_each_call_reports_missing_weights(tmp_path: Path) -> None:
    pool = Networks(tmp_path, tmp_path / "m.keras", lambda message: None)
    for _ in range(2):
        with pytest.raises(FacemaskError, match="no such file; expected the face detector"):
            pool.load()


def test_both_networks_get_the_number_of_threads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counts: list[object] = []
    monkeypatch.setattr(SSDFaceDetector, "load", lambda _, threads, *__: counts.append(threads))
    monkeypatch.setattr(
        MaskClassifier,
        "load",
        lambda path, threads, announce: counts.append(threads) or FakeClassifier(),
    )
    model = model_of(b"\x1c\x00\x00\x00TFL3", tmp_path)
    pool = Networks(tmp_path, model, lambda message: None, threads=3)
    with pool.acquire(), pool.acquire():
        pass
    assert counts == [3, 3, 3, 3]


def test_threads_with_an_interpreter_each_give_the_same_probabilities(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    export_tflite(tmp_path / "m.tflite", brightness_model(), RED_OR_DARK)
    monkeypatch.setattr(SSDFaceDetector, "load", lambda *_: FakeDetector())
    pool = Networks(tmp_path, tmp_path / "m.tflite", lambda message: None)
    crops = [np.full((8, 8, 3), (0, 0, red), np.uint8) for red in range(0, 250, 5)]
    together = threading.Barrier(2, timeout=10)

    def predict(crop: np.ndarray) -> np.ndarray:
        with pool.acquire() as (_, classifier):
            together.wait()
            return classifier.predict([crop])[0]

    expected = MaskClassifier.load(tmp_path / "m.tflite").predict(crops)
    assert np.array_equal(np.stack(list(in_order(predict, crops, 2, 4))), expected)


@pytest.mark.assets
def test_on_several_threads_the_real_networks_find_the_same(assets: Path) -> None:
    pool = Networks(
        assets / "face_detector",
        PROJECT / "pretrained" / "mask_detector.keras",
        lambda message: None,
    )
    paths = sorted((assets / "scenes" / "images").iterdir())[:12]

    def find(path: Path):
        with pool.acquire() as pair:
            return detect_masks(read_image(path), *pair)

    expected = [find(path) for path in paths]
    with one_thread_per_image():
        assert list(in_order(find, paths, 3, 5)) == expected
    assert sum(map(len, expected)) > 5
