"""Training of the built-in face detector's network, with a checkpoint after each epoch."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facemask.errors import FacemaskError
from facemask.files import replacing
from facemask.keras_backend import load_keras
from facemask.train.checkpoint import Checkpoint, History, State
from facemask.train_face_detector.network import build_face_network, load_yunet
from facemask.train_face_detector.samples import (
    AnnotatedImage,
    face_batches,
)
from facemask.train_face_detector.targets import face_loss
from facemask.train_face_detector.validation import average_precision, describe

WARMUP_STEPS = 200  # in which the learning rate rises
FINAL_RATE = 0.02  # ratio of the learning rate, where the warm-up begins and the cosine ends
WEIGHT_DECAY = 1e-3
CLIP_NORM = 10.0  # of the gradient
# The trained weights are an exponential moving average (EMA) over some hundred steps, which has a
# higher average precision than the weights of the last step.
EMA_MOMENTUM = 0.998
VALIDATE_EVERY = 4  # epochs

STAGE = "face detector"  # the training's only stage in its checkpoint
# A value an epoch; from "epoch" on, a value for each epoch with validation.
METRICS = ("loss", "epoch", "ap50", "ap")


class Trainer:
    """The network, its optimizer and the history of the training."""

    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        *,
        shapes: Sequence[tuple[int, int]],
        steps: int,
        epochs: int,
        learning_rate: float,
        seed: int,
        stop_after: int | None = None,
    ):
        """images: those to train on; shapes, steps: see samples.face_batches.

        epochs: those of the learning rate's schedule; stop_after: end after this many of them.
        """
        keras = load_keras()
        self._images, self._shapes, self._seed = images, shapes, seed
        self._steps, self._epochs = steps, min(epochs, stop_after or epochs)
        self.network = build_face_network()
        schedule = keras.optimizers.schedules.CosineDecay(
            FINAL_RATE * learning_rate,
            max(1, steps * epochs - WARMUP_STEPS),
            alpha=FINAL_RATE,
            warmup_target=learning_rate,
            warmup_steps=WARMUP_STEPS,
        )
        self._optimizer = keras.optimizers.AdamW(
            schedule,
            weight_decay=WEIGHT_DECAY,
            clipnorm=CLIP_NORM,
            use_ema=True,
            ema_momentum=EMA_MOMENTUM,
        )
        # Built here, since TensorFlow traces the first step twice when it creates variables.
        self._optimizer.build(self.network.trainable_variables)
        self.network.compile(self._optimizer, loss=face_loss)
        self._variables = [*self.network.variables, *self._optimizer.variables]
        self.history: History = {name: [] for name in METRICS}

    def start(self, path: Path) -> None:
        """Start from weights of save_weights, or of YuNet (.onnx). Raises FacemaskError."""
        if path.suffix == ".onnx":
            load_yunet(self.network, path)
        else:
            self.network.set_weights(read_weights(path))

    def resume(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint. Raises FacemaskError for one of another training."""
        checkpoint.resume()
        state = checkpoint.state(STAGE)
        if state is None:
            return
        self.history = state.history
        for variable, value in zip(self._variables, state.variables, strict=True):
            variable.assign(value)

    def fit(
        self,
        validation: Sequence[AnnotatedImage],
        checkpoint: Checkpoint,
        log: Callable[[str], None],
    ) -> None:
        """Train the remaining epochs. Each is logged, and saved in the checkpoint.

        Raises FacemaskError when the checkpoint can't be written.
        """
        keras = load_keras()
        done = len(self.history["loss"])
        if done >= self._epochs:
            return
        started = time.monotonic()

        def after_epoch(epoch: int, logs: dict[str, float]) -> None:
            self.history["loss"].append(float(logs["loss"]))
            line = f"epoch {epoch + 1} of {self._epochs}: loss {logs['loss']:.3f}"
            if (epoch + 1) % VALIDATE_EVERY == 0:
                line += f", on validation {self._validate(epoch + 1, validation)}"
            variables = [np.array(variable) for variable in self._variables]
            checkpoint.save(STAGE, State(self.history, variables, []))
            log(f"{line}, {time.monotonic() - started:.0f} s")

        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # the batches are made on several threads
        try:
            self.network.fit(
                face_batches(self._images, self._shapes, self._steps, self._seed, done),
                epochs=self._epochs,
                initial_epoch=done,
                shuffle=False,  # the batches are random
                callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=after_epoch)],
                verbose=0,
            )
        finally:
            cv2.setNumThreads(threads)

    def _validate(self, epoch: int, images: Sequence[AnnotatedImage]) -> str:
        """Note the average precision of the EMA weights, and say it."""
        variables = self.network.trainable_variables
        values = [np.array(variable) for variable in variables]
        self.apply_ema()
        precision = average_precision(self.network, images)
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        for name, value in (("epoch", epoch), ("ap50", precision.ap50), ("ap", precision.ap)):
            self.history[name].append(float(value or 0.0))
        return describe(precision)

    def apply_ema(self) -> None:
        """Give the network the EMA of its weights, at the end of the training."""
        self._optimizer.finalize_variable_values(self.network.trainable_variables)

    def interpolate_weights(self, start: Sequence[np.ndarray], ratio: float) -> None:
        """Replace the weights by ratio times the weights plus 1 - ratio times those of the start.

        The mean of the weights before and after fine-tuning can be better than both (WiSE-FT:
        Wortsman et al., Robust fine-tuning of zero-shot models, 2022).
        """
        pairs = zip(start, self.network.get_weights(), strict=True)
        self.network.set_weights([(1 - ratio) * before + ratio * after for before, after in pairs])


def save_weights(path: Path, network: Any) -> None:
    """Write a network's weights, without the optimizer's state: whole, or not at all.

    path: a .weights.h5 file. Raises FacemaskError when it can't be written.
    """
    uncompiled = load_keras().Model(network.input, network.output)
    with replacing(path) as temporary:
        named = temporary.with_name(f"{temporary.name}.weights.h5")  # Keras requires this suffix
        try:
            uncompiled.save_weights(named)
            named.rename(temporary)
        finally:
            named.unlink(missing_ok=True)


def read_weights(path: Path) -> list[np.ndarray]:
    """The weights that save_weights wrote, for network.set_weights.

    Raises FacemaskError for a file that is missing, damaged or of another network.
    """
    network = build_face_network()
    try:
        network.load_weights(path)
    except Exception as error:  # h5py and Keras raise many kinds, with long messages
        reason = " ".join(str(error).split())[:300]
        raise FacemaskError(f"{path}: expected weights of this network: {reason}") from error
    return network.get_weights()
