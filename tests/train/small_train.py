"""The training script with a few random layers in place of MobileNetV2, and without dropout.

TensorFlow compiles MobileNetV2 for half a minute before the first step of fine-tuning. Dropout
would draw other units in each process of a cluster and in a run that is resumed.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import train_mask_detector
from facemask import console
from facemask.keras_backend import load_keras
from facemask.train import model


def make_backbone(input_shape: tuple[int, int, int], **_: Any) -> Any:
    """Takes the arguments of keras.applications.MobileNetV2."""
    keras = load_keras()
    inputs = keras.Input(input_shape)
    outputs = keras.layers.Conv2D(16, 7, strides=7, activation="relu")(inputs)
    return keras.Model(inputs, outputs)


def simplify(set_attribute: Callable[[Any, str, Any], None]) -> None:
    """Replace the backbone and the dropout, by setattr or pytest's monkeypatch."""
    set_attribute(load_keras().applications, "MobileNetV2", make_backbone)
    set_attribute(model, "DROPOUT", 0.0)


def main() -> int:
    simplify(setattr)
    return train_mask_detector.main()


if __name__ == "__main__":
    console.run(main)
