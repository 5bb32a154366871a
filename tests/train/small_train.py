"""The training script with a few random layers for MobileNetV2, and without dropout.

TensorFlow looks at MobileNetV2's layers for half a minute before the first step of training; and
what dropout drops is another thing for each worker of a cluster.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import train_mask_detector
from facemask import console
from facemask.keras_backend import load_keras
from facemask.train import model


def make_base(input_shape: tuple[int, int, int], **_: Any) -> Any:
    """As keras.applications.MobileNetV2 is called."""
    keras = load_keras()
    inputs = keras.Input(input_shape)
    outputs = keras.layers.Conv2D(16, 7, strides=7, activation="relu")(inputs)
    return keras.Model(inputs, outputs)


def main() -> int:
    load_keras().applications.MobileNetV2 = make_base
    model.DROPOUT = 0.0
    return train_mask_detector.main()


if __name__ == "__main__":
    console.run(main)
