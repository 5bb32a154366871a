import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from facemask.detect import pool as pool_module
from facemask.detect.classifier import MaskClassifier
from facemask.detect.pipeline import detect_masks
from facemask.detect.pool import Networks
from facemask.detect.ssd import FaceDetector
from facemask.errors import FacemaskError
from facemask.images import read_image
from facemask.threads import MAX_WORKERS, in_order, one_thread_per_image

from ..conftest import FakeClassifier, FakeDetector
from ..train.test_export import FACTS, brightness_model, export_tflite


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each load makes a fake of its own."""
    monkeypatch.setattr(FaceDetector, "load", lambda *_: FakeDetector())
    monkeypatch.setattr(MaskClassifier, "load", lambda path, threads=None: FakeClassifier())


def model_of(content: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.write_bytes(content)
    return path


def test_the_first_load_is_announced_and_only_the_first(fakes: None, tmp_path: Path) -> None:
    said: list[str] = []
    pool = Networks(tmp_path, tmp_path / "m.keras", said.append)
    assert said == []
    assert pool.load()
    assert not pool.load()
    with pool.acquire(), pool.acquire():
        pass
    assert said == ["loading face detector model...", "loading face mask detector model..."]


def test_who_borrows_at_once_gets_a_detector_alone(fakes: None, tmp_path: Path) -> None:
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


def test_a_pair_comes_back_after_an_error(fakes: None, tmp_path: Path) -> None:
    pool = Networks(tmp_path, tmp_path / "m.keras", lambda message: None)
    with pytest.raises(ZeroDivisionError), pool.acquire() as (first, _):
        _ = 1 // 0
    with pool.acquire() as (second, _):
        assert first is second


def test_what_is_missing_is_said_by_each_call(tmp_path: Path) -> None:
    pool = Networks(tmp_path, tmp_path / "m.keras", lambda message: None)
    for _ in range(2):
        with pytest.raises(FacemaskError, match="no such file; expected the face detector"):
            pool.load()


def test_both_keep_to_the_threads_that_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(FaceDetector, "load", lambda _, threads, bulk: asked.append(threads))
    monkeypatch.setattr(
        MaskClassifier, "load", lambda path, threads=None: asked.append(threads) or FakeClassifier()
    )
    model = model_of(b"\x1c\x00\x00\x00TFL3", tmp_path)
    pool = Networks(tmp_path, model, lambda message: None, threads=3)
    with pool.acquire(), pool.acquire():
        pass
    assert asked == [3, 3, 3, 3]


@pytest.mark.parametrize(("threads", "workers"), [(1, 1), (3, 3), (64, MAX_WORKERS)])
def test_as_many_are_worked_on_as_opencv_has_threads(
    monkeypatch: pytest.MonkeyPatch, threads: int, workers: int
) -> None:
    now = [threads]
    monkeypatch.setattr(pool_module.cv2, "getNumThreads", lambda: now[-1])
    monkeypatch.setattr(pool_module.cv2, "setNumThreads", now.append)
    with one_thread_per_image() as several:
        assert several == workers
        assert now[-1] == 1
    assert now[-1] == threads


def test_where_not_wanted_each_image_gets_all_threads() -> None:
    threads = cv2.getNumThreads()
    with one_thread_per_image(wanted=False) as several:
        assert (several, cv2.getNumThreads()) == (1, threads)


def test_opencvs_threads_come_back_after_an_error() -> None:
    threads = cv2.getNumThreads()
    with pytest.raises(ZeroDivisionError), one_thread_per_image():
        _ = 1 // 0
    assert cv2.getNumThreads() == threads


def test_threads_with_interpreters_of_their_own_answer_as_one_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    export_tflite(tmp_path / "m.tflite", brightness_model(), FACTS)
    monkeypatch.setattr(FaceDetector, "load", lambda *_: FakeDetector())
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
def test_side_by_side_the_real_networks_find_the_same(assets: Path, trained_model: Path) -> None:
    pool = Networks(assets / "face_detector", trained_model, lambda message: None)
    paths = sorted((assets / "scenes" / "images").iterdir())[:12]

    def find(path: Path):
        with pool.acquire() as pair:
            return detect_masks(read_image(path), *pair)

    one_by_one = [find(path) for path in paths]
    with one_thread_per_image():
        assert list(in_order(find, paths, 3, 5)) == one_by_one
    assert sum(map(len, one_by_one)) > 5
