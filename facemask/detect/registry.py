"""The face detectors there are: choosing one, fetching what it needs, loading it."""

from collections.abc import Callable
from pathlib import Path

from facemask.detect.types import Detector
from facemask.downloads import fetch
from facemask.files import PROJECT

AUTO = "auto"


def resolve(name: str, folder: Path, announce: Callable[[str], None]) -> str:
    """The name of a detector, with "auto" decided: the SSD where its weights lie in the folder.

    Otherwise it is the built-in one, which ships with the project, and that is announced. A folder
    that is not there was meant to hold the SSD's weights, so that loading will say what is wrong.
    """
    from facemask.detect.ssd import WEIGHTS_NAME, FaceDetector

    if name != AUTO:
        return name
    if FaceDetector.has_weights(folder) or not folder.is_dir():
        return "ssd"
    announce(
        f"{folder.name}/{WEIGHTS_NAME} is not there, so the built-in face detector is used"
        " (python -m facemask.downloads face-detector fetches the SSD)"
    )
    return "builtin"


def ensure_weights(name: str, folder: Path, announce: Callable[[str], None]) -> str:
    """Choose, and fetch what is missing into the project's own folder; returns the name.

    Raises FacemaskError where it can't be had.
    """
    name = resolve(name, folder, announce)
    if folder.resolve() == PROJECT / "face_detector":
        if name == "ssd":
            fetch.ensure_face_detector(folder, announce)
        elif name == "yunet":
            fetch.ensure_face_detector(folder, announce, resource=fetch.YUNET)
    return name


def weights_file(name: str, folder: Path) -> Path:
    """The file with the weights of a detector; folder as load_detector takes it."""
    from facemask.detect import builtin, ssd, yunet

    files = {
        "builtin": builtin.WEIGHTS,
        "yunet": folder / yunet.WEIGHTS_NAME,
        "ssd": folder / ssd.WEIGHTS_NAME,
    }
    return files[name]


def load_detector(
    name: str, folder: Path, threads: int | None = None, tiles: int = 1, bulk: bool = False
) -> Detector:
    """Load a detector by its name: "ssd", "yunet" or "builtin".

    folder: of the weights of those that are fetched. threads: that LiteRT takes, by default one for
    each core; OpenCV follows cv2.setNumThreads. tiles: see tiling.TiledDetector. bulk: whether many
    images are to come; see FaceDetector.load. Raises FacemaskError when it can't be loaded.
    """
    detector = _load(name, folder, threads, bulk)
    if tiles == 1:
        return detector
    from facemask.detect.tiling import TiledDetector

    return TiledDetector(detector, tiles)


def _load(name: str, folder: Path, threads: int | None, bulk: bool) -> Detector:
    if name == "builtin":
        from facemask.detect.builtin import BuiltinFaceDetector

        return BuiltinFaceDetector.load(threads=threads)
    if name == "yunet":
        from facemask.detect.yunet import YuNetFaceDetector

        return YuNetFaceDetector.load(folder)
    from facemask.detect.ssd import FaceDetector

    return FaceDetector.load(folder, threads, bulk)
