"""Training in several processes on 127.0.0.1, and on several devices of one."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from facemask.data.dataset import LabelledImages, load_labelled_images
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.images import write_image
from facemask.train import distribution
from facemask.train.checkpoint import History
from facemask.train.distribution import ALONE, LOST, Processes, initialize

from . import distribution_worker

needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is not installed"
)


class Ended(NamedTuple):
    """How a process ended."""

    status: int
    time: float  # time.monotonic()
    errors: str


def free_addresses(count: int) -> list[str]:
    """Of ports that nobody listens on."""
    with ExitStack() as held:
        servers = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]


def run(images: Path, output: Path, action: str, count: int = 2, devices: int = 1) -> list[Ended]:
    """Start so many of distribution_worker.py, and wait for them."""
    addresses = free_addresses(count)
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": str(PROJECT),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    processes = [
        subprocess.Popen(
            [
                sys.executable, "-m", "tests.train.distribution_worker",
                images, output, action, str(index), *addresses,
            ],
            cwd=PROJECT, env=environment, stderr=subprocess.PIPE, text=True,
        )
        for index in range(count)
    ]  # fmt: skip
    ended: dict[int, Ended] = {}
    try:
        for index in reversed(range(count)):  # the last one is the first to be killed
            _, errors = processes[index].communicate(timeout=150)
            ended[index] = Ended(processes[index].returncode, time.monotonic(), errors)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [ended[index] for index in range(count)]


def result(output: Path, name: str) -> tuple[History, list[np.ndarray]]:
    """The history and the weights that a process wrote."""
    with np.load(output / f"{name}.npz") as file:
        arrays = dict(file)
    weights = [arrays.pop(name) for name in sorted(arrays) if name.startswith("weights")]
    return {name: array.tolist() for name, array in arrays.items()}, weights


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> LabelledImages:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name in ("with_mask", "without_mask"):
        (folder / name).mkdir()
        for number in range(16):
            image = rng.integers(0, 255, (8, 8, 3), np.uint8)
            write_image(folder / name / f"{number:02}.png", image)
    return load_labelled_images([folder])


@pytest.fixture(scope="module")
def folder(images: LabelledImages) -> Path:
    return images.paths[0].parent.parent


@pytest.fixture(scope="module")
def alone(images: LabelledImages) -> History:
    """The history of one process, on TensorFlow, from the weights of process 0."""
    return distribution_worker.train(distribution_worker.small_model(seed=1), images)


def assert_like(history: History, expected: History, epochs: int | None = None) -> None:
    assert set(history) == set(expected)
    for name, values in expected.items():
        assert history[name] == pytest.approx(values[:epochs], abs=2e-5)


@needs_jax
def test_two_processes_train_as_one(folder: Path, alone: History, tmp_path: Path) -> None:
    ended = run(folder, tmp_path, "train")
    assert [process.status for process in ended] == [0, 0], ended[0].errors
    first, second = (result(tmp_path, f"train{index}") for index in (0, 1))
    assert_like(first[0], alone)
    assert second[0] == first[0]
    for weights, others in zip(first[1], second[1], strict=True):
        assert np.array_equal(weights, others)


@needs_jax
def test_two_devices_of_one_process_train_as_one(
    folder: Path, alone: History, tmp_path: Path
) -> None:
    (ended,) = run(folder, tmp_path, "train", count=1, devices=2)
    assert ended.status == 0, ended.errors
    assert_like(result(tmp_path, "train0")[0], alone)


@needs_jax
def test_a_killed_process_ends_the_other_and_both_resume(
    folder: Path, alone: History, tmp_path: Path
) -> None:
    first, second = run(folder, tmp_path, "killed")
    assert second.status == -9
    assert first.status == 1
    assert first.errors.splitlines()[-1] == f"[ERROR] {LOST}"
    assert "Traceback" not in first.errors
    assert first.time - second.time < 60
    assert [path.name for path in tmp_path.iterdir()] == ["0.npz"]
    ended = run(folder, tmp_path, "resume")
    assert [process.status for process in ended] == [0, 0], ended[0].errors
    for index in (0, 1):
        assert_like(result(tmp_path, f"resume{index}")[0], alone)


@needs_jax
def test_ctrl_c_in_one_process_ends_all(folder: Path, alone: History, tmp_path: Path) -> None:
    ended = run(folder, tmp_path, "interrupted")
    assert [process.status for process in ended] == [0, 0], ended[0].errors
    for index in (0, 1):
        assert_like(result(tmp_path, f"interrupted{index}")[0], alone, epochs=2)
