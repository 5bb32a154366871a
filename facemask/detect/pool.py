"""Both networks, in as many copies as there are threads that use them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

import cv2

from facemask.detect.classifier import MaskClassifier, prefer_tflite
from facemask.detect.litert import is_tflite
from facemask.detect.registry import load_detector
from facemask.detect.types import Classifier, Detector

T = TypeVar("T")


class Networks:
    """The face detector and the classifier of a run, loaded when they are first needed."""

    def __init__(
        self,
        face: Path,
        model: Path,
        announce: Callable[[str], None],
        detector: str = "ssd",
        tiles: int = 1,
        merge_incorrect: str | None = None,
        threads: int | None = None,
        int8: bool = False,
    ):
        """face: the folder of the detector's weights; model: a file for MaskClassifier.load.

        announce: takes the messages of load. detector (its name), tiles, int8: see
        registry.load_detector. threads: for each network that LiteRT runs; by default, for the
        detector those of OpenCV, and for the classifier see LiteRTModel.load. merge_incorrect: a
        class for MaskClassifier.merge_incorrect, if that is wanted.
        """
        self._face, self._model, self._announce = face, model, announce
        self._detector, self._tiles = detector, tiles
        self._threads, self._int8, self._merge_incorrect = threads, int8, merge_incorrect
        self._free_detectors: list[Detector] = []
        self._free_classifiers: list[Classifier] = []
        self._shared: Classifier | None = None
        self._loaded = False
        self._lock = threading.Lock()

    def load(self) -> bool:
        """Load and announce a first pair of networks; False where that was done before.

        Raises FacemaskError as load_detector and MaskClassifier.load do.
        """
        with self._lock:
            if self._loaded:
                return False
            self._announce("loading face detector model...")
            detector = self._load_detector()
            self._announce("loading face mask detector model...")
            self._model = prefer_tflite(self._model, self._announce)
            classifier = self._load_classifier()
            # Keras takes seconds to load a model, and any number of threads may call it. LiteRT
            # loads at once, and one thread at a time may call an interpreter.
            self._shared = None if is_tflite(self._model) else classifier
            self._free_detectors.append(detector)
            self._free_classifiers.append(classifier)
            self._loaded = True
            return True

    @contextmanager
    def acquire(self) -> Iterator[tuple[Detector, Classifier]]:
        """Both networks for this thread alone, as detector() and classifier() give them."""
        with self.detector() as detector, self.classifier() as classifier:
            yield detector, classifier

    def detector(self) -> AbstractContextManager[Detector]:
        """A face detector for this thread alone; where none is free, one more is loaded."""
        self.load()
        return _taken(self._free_detectors, self._load_detector)

    def classifier(self) -> AbstractContextManager[Classifier]:
        """A classifier, as detector() gives one; but threads share that of a Keras model."""
        self.load()
        if self._shared:
            return nullcontext(self._shared)
        return _taken(self._free_classifiers, self._load_classifier)

    def _load_detector(self) -> Detector:
        # Inside threads.one_thread_per_image, OpenCV's number of threads is 1.
        threads = self._threads or cv2.getNumThreads()
        return load_detector(self._detector, self._face, threads, self._tiles, self._int8)

    def _load_classifier(self) -> MaskClassifier:
        # The first copy says what is to be said.
        announce = (lambda _: None) if self._loaded else self._announce
        classifier = MaskClassifier.load(self._model, self._threads, announce)
        into = self._merge_incorrect
        return classifier.merge_incorrect(into) if into else classifier


@contextmanager
def _taken(free: list[T], load: Callable[[], T]) -> Iterator[T]:
    """One of the free networks, or a new one; free again when the block ends."""
    try:
        network = free.pop()
    except IndexError:
        network = load()
    try:
        yield network
    finally:
        free.append(network)
