"""The face detectors by name: choosing one, fetching its weights, loading it.

Each detector's module is imported only when it is needed: cold starts stay fast.
"""

from collections.abc import Callable
from pathlib import Path

from facemask.detect.types import Detector
from facemask.downloads import fetch
from facemask.files import PROJECT, real_path

AUTO = "auto"


def resolve(name: str, folder: Path, announce: Callable[[str], None]) -> str:
    """The detector that a name stands for: "auto" is the SSD where the folder has its weights.

    Otherwise "auto" is the built-in one, which comes with the project. A line announces which it
    is. Where the folder does not exist it is the SSD too: the path is probably wrong, and loading
    names it.
    """
    from facemask.detect.ssd import SSDFaceDetector

    if name != AUTO:
        return name
    if not folder.is_dir():
        return "ssd"
    if SSDFaceDetector.has_weights(folder):
        announce("face detector: the SSD; --detector builtin finds more faces")
        return "ssd"
    announce("face detector: the built-in one")
    return "builtin"


def ensure_weights(name: str, folder: Path, announce: Callable[[str], None]) -> str:
    """Resolve a name, and fetch missing weights if the folder is the project's own.

    Returns the resolved name. Raises FacemaskError where the weights can't be fetched.
    """
    name = resolve(name, folder, announce)
    if real_path(folder) == PROJECT / "face_detector":
        if name == "ssd":
            fetch.ensure_face_detector(folder, announce)
        elif name == "yunet":
            fetch.ensure_face_detector(folder, announce, resource=fetch.YUNET)
    return name


def weights_file(name: str, folder: Path) -> Path:
    """The file with the weights of a detector; name and folder as for load_detector."""
    from facemask.detect import builtin, ssd, yunet

    files = {
        "builtin": builtin.WEIGHTS,
        "yunet": folder / yunet.WEIGHTS_NAME,
        "ssd": folder / ssd.WEIGHTS_NAME,
    }
    return files[name]


def load_detector(
    name: str,
    folder: Path,
    threads: int | None = None,
    tiles: int = 1,
    int8: bool = False,
    portraits: bool = False,
) -> Detector:
    """Load a detector by its resolved name: "ssd", "yunet" or "builtin".

    folder: of the weights of the first two. threads: for LiteRT, see LiteRTModel.load; YuNet has
    those of OpenCV, cv2.setNumThreads. tiles: N for N x N tiles, see tiling.TiledDetector.
    int8: whether nearly the same boxes will do, see SSDFaceDetector.load. portraits: whether images
    have one large face each, see PortraitSSD; only the SSD is faster then.
    Raises FacemaskError when the detector can't be loaded.
    """
    if name == "builtin":
        from facemask.detect.builtin import BuiltinFaceDetector

        detector = BuiltinFaceDetector.load(threads=threads)
    elif name == "yunet":
        from facemask.detect.yunet import YuNetFaceDetector

        detector = YuNetFaceDetector.load(folder)
    else:
        from facemask.detect.ssd import PORTRAIT_SIDE, PortraitSSD, SSDFaceDetector

        detector = SSDFaceDetector.load(folder, threads, int8)
        if portraits:
            small = SSDFaceDetector.load(folder, threads, int8, PORTRAIT_SIDE)
            detector = PortraitSSD(small, detector)
    if tiles == 1:
        return detector
    from facemask.detect.tiling import TiledDetector

    return TiledDetector(detector, tiles)
