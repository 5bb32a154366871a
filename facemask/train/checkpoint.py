"""The state of a training after its last whole epoch, in a file to go on from."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facemask.errors import FacemaskError
from facemask.files import reason, replacing

History = dict[str, list[float]]  # loss, accuracy, val_loss, val_accuracy: a value an epoch


@dataclass(frozen=True)
class State:
    """Where one stage of a training is."""

    curves: History
    now: Sequence[np.ndarray]  # of all variables, the optimizer's among them
    best: Sequence[np.ndarray]  # the weights of the least validation loss, as Keras orders them


class Checkpoint:
    """What is kept of a training under way: the curves of each stage, the last one's state.

    The file is replaced after each epoch, in one step: whatever ends the process, and when the
    disk is full, the state of an earlier epoch is there, whole.
    """

    def __init__(self, path: Path, run: Mapping[str, str], writes: bool = True):
        """run: what the training depends on, its data and its settings; checked in resume.

        writes: false for a worker who only follows, whose chief has the file.
        """
        self.path = path
        self.stages: dict[str, History] = {}  # of each stage that was begun, in order
        self._run, self._writes = dict(run), writes
        self._saved: State | None = None

    def resume(self) -> bool:
        """Read the file; whether there is one.

        Raises FacemaskError for a file that is no checkpoint, or one of another run.
        """
        if not self.path.exists():
            return False
        try:
            with np.load(self.path, allow_pickle=False) as file:
                said = json.loads(str(file["state"]))
                run, curves = dict(said["run"]), dict(said["curves"])
                now, best = (
                    [file[f"{kind}{number}"] for number in range(said[kind])]
                    for kind in ("now", "best")
                )
        except OSError as error:
            raise FacemaskError(f"{self.path}: can't be read: {reason(error)}") from error
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise FacemaskError(
                f"{self.path}: expected the checkpoint of a training, found something else"
                f" ({error})"
            ) from error
        differing = [
            f"{name} {run.get(name, 'unknown')} there, {self._run.get(name, 'unknown')} here"
            for name in sorted(run.keys() | self._run.keys())
            if run.get(name) != self._run.get(name)
        ]
        if differing:
            raise FacemaskError(
                f"{self.path}: is of another training ({'; '.join(differing)}); repeat that one's"
                " command with --resume, or leave --resume out to begin anew"
            )
        self.stages = curves
        self._saved = State(curves[self.stage], now, best) if curves else None
        return bool(curves)

    @property
    def stage(self) -> str:
        """The name of the last stage that was begun; empty before the first epoch."""
        return next(reversed(self.stages), "")

    def state(self, stage: str) -> State | None:
        """The state of a stage to go on from, if it is the last one that was begun.

        It has no arrays for a worker who only follows.
        """
        if stage != self.stage:
            return None
        return self._saved or State(self.stages[stage], [], [])

    def save(self, stage: str, state: State) -> None:
        """Replace the file. Raises FacemaskError when it can't be written."""
        self.stages[stage] = {name: list(curve) for name, curve in state.curves.items()}
        if not self._writes:
            return
        self._saved = None  # it was restored before there was anything new to save
        arrays = {
            f"{kind}{number}": array
            for kind in ("now", "best")
            for number, array in enumerate(getattr(state, kind))
        }
        said = {
            "run": self._run,
            "curves": self.stages,
            "now": len(state.now),
            "best": len(state.best),
        }
        with replacing(self.path) as part, part.open("wb") as file:
            np.savez(file, state=np.array(json.dumps(said)), **arrays)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def checkpoint_path(model: Path) -> Path:
    """Where the checkpoint of a model under way lies: beside it."""
    return model.with_suffix(".checkpoint.npz")
