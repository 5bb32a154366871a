"""A tiny face detector, trained once by the command, for the tests that need one."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facemask.detect.builtin import BuiltinFaceDetector
from facemask.detect.types import Detector
from facemask.files import file_digest
from facemask.train.checkpoint import Checkpoint, History, State
from facemask.train.model import set_seed
from facemask.train_face_detector import __main__ as command
from facemask.train_face_detector import card, options, trainer
from facemask.train_face_detector.loading import Loaded
from facemask.train_face_detector.network import build_face_network
from facemask.train_face_detector.samples import AnnotatedImage

NO_BOXES = np.zeros((0, 4), np.float32)


def tiny_network() -> Any:
    """Of few channels; trained eagerly, since tracing takes longer than all steps."""
    network = build_face_network(stem=4, channels=8)
    network.compile = partial(network.compile, run_eagerly=True)
    return network


@dataclass(frozen=True)
class TinyRun:
    """One photograph with a bright square for a face; and the files of a run."""

    folder: Path
    image: AnnotatedImage
    histories: list[History]  # of the finished trainings

    @property
    def output(self) -> Path:
        return self.folder / "tiny.tflite"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "tiny.checkpoint.npz"

    @property
    def start(self) -> Path:
        return self.folder / "start.weights.h5"

    @property
    def weights(self) -> Path:
        return self.folder / "tiny.weights.h5"

    def main(self, *arguments: str, output: Path | None = None) -> int:
        """The command with tiny settings, to which the arguments are added."""
        return command.main([
            "--scenes", str(self.folder), "--start", str(self.start), "--steps", "1",
            "--batch-size", "2", "--epochs", "3", "--output", str(output or self.output),
            *arguments,
        ])  # fmt: skip


@contextmanager
def tiny_training(image: AnnotatedImage) -> Iterator[None]:
    """Within the block, the command trains a tiny network on one photograph."""
    images = {part: [image] for part in ("train", "validation", "test")}
    digests = {file_digest(image.path): "test"}
    conventions = {("street", True): np.array([0.0, 0.2, 0.0, 0.1])}
    loaded = Loaded(images, {"portraits": [image.path]}, digests, conventions)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "load_photographs", lambda args, folder: loaded)
        patch.setattr(command, "load_detectors", only_the_new_one)
        patch.setattr(options, "CROP_SIZE", 64)
        patch.setattr(options, "LARGE_CROP_SIZE", 64)
        patch.setattr(trainer, "VALIDATE_EVERY", 2)
        patch.setattr(trainer, "build_face_network", tiny_network)
        yield


def only_the_new_one(files: Sequence[Path], folder: Path) -> dict[str, Detector]:
    """The detectors of the card, without YuNet, whose weights may not be there."""
    return {files[0].stem: BuiltinFaceDetector.load(files[0])}


@pytest.fixture
def tiny(tiny_run: TinyRun) -> Iterator[TinyRun]:
    """The finished run, in a process that can repeat it."""
    with tiny_training(tiny_run.image):
        yield tiny_run


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A training that ended after its second epoch, and was resumed.

    `interrupted.checkpoint.npz` is the checkpoint of its second epoch.
    """
    folder = tmp_path_factory.mktemp("tiny") / "street"
    folder.mkdir()
    pixels = np.full((640, 640, 3), 60, np.uint8)
    pixels[300:330, 300:330] = 200
    cv2.imwrite(str(folder / "square.png"), pixels)
    box = np.array([[300, 300, 330, 330]], np.float32)
    image = AnnotatedImage(
        folder / "square.png", box, NO_BOXES, portrait=False, source="street", labels=("with_mask",)
    )
    histories: list[History] = []
    save, plot = Checkpoint.save, card.plot_history

    def save_and_stop(checkpoint: Checkpoint, stage: str, state: State) -> None:
        save(checkpoint, stage, state)
        if len(state.history["loss"]) == 2:
            raise KeyboardInterrupt

    def plot_and_note(path: Path, history: History) -> None:
        plot(path, history)
        histories.append(history)

    run = TinyRun(folder, image, histories)
    set_seed(options.SEED)
    trainer.save_weights(run.start, tiny_network())
    with tiny_training(image), pytest.MonkeyPatch.context() as patch:
        patch.setattr(card, "plot_history", plot_and_note)
        with pytest.MonkeyPatch.context() as early:
            early.setattr(Checkpoint, "save", save_and_stop)
            with pytest.raises(KeyboardInterrupt):
                run.main()
        shutil.copyfile(run.checkpoint, folder / "interrupted.checkpoint.npz")
        assert run.main("--resume", "--keep-weights", str(run.weights)) == 0
    return run
