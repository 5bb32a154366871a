"""Run a script once for each GPU of this machine, as one cluster.

    python -m facemask.workers train_mask_detector.py --dataset dataset

The script finds its place in the cluster in TF_CONFIG, see cluster.from_tf_config, and its GPU in
CUDA_VISIBLE_DEVICES. What worker 0 says is shown; the others would say the same.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO

from facemask.console import run
from facemask.errors import FacemaskError
from facemask.options import ArgumentParser, whole_number
from facemask.train.rendezvous import GRACE

# Seconds for the other workers to end by themselves once one has failed.
_PATIENCE = 3 * GRACE


def main(argv: Sequence[str] | None = None) -> int:
    parser = ArgumentParser(
        prog="python -m facemask.workers",
        description="Run a script once for each GPU of this machine, as one cluster.",
    )
    parser.add_argument(
        "--count", type=whole_number(1), metavar="N", help="workers (one for each GPU)"
    )
    parser.add_argument("script", metavar="SCRIPT", help="a Python script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the script's own")
    args = parser.parse_args(argv)
    if not os.path.isfile(args.script):
        parser.error(f"{args.script}: expected a Python script, found no such file")
    gpus = visible_gpus()
    count = args.count or len(gpus)
    if not count:
        raise FacemaskError("expected GPUs, found none; --count says how many workers to run")
    return run_workers([sys.executable, args.script, *args.arguments], count, gpus)


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may name, of the GPUs that TensorFlow could use."""
    from facemask.keras_backend import load_keras

    load_keras()
    import tensorflow as tf

    found = len(tf.config.list_physical_devices("GPU"))
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or [str(number) for number in range(found)])[:found]


def run_workers(command: Sequence[str], count: int, gpus: Sequence[str] = ()) -> int:
    """Run a command `count` times, as the workers of a cluster, and wait for them.

    gpus: as CUDA_VISIBLE_DEVICES names them; given to the workers in turn.
    Returns 0 or the status of the first worker that failed; the others are then ended, if they do
    not end by themselves. Its errors are shown.
    """
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(count)]
    running: list[subprocess.Popen[bytes]] = []
    with contextlib.ExitStack() as opened:
        errors: list[IO[bytes]] = []
        try:
            for number in range(count):
                place = {
                    "cluster": {"worker": addresses},
                    "task": {"type": "worker", "index": number},
                }
                environment = {**os.environ, "TF_CONFIG": json.dumps(place)}
                if gpus:
                    environment["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
                errors.append(opened.enter_context(tempfile.TemporaryFile()))
                shown = number == 0
                running.append(
                    subprocess.Popen(
                        command,
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        stdout=None if shown else subprocess.DEVNULL,
                        stderr=None if shown else errors[-1],
                    )
                )
            failed = _wait(running)
        finally:
            for process in running:
                if process.poll() is None:
                    process.terminate()
            for process in running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
                process.kill()
                process.wait()
        if failed is None:
            return 0
        # Worker 0 has said already what it met, be it the end of this one; if it could. Of one that
        # was killed the others tell.
        if running[0].returncode <= 0:
            said = [_text(file) for file in errors]
            lines = [line for text in (said[failed], *said) for line in text.splitlines()]
            told = [line for line in lines if line.startswith("[ERROR]")]
            sys.stderr.write(f"{told[0]}\n" if told else said[failed])
        status = running[failed].returncode
        return status if status > 0 else 128 - status  # as a shell says it of a signal


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _wait(running: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """The number of the first that failed; returns when all have ended, or a while after that."""
    failed, deadline = None, float("inf")
    while any(process.poll() is None for process in running) and time.monotonic() < deadline:
        if failed is None and (failed := _first_failed(running)) is not None:
            deadline = time.monotonic() + _PATIENCE
        time.sleep(0.1)
    return _first_failed(running) if failed is None else failed


def _first_failed(running: Sequence[subprocess.Popen[bytes]]) -> int | None:
    return next((n for n, process in enumerate(running) if process.poll()), None)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        servers = [held.enter_context(socket.create_server(("", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


if __name__ == "__main__":
    run(main)
