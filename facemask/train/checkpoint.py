"""The state of a training after its last whole epoch, in a file to go on from."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facemask.errors import FacemaskError
from facemask.files import reason, replacing

History = dict[str, list[float]]  # of each metric, a value an epoch: loss, val_loss and so on
Setting = bool | int | float | str


@dataclass(frozen=True)
class State:
    """Where one stage of a training is."""

    history: History
    variables: Sequence[np.ndarray]  # of the model and of the optimizer
    best_weights: Sequence[np.ndarray]  # of the best epoch, as Keras orders them; may be empty


class Checkpoint:
    """The file of a training that is not finished: the history of each stage, the last one's state.

    The file is replaced after each epoch, in one step: whatever ends the process, and when the
    disk is full, the state of an earlier epoch is there, whole.
    """

    def __init__(self, path: Path, run: Mapping[str, Setting], writes: bool = True):
        """run: what the training depends on, its data and its settings; checked in resume.

        writes: false in a process that is not the first one of several, which has the file.
        """
        self.path = path
        self.stages: dict[str, History] = {}  # of each stage that was begun, in order
        self._run, self._writes = dict(run), writes
        self._saved: State | None = None

    def resume(self, broadcast: Callable[[bytes], bytes] = bytes) -> bool:
        """Read the file; whether there is one.

        broadcast: Processes.broadcast, where several processes train: the first one reads the file,
        and all get its content.
        Raises FacemaskError for a file that is no checkpoint, or one of another run.
        """
        content = b""  # of no file
        try:
            if self._writes and self.path.exists():
                content = self.path.read_bytes() or b"empty"
        except OSError as error:
            raise FacemaskError(f"{self.path}: can't be read: {reason(error)}") from error
        content = broadcast(content)
        if not content:
            return False
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                header = json.loads(str(file["state"]))
                run, stages = dict(header["run"]), dict(header["curves"])
                variables, best_weights = (
                    [file[f"{kind}{number}"] for number in range(header[kind])]
                    for kind in ("now", "best")
                )
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise FacemaskError(
                f"{self.path}: expected the checkpoint of a training, found something else"
                f" ({error})"
            ) from error
        # As text, since older files have every setting as text.
        there, here = (
            {name: str(value) for name, value in each.items()} for each in (run, self._run)
        )
        differing = [
            f"{name} {there.get(name, 'unknown')} there, {here.get(name, 'unknown')} here"
            for name in sorted(there.keys() | here.keys())
            if there.get(name) != here.get(name)
        ]
        if differing:
            raise FacemaskError(
                f"{self.path}: is of another training ({'; '.join(differing)}); repeat that one's"
                " command with --resume, or leave --resume out to begin anew"
            )
        self.stages = stages
        self._saved = State(stages[self.stage], variables, best_weights) if stages else None
        return bool(stages)

    @property
    def stage(self) -> str:
        """The name of the last stage that was begun; empty before the first epoch."""
        return next(reversed(self.stages), "")

    def state(self, stage: str) -> State | None:
        """The state of a stage to go on from, if it is the last one that was begun."""
        return self._saved if stage == self.stage else None

    def save(self, stage: str, state: State) -> None:
        """Replace the file. Raises FacemaskError when it can't be written."""
        self.stages[stage] = {name: list(values) for name, values in state.history.items()}
        self._saved = None  # it was restored before there was anything new to save
        if not self._writes:
            return
        # The names in the file are those of its first version.
        arrays: dict[str, Any] = {
            f"{kind}{number}": array
            for kind, members in (("now", state.variables), ("best", state.best_weights))
            for number, array in enumerate(members)
        }
        header = {
            "run": self._run,
            "curves": self.stages,
            "now": len(state.variables),
            "best": len(state.best_weights),
        }
        with replacing(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, state=np.array(json.dumps(header)), **arrays)

    def remove(self) -> None:
        """Delete the file, when the training is finished."""
        self.path.unlink(missing_ok=True)


def checkpoint_path(model: Path) -> Path:
    """Where the checkpoint of a model that is being trained lies: beside it."""
    return model.with_suffix(".checkpoint.npz")
