"""One process of a training in several, for test_distribution.py.

Arguments: images, folder to write to, index, addresses. Process 1 kills itself in the third epoch,
unless it goes on from a checkpoint. Then the processes train anew, and process 1 interrupts itself.
The processes differ in what the result must not depend on: the weights they start from.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from facemask import console
from facemask.data.batches import batches
from facemask.data.dataset import LabelledImages, load_labelled_images
from facemask.keras_backend import load_keras
from facemask.train import fit
from facemask.train.checkpoint import Checkpoint, History
from facemask.train.distribution import ALONE, Processes, initialize

EPOCHS = 4
BATCH_SIZE = 5  # no multiple of two, as little as the number of images
TRAIN, VALIDATION = np.split(np.random.default_rng(0).permutation(32), [23])


def small_model(seed: int) -> Any:
    """Two layers under what a frozen backbone has, with the same weights on every Keras backend."""
    keras = load_keras()
    layers = keras.layers
    frozen = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(6, 3), layers.BatchNormalization()], name="backbone"
    )
    frozen.trainable = False
    inputs = keras.Input((8, 8, 3))
    hidden = layers.GlobalAveragePooling2D()(layers.Activation("relu")(frozen(inputs)))
    hidden = layers.Dense(8, activation="relu")(hidden)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(hidden))
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.1, 0.5, weight.shape) for weight in model.get_weights()])
    return model


def streams(images: LabelledImages, processes: Processes) -> tuple[Any, Any]:
    """Augmented and weighted training images, and plain ones for validation."""
    weights = 0.5 + np.arange(len(TRAIN)) / (len(TRAIN) - 1)  # with a mean of 1, as balanced ones
    train = batches(
        images, TRAIN, (8, 8), BATCH_SIZE,
        augmentation="face", seed=3, weights=weights, shard=processes.shard,
    )  # fmt: skip
    return train, batches(images, VALIDATION, (8, 8), BATCH_SIZE, shard=processes.shard)


def train(
    model: Any,
    images: LabelledImages,
    processes: Processes = ALONE,
    checkpoint: Checkpoint | None = None,
    stop: tuple[int, signal.Signals] | None = None,
) -> History:
    """stop: the epoch, from 0, and the signal that process 1 sends itself in it."""
    training, validation = streams(images, processes)
    if stop and processes.index == 1:

        class Stopping(type(training)):
            def start_at(self, epoch: int) -> None:
                self.now = epoch - 1
                super().start_at(epoch)

            def __getitem__(self, number: int) -> Any:
                if self.now == stop[0] and number == 1:
                    os.kill(os.getpid(), stop[1])
                return super().__getitem__(number)

        training.now = -1
        training.__class__ = Stopping
    return fit.train(
        model, training, validation, epochs=EPOCHS, learning_rate=0.02, decay=True, quiet=True,
        checkpoint=checkpoint, processes=processes,
    )  # fmt: skip


def main() -> int:
    folder, output, index, *addresses = sys.argv[1:]
    with initialize(addresses, int(index)) as processes:
        images = load_labelled_images([folder])
        processes.check_same("images", images.digest)
        model = small_model(seed=1 + processes.index)
        path = Path(output) / f"{processes.index}.npz"  # they need not share a disk
        checkpoint = Checkpoint(path, {"seed": 1}, writes=processes.chief)
        resumed = checkpoint.resume(processes.broadcast)
        stop = None if resumed or len(addresses) == 1 else (2, signal.SIGKILL)
        history = train(model, images, processes, checkpoint, stop)
        arrays: dict[str, Any] = dict(history)
        arrays |= {f"weights{number}": array for number, array in enumerate(model.get_weights())}
        np.savez(Path(output) / f"trained{processes.index}.npz", **arrays)
        if len(addresses) > 1:
            try:
                train(small_model(seed=1), images, processes, stop=(1, signal.SIGINT))
            except fit.Interrupted as interrupted:
                arrays = dict(interrupted.history)
                np.savez(Path(output) / f"interrupted{processes.index}.npz", **arrays)
        processes.leave()
    return 0


if __name__ == "__main__":
    console.run(main)
