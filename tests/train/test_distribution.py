"""Training in several processes on 127.0.0.1, and on several devices of one."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
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
from facemask.train.distribution import LOST, Processes, initialize

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


def run(images: Path, output: Path, count: int = 2, devices: int = 1) -> list[Ended]:
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
                images, output, str(index), *addresses,
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


@pytest.fixture(scope="module")
def killed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Ended]]:
    """Where two processes wrote, of which the second was killed, and how both ended."""
    output = tmp_path_factory.mktemp("killed")
    return output, run(folder, output)


@pytest.fixture(scope="module")
def resumed(folder: Path, killed: tuple[Path, list[Ended]]) -> Path:
    """Where the same two processes wrote, started again."""
    output, _ = killed
    ended = run(folder, output)
    assert [process.status for process in ended] == [0, 0], ended[0].errors
    return output


@needs_jax
def test_a_killed_process_ends_the_others_with_a_line(killed: tuple[Path, list[Ended]]) -> None:
    first, second = killed[1]
    assert second.status == -9
    assert first.status == 1
    assert first.errors.splitlines()[-1] == f"[ERROR] {LOST}"
    assert "Traceback" not in first.errors
    assert first.time - second.time < 60


@needs_jax
def test_two_processes_train_as_one_also_when_resumed(resumed: Path, alone: History) -> None:
    (history, weights), (others, other_weights) = (
        result(resumed, f"trained{index}") for index in (0, 1)
    )
    assert_like(history, alone)
    assert others == history
    for first, second in zip(weights, other_weights, strict=True):
        assert np.array_equal(first, second)
    assert not (resumed / "1.npz").exists()  # only process 0 writes the checkpoint


@needs_jax
def test_ctrl_c_in_one_process_ends_all(resumed: Path, alone: History) -> None:
    for index in (0, 1):
        assert_like(result(resumed, f"interrupted{index}")[0], alone, epochs=1)


@needs_jax
def test_two_devices_of_one_process_train_as_one(
    folder: Path, alone: History, tmp_path: Path
) -> None:
    (ended,) = run(folder, tmp_path, count=1, devices=2)
    assert ended.status == 0, ended.errors
    assert_like(result(tmp_path, "trained0")[0], alone)


@needs_jax
def test_processes_with_other_images_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Processes, "_gather", lambda _, digest: np.stack([digest, digest + 1]))
    with pytest.raises(FacemaskError, match="process 1: expected the same images as in process 0"):
        Processes(0, 2).check_same("images", "those of 0")


@pytest.fixture
def jax_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")


@needs_jax
def test_a_port_in_use_is_one_line(jax_backend: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(FacemaskError, match=f"{address}: can't listen: Address already in use"):
            initialize([address, "127.0.0.1:1"], 0)


def test_several_processes_need_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    with pytest.raises(FacemaskError, match=r"KERAS_BACKEND: expected jax .* found tensorflow"):
        initialize(["127.0.0.1:1", "127.0.0.1:2"], 0)


def test_kerass_own_variables_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = "KERAS_DISTRIBUTION_"
    assert initialize().count == 1
    monkeypatch.setenv(prefix + "JOB_ADDRESSES", "a:1,b")
    monkeypatch.setenv(prefix + "NUM_PROCESSES", "2")
    with pytest.raises(FacemaskError, match="PROCESS_ID: expected a whole number, found ''"):
        initialize()
    monkeypatch.setenv(prefix + "PROCESS_ID", "1")
    with pytest.raises(FacemaskError, match=r"^b: expected HOST:PORT"):
        initialize()


def test_batches_are_filled_up_with_rows_that_do_not_count(images: LabelledImages) -> None:
    """Process 1 of 2, with 4 devices: of batches of 5 it has two rows, of the last one fewer."""
    stream, _ = distribution_worker.streams(images, Processes(1, 2))
    padded = Processes(0, 1, devices=4).padded(stream)
    assert len(padded) == len(stream)
    inputs, labels, weights = padded[0]
    assert len(inputs) == len(labels) == len(weights) == 4
    assert np.array_equal(inputs[:2], stream[0][0])
    assert labels[:2].tolist() == stream[0][1].tolist()
    assert labels[2:].tolist() == [distribution.PADDING] * 2
