"""Training in a cluster: an epoch of one worker, and of several that share its batches.

    python benchmarks/bench_cluster.py --workers 1 2

Each worker is a process that keeps to one core, so that the cores of this machine stand for
machines of one core each; what a network between them would cost is not in the figures. Where
something else keeps the cores busy, the processor seconds of a worker tell more than the clock. The
images are drawn, and MobileNetV2 starts from random weights, which does not change how long a step
takes.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack

from measure import PROJECT, machine, table

# Of the parts of MobileNetV2 that learn: with the head alone hardly anything is handed over.
PARTS = {"head": False, "all": True}


def main() -> None:
    parser = argparse.ArgumentParser(description="Training in a cluster on this machine.")
    add = parser.add_argument
    add("--workers", type=int, nargs="+", default=[1, 2], metavar="N", help="to compare (1 2)")
    add("--images", type=int, default=160, metavar="N", help="of each class (160)")
    add("--epochs", type=int, default=3, metavar="N", help="of which the first is not counted (3)")
    add("--size", type=int, default=96, metavar="PIXELS", help="that faces are stretched to (96)")
    add("--batch-size", type=int, default=32, metavar="N", help="over all workers (32)")
    add("--part", nargs="+", choices=PARTS, default=list(PARTS), help="what learns (head all)")
    add("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args)
        return
    print(f"{machine()}\n", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        draw = "facemask.sample_dataset"
        command = [sys.executable, "-m", draw, folder, "--count", str(args.images)]
        subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
        for part in args.part:
            alone = None
            for count in args.workers:
                clock, processor = zip(*epochs(args, folder, part, count), strict=True)
                medians = statistics.median(clock), statistics.median(processor)
                alone = alone or medians
                ratios = [f"{one / other:.2f}" for one, other in zip(alone, medians, strict=True)]
                every = [
                    f"{median:.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
                    for median, seconds in zip(medians, (clock, processor), strict=True)
                ]
                rows.append([part, str(count), every[0], ratios[0], every[1], ratios[1]])
                print(f"{part}, {count} workers: {every[0]} s", file=sys.stderr, flush=True)
    head = ["what learns", "workers", "seconds an epoch", "times as fast"]
    print(table([*head, "processor seconds of a worker", "times as few"], rows))


def epochs(args: argparse.Namespace, folder: str, part: str, count: int) -> list[list[float]]:
    """Of each epoch but the first: seconds, and processor seconds of the worker that took most."""
    with ExitStack() as held:
        servers = [held.enter_context(socket.create_server(("", 0))) for _ in range(count)]
        addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    places = [
        [folder, number, addresses, cores[number % len(cores)] if cores else None]
        for number in range(count)
    ]
    with tempfile.TemporaryFile("w+") as output:
        running = [
            subprocess.Popen(
                [
                    *(sys.executable, __file__, "--size", str(args.size)),
                    *("--epochs", str(args.epochs), "--batch-size", str(args.batch_size)),
                    *("--part", part, "--worker"),
                    json.dumps(place),
                ],
                cwd=PROJECT,
                env={**os.environ, "PYTHONPATH": str(PROJECT), "TF_CPP_MIN_LOG_LEVEL": "3"},
                stdout=subprocess.DEVNULL if number else output,
            )
            for number, place in enumerate(places)
        ]
        statuses = [process.wait() for process in running]
        if any(statuses):
            sys.exit("a worker failed")
        output.seek(0)
        return json.loads(output.read().splitlines()[-1])[1:]


def work(args: argparse.Namespace) -> None:
    """What a worker does; the first one prints the seconds of all epochs, as epochs() has them."""
    folder, number, addresses, core = json.loads(args.worker)
    if core is not None:
        os.sched_setaffinity(0, [core])

    import numpy as np
    import tensorflow as tf

    from facemask.data.batches import batches
    from facemask.data.dataset import load_labelled_images
    from facemask.keras_backend import load_keras
    from facemask.train import cluster
    from facemask.train import model as model_module

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    with cluster.join(addresses, number) as group:
        keras = load_keras()

        class Clock(keras.callbacks.Callback):
            def __init__(self) -> None:
                super().__init__()
                self.seconds: list[tuple[float, float]] = []

            def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
                self.start = time.perf_counter(), time.process_time()

            def on_epoch_end(self, epoch: int, logs: object = None) -> None:
                passed = time.perf_counter() - self.start[0]
                self.seconds.append((passed, time.process_time() - self.start[1]))

        keras.utils.set_random_seed(0)
        images = load_labelled_images([folder])
        size = (args.size, args.size)
        model = model_module.build_model(len(images.class_names), "none", size)
        model.layers[1].trainable = PARTS[args.part[0]]
        if PARTS[args.part[0]]:
            model_module.unfreeze(model)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        rng = np.random.default_rng(0)
        places = rng.permutation(len(images))
        held_out = len(images) // 10
        validation = batches(images, places[:held_out], size, args.batch_size, shard=group.shard)
        stream = batches(
            images, places[held_out:], size, args.batch_size,
            augmentation="face", shard=group.shard,
        )  # fmt: skip
        clock = Clock()
        cluster.fit(
            group, model, stream, validation, epochs=args.epochs, callbacks=[clock], quiet=True
        )
        processor = np.zeros((group.size, args.epochs))
        processor[group.index] = [seconds for _, seconds in clock.seconds]
        most = group.sum_array(processor).max(axis=0)
        print(
            json.dumps(
                [[passed, one] for (passed, _), one in zip(clock.seconds, most, strict=True)]
            )
        )


if __name__ == "__main__":
    main()
