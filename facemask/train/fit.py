"""Building, training, judging and saving a mask classifier."""

import math
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from facemask.errors import FacemaskError
from facemask.keras_backend import load_keras
from facemask.train import cluster
from facemask.train.checkpoint import Checkpoint, History, State
from facemask.train.cluster import Cluster

CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")
# Training ends when the validation loss was not lower for so many epochs.
PATIENCE = 5


class Interrupted(Exception):
    """Ctrl-C ended a training. The model has the best weights so far.

    curves: of the epochs that were finished, as train returns them; the best one may be of an
    earlier stage.
    """

    def __init__(self, curves: History):
        super().__init__("interrupted")
        self.curves = curves


def train(
    model: Any,
    training: Any,
    validation: Any,
    *,
    epochs: int,
    learning_rate: float,
    decay: bool = False,
    early_stopping: bool = True,
    quiet: bool = False,
    stage: str = "head",
    checkpoint: Checkpoint | None = None,
    mixed: bool = False,
    tensorboard: Path | None = None,
    best_before: float = math.inf,
    group: Cluster | None = None,
) -> History:
    """Train what is trainable of the model, with Keras's progress bars unless quiet.

    training, validation: as stream.batches makes them. early_stopping: end when the validation
    loss no longer falls, and keep the weights of the epoch where it was least. decay: let the
    learning rate fall to zero along a cosine; then nothing ends early and the last weights are
    kept, which had more right answers than those of the least loss, whose first epochs a few wrong
    labels cost less.
    checkpoint: where the state is kept after each epoch under the name of the stage, and where a
    stage that it has a state of goes on. mixed: calculate in float16, and keep the variables in
    float32. tensorboard: a folder for the curves, of each stage in one of its name.
    best_before: the validation loss of the weights that the model has now. group: the workers that
    train together; the streams are then this worker's shares, see cluster.fit.
    Returns the curves, a value an epoch: loss, accuracy, val_loss, val_accuracy.
    Raises FacemaskError when an image can't be read any more or the checkpoint can't be written,
    and Interrupted for Ctrl-C, once there are weights to keep.
    """
    keras = load_keras()
    steps = epochs * len(training)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps) if decay else learning_rate
    optimizer = keras.optimizers.Adam(rate)
    model.compile(
        optimizer=keras.optimizers.LossScaleOptimizer(optimizer) if mixed else optimizer,
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.optimizer.build(model.trainable_variables)
    patience = PATIENCE if early_stopping and not decay else epochs
    follower = _follower(model, stage, checkpoint, patience, best_before)
    done = len(follower.curves["loss"])
    training.start_at(done)
    try:
        if done < epochs and not follower.enough:
            with (
                _stream_errors(),
                _float16(model) if mixed else nullcontext(),
                _noted_interrupts() as interrupts,
            ):
                follower.interrupts = interrupts
                follow = {"initial_epoch": done, "epochs": epochs}
                callbacks = [follower, *_boards(tensorboard, stage)]
                if group and group.size > 1:
                    cluster.fit(
                        group, model, training, validation,
                        callbacks=callbacks, quiet=quiet, **follow,
                    )  # fmt: skip
                else:
                    model.fit(
                        training,
                        validation_data=validation,
                        shuffle=False,  # the stream shuffles
                        callbacks=callbacks,
                        verbose=0 if quiet else "auto",
                        **follow,
                    )
            if interrupts:  # behind the last batch
                raise KeyboardInterrupt
    except KeyboardInterrupt as error:
        if follower.best is None:
            raise
        model.set_weights(follower.best)
        raise Interrupted(follower.curves) from error
    if early_stopping and not decay and follower.best is not None:
        model.set_weights(follower.best)
    return follower.curves


def train_one_batch(model: Any, training: Any) -> float:
    """Train on the first batch alone, and say how many seconds it took, reading included."""
    started = time.perf_counter()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    with _stream_errors():
        model.train_on_batch(*training[0])
    return time.perf_counter() - started


def gpu_count() -> int:
    """How many GPUs TensorFlow could use."""
    load_keras()
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU"))


def supports_mixed_precision() -> bool:
    """Whether there is a GPU that calculates in float16 faster (compute capability 7 and more)."""
    load_keras()
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    facts = [tf.config.experimental.get_device_details(one) for one in found]
    return bool(facts) and all(one.get("compute_capability", (0, 0))[0] >= 7 for one in facts)


@contextmanager
def _float16(model: Any) -> Iterator[None]:
    """Let a model calculate in float16, but for its last layer, whose probabilities need more."""
    *layers, _ = cluster.leaves(model)
    for layer in layers:
        layer.dtype_policy = "mixed_float16"
    try:
        yield
    finally:
        for layer in layers:
            layer.dtype_policy = "float32"
        for name in ("train_function", "test_function", "predict_function"):
            setattr(model, name, None)  # they were traced in float16


def check_tensorboard() -> None:
    """Raise FacemaskError where curves can't be written for TensorBoard, which is not installed."""
    if find_spec("tensorboard") is None:
        raise FacemaskError(
            "tensorboard: not installed, and --tensorboard needs it; `pip install tensorboard`"
        )


def _boards(folder: Path | None, stage: str) -> list[Any]:
    keras = load_keras()
    if folder is None:
        return []
    return [keras.callbacks.TensorBoard(folder / stage, write_graph=False)]


def best_epoch(curves: History, *, best: bool) -> int:
    """The epoch, from 0 on, whose weights train kept: the best by validation loss, or the last."""
    if not best or np.isnan(curves["val_loss"]).all():
        return len(curves["val_loss"]) - 1
    return int(np.nanargmin(curves["val_loss"]))


def _follower(
    model: Any, stage: str, checkpoint: Checkpoint | None, patience: int, best_before: float
) -> Any:
    """A Keras callback that keeps the curves, the best weights and the checkpoint of a training.

    It takes up what the checkpoint has of the stage, into the model as well. It ends the training
    after so many epochs without a new best one.
    """
    keras = load_keras()
    state = checkpoint.state(stage) if checkpoint else None
    variables = [*model.variables, *model.optimizer.variables]

    class Follower(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.curves: History = {name: [] for name in CURVES}
            self.best = None if best_before == math.inf else model.get_weights()
            if state:
                self.curves = {name: list(curve) for name, curve in state.curves.items()}
                self.best = list(state.best) or None
                if state.now:  # a worker who is not the chief gets them from that one
                    for variable, value in zip(variables, state.now, strict=True):
                        variable.assign(value)
            self._least = min([best_before, *self.curves["val_loss"]])
            self.interrupts: list[int] = []

        @property
        def enough(self) -> bool:
            losses = self.curves["val_loss"]
            return len(losses) > 0 and len(losses) - 1 - best_epoch(self.curves, best=True) >= (
                patience
            )

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if self.interrupts:
                raise KeyboardInterrupt

        on_test_batch_end = on_train_batch_end

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            for name in CURVES:
                self.curves[name].append(float(logs[name]))
            if self.curves["val_loss"][-1] < self._least:
                self._least, self.best = self.curves["val_loss"][-1], model.get_weights()
            if checkpoint:
                now = [np.asarray(variable) for variable in variables]
                checkpoint.save(stage, State(self.curves, now, self.best or []))
            if self.enough:
                model.stop_training = True

    return Follower()


@contextmanager
def _noted_interrupts() -> Iterator[list[int]]:
    """Note Ctrl-C and SIGTERM down, for the callback to end the training between two batches.

    Python would raise KeyboardInterrupt wherever it is: in what TensorFlow calls, whose errors hide
    it, or in the middle of a checkpoint. The second one is raised at once all the same. A process
    that was told to ignore Ctrl-C, as one in the background is, goes on ignoring it.
    """
    noted: list[int] = []

    def note(number: int, _: Any) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    if threading.current_thread() is not threading.main_thread():  # signals are not for it
        yield noted
        return
    obeyed = [
        number
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, note) for number in obeyed}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextmanager
def _stream_errors() -> Iterator[None]:
    """What a stream raised, in place of what TensorFlow makes of it."""
    try:
        yield
    except FacemaskError:
        raise
    except Exception as error:
        if "KeyboardInterrupt" in str(error):  # Ctrl-C came while it called back into Python
            raise KeyboardInterrupt from error
        found = re.search(r"FacemaskError: (.*)", str(error))
        if not found:
            raise
        raise FacemaskError(found[1]) from error
