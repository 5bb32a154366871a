"""Training in several processes: an epoch of one, and of several that share its batches.

    python benchmarks/bench_cluster.py --processes 1 2

Each process keeps to one core, so that the cores of this machine stand for machines of one core
each; what a network between them would cost is not in the figures. Where something else keeps the
cores busy, the processor seconds of a process tell more than the clock. The images are drawn, and
MobileNetV2 starts from random weights, which does not change how long a step takes.
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

# What is trained of MobileNetV2: with the head alone hardly anything is exchanged.
PARTS = ("head", "all")


def main() -> None:
    parser = argparse.ArgumentParser(description="Training in several processes on this machine.")
    add = parser.add_argument
    add("--processes", type=int, nargs="+", default=[1, 2], metavar="N", help="to compare (1 2)")
    add("--images", type=int, default=160, metavar="N", help="of each class (160)")
    add("--epochs", type=int, default=3, metavar="N", help="of which the first is not counted (3)")
    add("--size", type=int, default=96, metavar="PIXELS", help="that faces are stretched to (96)")
    add("--batch-size", type=int, default=32, metavar="N", help="over all processes (32)")
    add("--part", nargs="+", choices=PARTS, default=PARTS, help="what is trained (head all)")
    add("--process", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.process:
        work(args)
        return
    print(f"{machine()}\n", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        draw = [
            sys.executable,
            "-m",
            "facemask.sample_dataset",
            folder,
            "--count",
            str(args.images),
        ]
        subprocess.run(draw, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
        for part in args.part:
            alone = None
            for count in args.processes:
                clock, processor = zip(*epochs(args, folder, part, count), strict=True)
                medians = statistics.median(clock), statistics.median(processor)
                alone = alone or medians
                row = [part, str(count)]
                for seconds, median, first in zip((clock, processor), medians, alone, strict=True):
                    row.append(f"{median:.1f} ({min(seconds):.1f} to {max(seconds):.1f})")
                    row.append(f"{first / median:.2f}")
                rows.append(row)
                print(", ".join(row), file=sys.stderr, flush=True)
    head = ["trained", "processes", "seconds an epoch", "times as fast"]
    print(table([*head, "processor seconds of a process", "times as few"], rows))


def epochs(args: argparse.Namespace, folder: str, part: str, count: int) -> list[list[float]]:
    """Of each epoch but the first: seconds, and processor seconds of the process with the most."""
    with ExitStack() as held:
        servers = [held.enter_context(socket.create_server(("", 0))) for _ in range(count)]
        addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    options = ["--size", args.size, "--epochs", args.epochs, "--batch-size", args.batch_size]
    running = []
    for index in range(count):
        place = [folder, index, addresses, cores[index % len(cores)] if cores else None]
        command = [__file__, *options, "--part", part, "--process", json.dumps(place)]
        running.append(
            subprocess.Popen(
                [sys.executable, *map(str, command)],
                env={**os.environ, "PYTHONPATH": str(PROJECT), "KERAS_BACKEND": "jax"},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    outputs = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        sys.exit("a process failed")
    seconds = [json.loads(output.splitlines()[-1]) for output in outputs]
    return [list(map(max, zip(*epoch, strict=True))) for epoch in zip(*seconds, strict=True)][1:]


def work(args: argparse.Namespace) -> None:
    """What a process does. At the end it prints the seconds of its epochs, as epochs() has them."""
    folder, index, addresses, core = json.loads(args.process)
    if core is not None:
        os.sched_setaffinity(0, [core])

    from pathlib import Path

    import numpy as np

    from facemask.data.batches import batches
    from facemask.data.dataset import load_labelled_images
    from facemask.train import fit
    from facemask.train import model as model_module
    from facemask.train.checkpoint import Checkpoint, State
    from facemask.train.distribution import initialize

    times = [(time.perf_counter(), time.process_time())]

    class Clock(Checkpoint):
        """Notes the time of each epoch's end in place of saving."""

        def save(self, stage: str, state: State) -> None:
            times.append((time.perf_counter(), time.process_time()))

    with initialize(addresses, index) as processes:
        model_module.set_seed(0)
        images = load_labelled_images([folder])
        size = (args.size, args.size)
        model = model_module.build_model(len(images.class_names), "none", size)
        if "all" in args.part:
            model_module.unfreeze(model)
        else:
            model.layers[1].trainable = False
        places = np.random.default_rng(0).permutation(len(images))
        held_out = len(images) // 10
        shard = processes.shard
        fit.train(
            model,
            batches(
                images, places[held_out:], size, args.batch_size, augmentation="face", shard=shard
            ),
            batches(images, places[:held_out], size, args.batch_size, shard=shard),
            epochs=args.epochs, learning_rate=1e-4, early_stopping=False, quiet=True,
            checkpoint=Clock(Path(folder), {}), processes=processes,
        )  # fmt: skip
        processes.leave()
        print(json.dumps(np.diff(times, axis=0).tolist()))


if __name__ == "__main__":
    main()
