"""What the tests share: the real assets, fakes whose answer is plain, and running the scripts."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from facemask.files import PROJECT
from facemask.geometry import FaceBox

from .train.small_training import drawn, drawn_training, small_recipe

__all__ = ["drawn", "drawn_training", "small_recipe"]  # fixtures for all wings

ASSETS = Path(os.environ.get("FACEMASK_ASSETS", PROJECT.parent / "shared" / "assets"))

# The suite must not open windows on a developer's screen; the window tests bring their own.
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
    """What a script's main says of wrong arguments: one line, status 2, and nothing done."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    output = capsys.readouterr()
    assert (end.value.code, output.out) == (2, "")
    assert output.err.count("\n") == 1
    return output.err


def obey_ctrl_c() -> None:
    """For Popen's preexec_fn: in the background of a shell, a process ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def in_order(output: str, *messages: str) -> bool:
    """Whether all the messages are there, one after the other."""
    places = [output.find(message) for message in messages]
    return min(places) >= 0 and places == sorted(places)


class FakeDetector:
    """Finds the faces it was made with, in every image."""

    def __init__(self, *faces: FaceBox):
        self.faces = list(faces)
        self.fetched: list[Path] = []  # folders that the scripts asked to fetch weights into

    def detect(self, image: np.ndarray, confidence: float = 0.5) -> list[FaceBox]:
        return [face for face in self.faces if face.confidence > confidence]


class FakeClassifier:
    """Says with_mask, 0.9, of crops that are bright on average; without_mask, 0.8, of others."""

    class_names = ("with_mask", "without_mask")
    margin = 0.0

    def __init__(self) -> None:
        self.calls: list[int] = []

    def predict(self, crops: list[np.ndarray]) -> np.ndarray:
        self.calls.append(len(crops))
        return np.array([[0.9, 0.1] if crop.mean() > 127 else [0.2, 0.8] for crop in crops])


@pytest.fixture
def fake_networks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeDetector:
    """Scripts run in this process find one face, (10, 10, 30, 30), and ask a fake model."""
    from facemask.detect import classifier, ssd
    from facemask.downloads import fetch

    fake = FakeDetector(FaceBox(10, 10, 30, 30, 0.9))
    monkeypatch.setattr(ssd.FaceDetector, "load", lambda *_: fake)
    monkeypatch.setattr(ssd.FaceDetector, "has_weights", lambda folder: True)
    monkeypatch.setattr(
        classifier.MaskClassifier, "load", lambda path, threads=None: FakeClassifier()
    )
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
        pytest.skip("no disk of memory to mount")
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
    """Run a script, or `-m MODULE`, as a user does: in a process of its own."""

    def run(
        *arguments: str | Path, env: dict[str, str] | None = None, cwd: Path = PROJECT
    ) -> subprocess.CompletedProcess[str]:
        command = [str(argument) for argument in arguments]
        if command[0].endswith(".py"):
            command[0] = str(PROJECT / command[0])
        return subprocess.run(
            [sys.executable, *command],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(PROJECT), **(env or {})},
            capture_output=True,
            text=True,
            timeout=280,
        )

    return run


@pytest.fixture(scope="session")
def photographs(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 200 of the real photographs, 100 of each class."""
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
    """The training script, run for two epochs on real photographs; and the folder it wrote to."""
    folder = tmp_path_factory.mktemp("training")
    done = run_script(
        "train_mask_detector.py", "--dataset", photographs, "--epochs", "2",
        "--learning-rate", "1e-3", "--model", folder / "m.keras", "--plot", folder / "plot.png",
        env={"KERAS_HOME": str(keras_home)},
    )  # fmt: skip
    return done, folder


@pytest.fixture(scope="session")
def trained_model(real_training: tuple[subprocess.CompletedProcess[str], Path]) -> Path:
    """A model that knows real photographs a little."""
    done, folder = real_training
    assert done.returncode == 0, done.stderr
    return folder / "m.keras"
