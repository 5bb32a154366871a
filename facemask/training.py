"""Building, training, judging and saving a mask classifier."""

import math
import os
import platform
import re
import signal
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from facemask import bases, cluster, facts
from facemask.backend import load_keras
from facemask.checkpoints import Checkpoint, Curves, State
from facemask.cluster import Cluster
from facemask.errors import FacemaskError
from facemask.facts import ModelFacts
from facemask.files import replacing

# The recipe of the classic tutorial: a frozen base under a small fully connected head.
HEAD_UNITS = 128
DROPOUT = 0.5

CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")
# Training ends when the validation loss was not lower for so many epochs.
PATIENCE = 5
# Temperatures that calibration may choose from. With few validation images, all of them right, the
# likelihood alone would make the model ever surer: it is never made surer than training left it.
TEMPERATURES = (1.0, 5.0)


def make_repeatable(seed: int) -> None:
    """Let the same seed give the same figures on one machine. Call it before build_model."""
    keras = load_keras()
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def build_model(
    class_count: int,
    weights: str = "imagenet",
    size: tuple[int, int] = bases.SIZE,
    *,
    base: str = bases.DEFAULT,
) -> Any:
    """A base without its top, and a new head; only the head learns.

    base: a name of bases.BASES; weights and size: as bases.load_base takes them. A base with
    random weights is of no use as it is, so that it then learns with the head.
    Returns a Keras model from (N, *size, 3) float32, RGB in [-1, 1] whatever the base takes, to
    (N, class_count) probabilities. Raises FacemaskError when the weights can't be had.
    """
    keras = load_keras()
    inputs = hidden = keras.Input((*size, 3))
    network = bases.load_base(weights, size, base)
    network.trainable = weights == "none"
    if not bases.BASES[base].plain:
        hidden = bases.colours(bases.BASES[base])(hidden)
    hidden = network(hidden)  # (N, 7, 7, 1280) of 224x224 pixels by MobileNetV2
    hidden = keras.layers.GlobalAveragePooling2D()(hidden)  # (N, 1280)
    hidden = keras.layers.Dense(HEAD_UNITS, activation="relu")(hidden)
    hidden = keras.layers.Dropout(DROPOUT)(hidden)
    outputs = keras.layers.Dense(class_count, activation="softmax")(hidden)
    return keras.Model(inputs, outputs, name="mask_detector")


class Interrupted(Exception):
    """Ctrl-C ended a training. The model has the best weights so far.

    curves: of the epochs that were finished, as train returns them; the best one may be of an
    earlier stage.
    """

    def __init__(self, curves: Curves):
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
) -> Curves:
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


def try_step(model: Any, training: Any) -> float:
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


def gains_from_float16() -> bool:
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


def kept_epoch(curves: Curves, *, best: bool) -> int:
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
            self.curves: Curves = {name: [] for name in CURVES}
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
            return len(losses) > 0 and len(losses) - 1 - kept_epoch(self.curves, best=True) >= (
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


def unfreeze(model: Any) -> None:
    """Let train() change the whole base, but for batch normalization.

    Layers of it that are not trainable keep their stored statistics: a few hundred images are too
    few to estimate new ones.
    """
    keras = load_keras()
    base = bases.base_of(model)
    base.trainable = True
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def report(truth: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> str:
    """scikit-learn's classification report of labels, (N,) int64 each."""
    from sklearn.metrics import classification_report

    return str(
        classification_report(
            truth,
            predicted,
            labels=np.arange(len(class_names)),
            target_names=list(class_names),
            zero_division=0,  # pyright: ignore[reportArgumentType]
        )
    )


def predict(model: Any, inputs: Any) -> np.ndarray:
    """The probabilities of the classes for each image of a stream, (N, C), with a progress bar."""
    with _stream_errors():
        return np.asarray(model.predict(inputs))


def calibrate(model: Any, inputs: Any, labels: np.ndarray) -> float:
    """Make the model's probabilities as sure as they are right, by a temperature.

    The temperature T minimises the negative log likelihood of the labels, (N,) int64, which the
    model must not have been trained on (Guo et al., On Calibration of Modern Neural Networks,
    2017). Returns T; the last layer's weights are divided by it, so that whatever runs the model
    gets calibrated probabilities. No label changes.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logits = np.log(np.clip(predict(model, inputs).astype(np.float64), 1e-12, 1.0))

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(scaled[np.arange(len(labels)), labels].mean())

    found: Any = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded")
    temperature = float(np.exp(found.x))
    last = model.layers[-1]
    last.set_weights([weights / temperature for weights in last.get_weights()])
    return temperature


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


def save_model(path: str | os.PathLike[str], model: Any, model_facts: ModelFacts) -> None:
    """Write a `.keras` file with the facts inside it: whole, or not at all.

    The optimizer's state is left out; detection has no use for it. What Keras stores plainly is
    compressed, which takes a seventh off.
    """
    keras = load_keras()
    with replacing(path) as part:
        keras.Model(model.inputs, model.outputs, name=model.name).save(part)
        _compress(part)
        facts.write(part, model_facts)


def _compress(archive: Path) -> None:
    with zipfile.ZipFile(archive) as plain:
        entries = {name: plain.read(name) for name in plain.namelist()}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in entries.items():
            packed.writestr(name, content)


def versions() -> dict[str, str]:
    """What a model was made with."""
    keras = load_keras()
    backend = keras.backend.backend()
    return {
        "python": platform.python_version(),
        backend: sys.modules[backend].__version__,
        "keras": keras.__version__,
    }
