"""Shared by all tests: the real assets, fake networks with a fixed result, and running scripts."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from facemask.files import PROJECT
from facemask.geometry import FaceBox

from .train.small_training import drawn, drawn_training, small_recipe

__all__ = ["drawn", "drawn_training", "small_recipe"]  # fixtures for all wings

ASSETS = Path(os.environ.get("FACEMASK_ASSETS", PROJECT.parent / "shared" / "assets"))

# The tests must not open windows on a developer's screen; the window tests start a virtual one.
os.environ.pop("DISPLAY", None)
os.environ.pop("WAYLAND_DISPLAY", None)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of real networks, photographs and video; skips the test where it is absent."""
    if not ASSETS.is_dir():
        pytest.skip(f"no assets at {ASSETS}")
    return ASSETS


@pytest.fixture(scope="session")
def keras_home(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A KERAS_HOME that holds the ImageNet weights, so that Keras fetches nothing."""
    home = tmp_path_factory.mktemp("keras")
    shutil.copytree(assets / "keras" / "models", home / "models", copy_function=shutil.copyfile)
    return home


def refusal(
    main: Callable[[list[str]], int], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> str:
    """The error of a script's main for wrong arguments: one line, with status 2."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    output = capsys.readouterr()
    assert (end.value.code, output.out) == (2, "")
    assert output.err.count("\n") == 1
    return output.err


def obey_ctrl_c() -> None:
    """For Popen's preexec_fn: a process in the background of a shell ignores Ctrl-C by default."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def in_order(output: str, *messages: str) -> bool:
    """Whether the output has all the messages, in this order."""
    positions = [output.find(message) for message in messages]
    return min(positions) >= 0 and positions == sorted(positions)


class FakeDetector:
    """Finds the same faces in every image."""

    def __init__(self, *faces: FaceBox):
        self.faces = list(faces)
        self.fetched: list[Path] = []  # folders into which a script fetched weights

    def detect(self, image: np.ndarray, confidence: float = 0.5) -> list[FaceBox]:
        return [face for face in self.faces if face.confidence > confidence]


class FakeClassifier:
    """Gives with_mask 0.9 for crops that are bright on average, without_mask 0.8 for others."""

    class_names = ("with_mask", "without_mask")
    margin = 0.0

    def __init__(self) -> None:
        self.calls: list[int] = []

    def in_terms_of(self, class_names: Iterable[str]) -> "FakeClassifier":
        return self

    def predict(self, crops: list[np.ndarray]) -> np.ndarray:
        self.calls.append(len(crops))
        return np.array([[0.9, 0.1] if crop.mean() > 127 else [0.2, 0.8] for crop in crops])


@pytest.fixture
def fake_networks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeDetector:
    """Scripts in this process find one face, (10, 10, 30, 30), and use a FakeClassifier."""
    from facemask.detect import classifier, ssd
    from facemask.downloads import fetch

    fake = FakeDetector(FaceBox(10, 10, 30, 30, 0.9))
    monkeypatch.setattr(ssd.SSDFaceDetector, "load", lambda *_: fake)
    monkeypatch.setattr(ssd.SSDFaceDetector, "has_weights", lambda folder: True)
    monkeypatch.setattr(classifier.MaskClassifier, "load", lambda *_, **__: FakeClassifier())
    monkeypatch.setattr(classifier, "check_model_file", lambda path: None)
    monkeypatch.setattr(
        fetch, "ensure_face_detector", lambda folder, announce: fake.fetched.append(folder)
    )
    monkeypatch.chdir(tmp_path)
    return fake


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KB; skips the test where this user may not mount one."""
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if not (sys.platform == "linux" and mount and unmount):
        pytest.skip("can't mount a tmpfs")
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    done = subprocess.run([mount, *options], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"may not mount a small disk: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([unmount, str(folder)], check=True)


@pytest.fixture(scope="session")
def run_script() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script, or `-m MODULE`, in a process of its own, as a user does."""

    def run(
        *arguments: str | Path, env: dict[str, str] | None = None, cwd: Path = PROJECT
    ) -> subprocess.CompletedProcess[str]:
        command = [str(argument) for argument in arguments]
        path = {"PYTHONPATH": str(PROJECT)}  # for -m and -c, which look in cwd alone
        if command[0].endswith(".py"):
            command[0] = str(PROJECT / command[0])
            path = {"PYTHONPATH": ""}
        return subprocess.run(
            [sys.executable, *command],
            cwd=cwd,
            env={**os.environ, **path, **(env or {})},
            capture_output=True,
            text=True,
            timeout=280,
        )

    return run


@pytest.fixture(scope="session")
def photographs(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 200 real photographs, 100 of each class."""
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("with_mask", "without_mask"):
        (folder / name).mkdir()
        for path in sorted((assets / "dataset" / name).iterdir())[::6][:100]:
            (folder / name / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="session")
def real_training(
    photographs: Path,
    keras_home: Path,
    run_script: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A run of the training script for two epochs on real photographs, and its output folder."""
    folder = tmp_path_factory.mktemp("training")
    done = run_script(
        "train_mask_detector.py", "--dataset", photographs, "--epochs", "2",
        "--learning-rate", "1e-3", "--model", folder / "m.keras", "--plot", folder / "plot.png",
        env={"KERAS_HOME": str(keras_home)},
    )  # fmt: skip
    return done, folder


@pytest.fixture(scope="session")
def trained_model(real_training: tuple[subprocess.CompletedProcess[str], Path]) -> Path:
    """A model trained for two epochs on real photographs."""
    done, folder = real_training
    assert done.returncode == 0, done.stderr
    return folder / "m.keras"
