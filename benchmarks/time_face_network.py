"""Where the built-in face detector's time goes: multiplications and time up to each stage.

    python benchmarks/time_face_network.py

Random weights, one image of 640x480 pixels, resized as in detection, on one thread, in LiteRT; the
networks take turns, and the shortest time of each counts. float16 is a file of half the size that
computes in float32, int8 computes in whole numbers.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine, table

from facemask.detect.anchor_points import STRIDES
from facemask.detect.builtin import input_size
from facemask.detect.litert import LiteRTModel
from facemask.keras_backend import load_keras
from facemask.train.export import convert
from facemask.train_face_detector.network import OUTPUT_LAYERS, build_face_network

SIZE = input_size(480, 640)
KINDS = ("float16", "int8")


def main() -> None:
    parser = argparse.ArgumentParser(description="The face detector's time by stage.")
    parser.add_argument("--repeats", type=int, default=50, metavar="N", help="calls of each (50)")
    args = parser.parse_args()
    print(f"{machine()}\n", flush=True)
    keras = load_keras()
    network = build_face_network()
    stages = {}
    for stride in (2, 4, *STRIDES):
        names = f"stage_{stride}_", f"extra_{stride}_"
        last = [layer for layer in network.layers if layer.name.startswith(names)][-1]
        stages[f"up to a stride of {stride}"] = last.output
    stages["whole"] = network.output
    networks = {
        name: keras.Model(network.input, output, name=f"stage_{number}")
        for number, (name, output) in enumerate(stages.items())
    }
    models = {(name, kind): load(networks[name], kind) for name in networks for kind in KINDS}
    image = np.random.default_rng(0).uniform(0, 255, (1, *SIZE, 3)).astype(np.float32)
    seconds = dict.fromkeys(models, np.inf)
    for _ in range(args.repeats):
        for key, model in models.items():
            start = time.perf_counter()
            model(image)
            seconds[key] = min(seconds[key], time.perf_counter() - start)
    rows = [
        [
            name,
            f"{multiplications(model) / 1e6:.0f}",
            *(f"{seconds[name, kind] * 1e3:.1f}" for kind in KINDS),
        ]
        for name, model in networks.items()
    ]
    print(table(["stage", "million multiplications", *(f"{kind}, ms" for kind in KINDS)], rows))


def load(network: Any, kind: Any) -> LiteRTModel:
    noise = [np.random.default_rng(0).uniform(0, 255, (*SIZE, 3)).astype(np.float32)]
    path = Path(f"{network.name}.tflite")  # for messages; nothing is written
    shape, layers = (1, None, None, 3), OUTPUT_LAYERS if kind == "int8" else ()
    model = LiteRTModel.from_bytes(path, convert(path, network, shape, kind, noise, layers), 1)
    model.prepare(SIZE)
    return model


def multiplications(network: Any) -> int:
    """Of the convolutions, for an image of SIZE."""
    keras = load_keras()
    sized = keras.models.clone_model(network, input_tensors=keras.Input((*SIZE, 3), batch_size=1))
    return sum(
        int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:3]))
        for layer in sized.layers
        if hasattr(layer, "kernel")
    )


if __name__ == "__main__":
    main()
