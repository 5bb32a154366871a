"""Training a classifier with Keras's fit: early stopping, checkpoints, Ctrl-C, several devices."""

import math
import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from facemask.errors import HANGUP, FacemaskError
from facemask.keras_backend import load_keras, verbosity
from facemask.train.checkpoint import Checkpoint, History, State
from facemask.train.distribution import ALONE, Processes, compile_arguments

METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")
# Training ends when so many epochs have not lowered the validation loss by so much. Smaller steps
# make a head that knows all validation images surer of them, and worse on other collections.
PATIENCE, MIN_IMPROVEMENT = 5, 0.001


class Interrupted(Exception):
    """Ctrl-C ended a training. The model has the best weights so far.

    history: of the epochs that were finished, as train returns it; the best one may be of an
    earlier stage.
    """

    def __init__(self, history: History):
        super().__init__("interrupted")
        self.history = history


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
    mixed_precision: bool = False,
    tensorboard: Path | None = None,
    best_before: float = math.inf,
    steps_per_execution: int = 1,
    processes: Processes = ALONE,
) -> History:
    """Train what is trainable of the model, with Keras's progress bars unless quiet.

    training, validation: as data.batches makes them. early_stopping: end when the validation
    loss no longer falls by MIN_IMPROVEMENT, and keep the weights of the epoch where it was lowest.
    decay: let the learning rate fall to zero along a cosine. Then nothing ends early and the last
    weights are kept: they had more correct predictions than those of the lowest loss, whose early
    epochs a few wrong labels cost less.
    checkpoint: where the state is saved after each epoch under the name of the stage; a stage that
    it has a state of goes on there. mixed_precision: compute in float16, and keep the variables in
    float32. tensorboard: a folder for the curves, of each stage in a sub-folder of its name.
    best_before: the validation loss of the weights that the model has now. steps_per_execution: as
    Model.compile takes it. processes: which of several this one is; the streams then have this
    process's shard of each batch.
    Returns loss, accuracy, val_loss and val_accuracy of each epoch.
    Raises FacemaskError when an image can no longer be read, the checkpoint can't be written or
    another process is lost, and Interrupted for Ctrl-C, once there are weights to keep.
    """
    with processes.distributed(model) as trained, processes.noticing_loss():
        decay_steps = epochs * len(training) if decay else 0
        settings = mixed_precision, steps_per_execution, processes
        _compile(trained, learning_rate, decay_steps, *settings)
        state = checkpoint.state(stage) if checkpoint else None
        patience = PATIENCE if early_stopping and not decay else epochs
        follow = _training_state(trained, state, patience, best_before)
        follow.processes, follow.stage, follow.checkpoint = processes, stage, checkpoint
        follow.training = training
        done = len(follow.history["loss"])
        interrupted = False
        if done < epochs and not follow.should_stop:
            with _float16(trained) if mixed_precision else nullcontext():
                validation = processes.padded(validation)
                if load_keras().backend.backend() == "jax":
                    # Builds the metrics. Else fit reads some batches for that, and trains on them.
                    trained.test_on_batch(*validation[0])
                interrupted = _fit(
                    trained,
                    processes.padded(training),
                    follow,
                    validation_data=validation,
                    initial_epoch=done,
                    epochs=epochs,
                    callbacks=[follow, *_tensorboard_callbacks(tensorboard, stage)],
                    verbose=0 if quiet or not processes.chief else verbosity(),
                )
        if follow.best_weights is not None and (interrupted or (early_stopping and not decay)):
            trained.set_weights(follow.best_weights)
    if interrupted:
        raise Interrupted(follow.history)
    return follow.history


def _compile(
    model: Any,
    learning_rate: float,
    decay_steps: int,
    mixed_precision: bool,
    steps_per_execution: int,
    processes: Processes,
) -> None:
    """decay_steps: after which the learning rate is zero; 0 keeps it."""
    keras = load_keras()
    rate = (
        keras.optimizers.schedules.CosineDecay(learning_rate, decay_steps)
        if decay_steps
        else learning_rate
    )
    optimizer = keras.optimizers.Adam(rate)
    if mixed_precision:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    arguments = compile_arguments(processes)
    model.compile(optimizer, steps_per_execution=steps_per_execution, **arguments)
    model.optimizer.build(model.trainable_variables)


def _fit(model: Any, training: Any, follow: Any, **options: Any) -> bool:
    """Keras's fit; whether Ctrl-C ended it.

    Raises KeyboardInterrupt where there are no weights to keep.
    """
    try:
        with stream_errors(), _noted_interrupts() as follow.interrupts:
            model.fit(training, shuffle=False, **options)  # the stream shuffles
        if follow.processes.any(bool(follow.interrupts)):  # it came behind the last batch
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        if follow.best_weights is None:
            raise
        return True
    return False


def train_one_batch(model: Any, training: Any) -> float:
    """Train on the first batch alone; returns the seconds that took, with reading."""
    started = time.perf_counter()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    with stream_errors():
        model.train_on_batch(*training[0])
    return time.perf_counter() - started


def gpu_count() -> int:
    """How many GPUs Keras's backend could use."""
    try:
        return len(load_keras().distribution.list_devices("gpu"))
    except (RuntimeError, NotImplementedError):  # JAX without GPUs; a backend that can't tell
        return 0


def unused_gpus(processes: Processes) -> list[str]:
    """A line where this process trains on fewer GPUs than there are; otherwise none."""
    count = gpu_count()
    if processes.devices >= count:
        return []
    return [f"{processes.devices} of {count} GPUs is used; with KERAS_BACKEND=jax all of them are"]


