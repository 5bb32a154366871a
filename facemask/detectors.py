"""The face detectors there are: choosing one, fetching what it needs, loading it."""

from collections.abc import Callable
from pathlib import Path

from facemask import downloads
from facemask.files import PROJECT
from facemask.pipeline import Detector

AUTO = "auto"


def choose(name: str, folder: Path, announce: Callable[[str], None]) -> str:
    """The name of a detector, with "auto" decided: the SSD where its weights lie in the folder.

    Otherwise it is the built-in one, which ships with the project, and that is announced. A folder
    that is not there was meant to hold the SSD's weights, so that loading will say what is wrong.
    """
    from facemask.detector import WEIGHTS_NAME, FaceDetector

    if name != AUTO:
        return name
    if FaceDetector.is_at_hand(folder) or not folder.is_dir():
        return "ssd"
    announce(
        f"{folder.name}/{WEIGHTS_NAME} is not there, so the built-in face detector is used"
        " (python -m facemask.downloads face-detector fetches the SSD)"
    )
    return "builtin"


def prepare(name: str, folder: Path, announce: Callable[[str], None]) -> str:
    """Choose, and fetch what is missing into the project's own folder; returns the name.

    Raises FacemaskError where it can't be had.
    """
    name = choose(name, folder, announce)
    if folder.resolve() == PROJECT / "face_detector":
        if name == "ssd":
            downloads.ensure_face_detector(folder, announce)
        elif name == "yunet":
            downloads.ensure_face_detector(folder, announce, resource=downloads.YUNET)
    return name


def weights_file(name: str, folder: Path) -> Path:
    """The file with the weights of a detector; folder as load_detector takes it."""
    from facemask import builtin, detector, yunet

    files = {
        "builtin": builtin.WEIGHTS,
        "yunet": folder / yunet.WEIGHTS_NAME,
        "ssd": folder / detector.WEIGHTS_NAME,
    }
    return files[name]


def load_detector(
    name: str, folder: Path, threads: int | None = None, tiles: int = 1, many: bool = False
) -> Detector:
    """Load a detector by its name: "ssd", "yunet" or "builtin".

    folder: of the weights of those that are fetched. threads: that LiteRT takes, by default one for
    each core; OpenCV follows cv2.setNumThreads. tiles: see tiling.TiledDetector. many: whether many
    images are to come; see FaceDetector.load. Raises FacemaskError when it can't be loaded.
    """
    detector = _load(name, folder, threads, many)
    if tiles == 1:
        return detector
    from facemask.tiling import TiledDetector

    return TiledDetector(detector, tiles)


def _load(name: str, folder: Path, threads: int | None, many: bool) -> Detector:
    if name == "builtin":
        from facemask.builtin import BuiltinFaceDetector

        return BuiltinFaceDetector.load(threads=threads)
    if name == "yunet":
        from facemask.yunet import YuNetFaceDetector

        return YuNetFaceDetector.load(folder)
    from facemask.detector import FaceDetector

    return FaceDetector.load(folder, threads, many)
