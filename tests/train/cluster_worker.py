"""One worker of the cluster that test_cluster.py starts: python -m tests.cluster_worker.

Takes a folder of images with a class in each of its folders, the file of weights to start from, the
file to write to, this worker's number, and the addresses of all.
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
from facemask.errors import FacemaskError
from facemask.keras_backend import load_keras
from facemask.train import cluster
from facemask.train import model as model_module

EPOCHS, BATCH_SIZE = 4, 5
TRAIN, VALIDATION = np.arange(21), np.arange(21, 32)  # the last batch of each has a single image


def small_model(random: bool = False) -> Any:
    """With what a frozen base has; if random, with what differs from worker to worker as well."""
    keras = load_keras()
    layers = keras.layers
    frozen = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(6, 3), layers.BatchNormalization()], name="base"
    )
    frozen.trainable = random
    inputs = keras.Input((8, 8, 3))
    hidden = layers.GlobalAveragePooling2D()(layers.Activation("relu")(frozen(inputs)))
    hidden = layers.Dense(8, activation="relu")(hidden)
    if random:
        hidden = layers.Dropout(0.5)(hidden)
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(hidden))


def compiled(model: Any) -> Any:
    keras = load_keras()
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.02, 20)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def streams(images: LabelledImages, shard: tuple[int, int] = (0, 1)) -> tuple[Any, Any]:
    """Augmented and weighted training images, and plain ones for validation."""
    weights = 0.5 + np.arange(len(images)) / 10
    train = batches(
        images, TRAIN, (8, 8), BATCH_SIZE,
        augmentation="face", seed=3, weights=weights[TRAIN], shard=shard,
    )  # fmt: skip
    return train, batches(images, VALIDATION, (8, 8), BATCH_SIZE, shard=shard)


def stopping() -> Any:
    return load_keras().callbacks.EarlyStopping(patience=1, restore_best_weights=True)


def main() -> int:
    folder, start, output, index, *addresses = sys.argv[1:]
    found: dict[str, Any] = {}
    with cluster.join(addresses, int(index), timeout_s=120) as group:
        keras = load_keras()
        model_module.set_seed(7 + group.index)  # so that the workers start apart
        images = load_labelled_images([folder])
        shares = streams(images, group.shard)

        model = compiled(small_model())
        if group.chief:
            with np.load(start) as weights:
                model.set_weights([weights[name] for name in weights.files])
        curves = cluster.fit(
            group, model, *shares, epochs=EPOCHS, callbacks=[stopping()], quiet=True
        )
        found |= {name: np.array(curve) for name, curve in curves.items()}
        found |= {f"weights_{number}": one for number, one in enumerate(model.get_weights())}

        model_module.set_seed(7)  # the same seed, as a user would give
        model = compiled(small_model(random=True))
        cluster.fit(group, model, *shares, epochs=1, quiet=True)
        found |= {f"random_{number}": one for number, one in enumerate(model.get_weights())}
        dropout = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dropout))
        found["kept"] = np.asarray(dropout(np.ones((4, 64)), training=True))

        found["told"] = np.array(group.told(f"what worker {group.index} says: é"))
        group.check_same("seeds", "42")
        try:
            group.check_same("images", f"those of {group.index}")
        except FacemaskError as error:
            found["not_same"] = str(error)
        np.savez(output, **found)

        class Killed(keras.callbacks.Callback):
            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                if group.index == 1 and batch == 2:
                    os.kill(os.getpid(), signal.SIGKILL)

        print(Path(output).name, "is written", flush=True)
        cluster.fit(group, model, *shares, epochs=1000, callbacks=[Killed()], quiet=True)
    return 0


if __name__ == "__main__":
    console.run(main)