def supports_mixed_precision() -> bool:
    """Whether there is a GPU that computes faster in float16 (compute capability 7 and more)."""
    keras = load_keras()
    if not gpu_count():
        return False
    if keras.backend.backend() != "tensorflow":
        return True  # JAX has left older GPUs behind
    import tensorflow as tf

    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return all(detail.get("compute_capability", (0, 0))[0] >= 7 for detail in details)


@contextmanager
def _float16(model: Any) -> Iterator[None]:
    """Let a model compute in float16, but for its last layer, whose probabilities need more."""
    *layers, _ = _leaf_layers(model)
    for layer in layers:
        layer.dtype_policy = "mixed_float16"
    try:
        yield
    finally:
        for layer in layers:
            layer.dtype_policy = "float32"
        for name in ("train_function", "test_function", "predict_function"):
            setattr(model, name, None)  # they were traced in float16


def _leaf_layers(layer: Any) -> Iterator[Any]:
    """The layers of a model, and those of models in it, that consist of no others."""
    for inner in layer.layers:
        if hasattr(inner, "layers"):
            yield from _leaf_layers(inner)
        else:
            yield inner


def check_tensorboard() -> None:
    """Raise FacemaskError where TensorBoard, which writes the curves, is not installed."""
    if find_spec("tensorboard") is None:
        raise FacemaskError(
            "tensorboard: not installed, and --tensorboard needs it; `pip install tensorboard`"
        )


def _tensorboard_callbacks(folder: Path | None, stage: str) -> list[Any]:
    if folder is None:
        return []
    return [load_keras().callbacks.TensorBoard(folder / stage, write_graph=False)]


def stops_falling(losses: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` losses are not lower than those before by MIN_IMPROVEMENT."""
    before, latest = losses[:-patience], losses[-patience:]
    return len(before) > 0 and bool(
        np.fmin.reduce(latest) > np.fmin.reduce(before) - MIN_IMPROVEMENT
    )


def best_epoch(history: History, *, best: bool) -> int:
    """The epoch, from 0, whose weights train kept: the best by validation loss, or the last."""
    if not best or np.isnan(history["val_loss"]).all():
        return len(history["val_loss"]) - 1
    return int(np.nanargmin(history["val_loss"]))


def _training_state(model: Any, state: State | None, patience: int, best_before: float) -> Any:
    """A Keras callback that keeps the history, the best weights and the checkpoint of a training.

    state: of a checkpoint to go on from; the model, which is compiled, gets its variables.
    patience: as stops_falling takes it; then the callback ends the training.
    """
    keras = load_keras()
    variables = [*model.variables, *model.optimizer.variables]

    class TrainingState(keras.callbacks.Callback):
        processes = ALONE
        training: Any = None
        checkpoint: Checkpoint | None = None
        stage = ""

        def __init__(self) -> None:
            super().__init__()
            self.history: History = {name: [] for name in METRICS}
            self.best_weights = None if best_before == math.inf else model.get_weights()
            if state:
                self.history = {name: list(values) for name, values in state.history.items()}
                self.best_weights = list(state.best_weights) or None
                for variable, value in zip(variables, state.variables, strict=True):
                    variable.assign(value)
            self._lowest = min([best_before, *self.history["val_loss"]])
            self.interrupts: list[int] = []

        @property
        def should_stop(self) -> bool:
            return stops_falling(self.history["val_loss"], patience)

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            # Keras's fit has already ended an epoch of the stream: it did so when the streams
            # counted by themselves, and the same seed is to give the same figures as then.
            self.training.start_at(epoch + 1)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if self.processes.count > 1:
                float(logs["loss"])  # waits for the step: two operations of all must not overlap
            # All stop behind the same batch. Else the others would wait for this process's next.
            if self.processes.any(bool(self.interrupts)):
                _ = self.model  # lets JAX give the variables back
                raise KeyboardInterrupt

        on_test_batch_end = on_train_batch_end

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            for name in METRICS:
                self.history[name].append(float(logs[name]))
            trained = self.model  # not the outer name: this lets JAX give the variables back
            if self.history["val_loss"][-1] < self._lowest:
                self._lowest, self.best_weights = (
                    self.history["val_loss"][-1],
                    trained.get_weights(),
                )
            if self.checkpoint:
                values = [np.asarray(variable) for variable in variables]
                self.checkpoint.save(
                    self.stage, State(self.history, values, self.best_weights or [])
                )
            if self.should_stop:
                trained.stop_training = True

    return TrainingState()


@contextmanager
def _noted_interrupts() -> Iterator[list[int]]:
    """Note Ctrl-C and its like, for the callback to end the training between two batches.

    Python would raise KeyboardInterrupt wherever it is: in what the backend calls, whose errors
    hide it, or in the middle of a checkpoint. The second signal is raised at once all the same. A
    process that ignores Ctrl-C, as one in the background does, goes on ignoring it.
    """
    noted: list[int] = []

    def note(number: int, _: Any) -> None:
        if noted and number != HANGUP:
            raise KeyboardInterrupt
        noted.append(number)

    if threading.current_thread() is not threading.main_thread():  # it gets no signals
        yield noted
        return
    obeyed = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, HANGUP)
        if number and signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, note) for number in obeyed}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextmanager
def stream_errors() -> Iterator[None]:
    """Raise the error of a stream in place of what TensorFlow makes of it."""
    try:
        yield
    except FacemaskError:
        raise
    except Exception as error:
        if "KeyboardInterrupt" in str(error):  # Ctrl-C came while it called back into Python
            raise KeyboardInterrupt from error
        message = re.search(r"FacemaskError: (.*)", str(error))
        if not message:
            raise
        raise FacemaskError(message[1]) from error
