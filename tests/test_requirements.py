"""The requirements files list what is imported, and bound what is known to break."""

import re
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import detect_mask_image
import detect_mask_video
import train_mask_detector
from facemask.evaluate import __main__ as evaluate
from facemask.files import PROJECT
from facemask.train_face_detector import __main__ as train_face_detector

from .sweep.harness import check, run_command
from .test_architecture import HEAVY, KERAS_DOORS, imports_of, modules, wing_of

# Of the wings that a light install runs.
LIGHT = ("ground", "downloads", "sample_dataset", "detect", "output", "batch", "video", "web")
# These have a requirements file of their own, and say so where they are missing.
OPTIONAL = {
    **dict.fromkeys(("dask", "distributed", "upath"), "archive"),
    **dict.fromkeys(("starlette", "uvicorn", "h11"), "web"),
    "jax": "cluster",
}


def required(name: str) -> set[str]:
    """The distributions that a requirements file names, in lower case."""
    text = (PROJECT / name).read_text(encoding="utf-8")
    return {match.lower() for match in re.findall(r"^([\w-]+)(?=\[|>=)", text, re.MULTILINE)}


def imported(wings: tuple[str, ...]) -> set[str]:
    """The top-level packages of others that the modules of some wings import anywhere."""
    names = {
        name.split(".")[0]
        for module, path in modules().items()
        if wing_of(module) in wings and not (wings == LIGHT and module in KERAS_DOORS)
        for name in imports_of(path)
    }
    return names - sys.stdlib_module_names - {"facemask", *OPTIONAL}


def distributions(packages: set[str]) -> set[str]:
    """What installs the packages; in lower case, and as requirements files spell it."""
    known = packages_distributions()
    found = {known[package][0].lower().replace("_", "-") for package in packages}
    return {name.removesuffix("-headless") for name in found}


def test_the_light_install_has_what_detection_imports() -> None:
    light = imported(LIGHT)
    assert {"cv2", "numpy", "av", "PIL"} <= light
    assert not light & HEAVY
    assert distributions(light) <= required("requirements-detect.txt")


def test_all_that_is_imported_is_required() -> None:
    wings = tuple({wing_of(module) for module in modules()})
    lists = required("requirements-detect.txt") | required("requirements-train.txt")
    assert distributions(imported(wings)) <= lists


def test_the_light_install_is_part_of_the_whole_one() -> None:
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert lines[1:] == ["-r requirements-detect.txt", "-r requirements-train.txt"]
    light, rest = required("requirements-detect.txt"), required("requirements-train.txt")
    assert not light & rest
    assert distributions(HEAVY) <= rest


@pytest.mark.parametrize(
    "requirement",
    ["tensorflow", "keras", "numpy", "av", "ai-edge-litert"],
)
def test_what_is_known_to_break_is_bounded(requirement: str) -> None:
    files = ("requirements-detect.txt", "requirements-train.txt")
    lines = [line for name in files for line in (PROJECT / name).read_text().splitlines()]
    assert any(re.match(rf"{requirement}>=[\d.]+,<[\d.]+", line) for line in lines)


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (train_mask_detector.main, "--dataset missing --weights none"),
        (evaluate.main, "--dataset missing --model pretrained/mask_detector.tflite"),
        (train_face_detector.main, "--scenes missing --face missing"),
        (detect_mask_image.main, "--image example.png --model own.keras --no-display"),
        (detect_mask_video.main, "--source example.png --model own.keras --no-display"),
    ],
)
def test_what_a_light_install_lacks_is_one_line_before_any_work(
    main: Callable[[list[str]], int],
    arguments: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The missing folders are not reported: they would be read after that."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(PROJECT / "examples" / "example_01.png", "example.png")
    shutil.copy(PROJECT / "pretrained" / "mask_detector.keras", "own.keras")
    for name in ("keras", "sklearn"):
        monkeypatch.setitem(sys.modules, name, None)  # so that importing it fails
    done = run_command(main, *arguments.split())
    check(done, 1, "; expected what `pip install -r requirements.txt` installs")
    assert done.errors[0].startswith(f"{sys.executable}: ")
