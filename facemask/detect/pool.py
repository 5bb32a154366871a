"""Both networks, in as many copies as there are threads that work side by side."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from facemask.detect.classifier import MaskClassifier, prefer_tflite
from facemask.detect.litert import IDENTIFIER
from facemask.detect.registry import load_detector
from facemask.detect.types import Classifier, Detector


class Networks:
    """The face detector and the classifier of a run, loaded when they are first needed."""

    def __init__(
        self,
        face: Path,
        model: Path,
        announce: Callable[[str], None],
        detector: str = "ssd",
        tiles: int = 1,
        bulk: bool = False,
        threads: int | None = None,
    ):
        """face: folder of the detector's weights; model: a file as MaskClassifier.load takes.

        detector: its name, and tiles and bulk, as detectors.load_detector takes them.
        threads: that each network of LiteRT runs on; by default, the detector on as many as
        OpenCV's detectors take, and the classifier as MaskClassifier.load chooses.
        """
        self._face, self._model, self._announce = face, model, announce
        self._detector, self._tiles, self._bulk = detector, tiles, bulk
        self._threads = threads
        self._free: list[tuple[Detector, Classifier]] = []
        self._shared: Classifier | None = None
        self._loaded = False
        self._lock = threading.Lock()

    def load(self) -> bool:
        """Load a first pair, and announce it; whether it was this call that did.

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
            # Keras takes seconds to load a model, which any number of threads may then call. An
            # interpreter of LiteRT is there at once, and serves one thread at a time.
            self._shared = None if _starts_as_litert(self._model) else classifier
            self._free.append((detector, classifier))
            self._loaded = True
            return True

    @contextmanager
    def acquire(self) -> Iterator[tuple[Detector, Classifier]]:
        """A pair that no other thread has meanwhile; one more is loaded where none is free."""
        self.load()
        try:
            pair = self._free.pop()
        except IndexError:
            classifier = self._shared or self._load_classifier()
            pair = self._load_detector(), classifier
        try:
            yield pair
        finally:
            self._free.append(pair)

    def _load_detector(self) -> Detector:
        # As many threads as OpenCV's detectors take: one, where images are worked on side by side.
        threads = self._threads or cv2.getNumThreads()
        return load_detector(self._detector, self._face, threads, self._tiles, self._bulk)

    def _load_classifier(self) -> MaskClassifier:
        if self._threads:
            return MaskClassifier.load(self._model, self._threads)
        return MaskClassifier.load(self._model)


def _starts_as_litert(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(8)[4:] == IDENTIFIER
    except OSError:
        return False
