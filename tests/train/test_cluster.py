import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from facemask.data.dataset import load_labelled_images
from facemask.errors import FacemaskError
from facemask.files import PROJECT
from facemask.images import write_image
from facemask.keras_backend import load_keras
from facemask.train import cluster
from facemask.train.cluster import from_tf_config

from ..train.cluster_worker import EPOCHS, compiled, small_model, stopping, streams
from ..train.test_rendezvous import free_addresses


class Done(NamedTuple):
    """What became of a worker."""

    found: dict[str, np.ndarray]
    status: int
    ended: float  # time.monotonic()
    output: str
    errors: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that say nothing of their classes, so that training soon stops."""
    folder = tmp_path_factory.mktemp("cluster")
    rng = np.random.default_rng(0)
    for name in ("with_mask", "without_mask"):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(16):
            image = rng.integers(0, 255, (8, 8, 3), np.uint8)
            write_image(folder / "images" / name / f"{number:02}.png", image)
    return folder


@pytest.fixture(scope="module")
def start(folder: Path) -> list[np.ndarray]:
    load_keras().utils.set_random_seed(1)
    weights = small_model().get_weights()
    np.savez(folder / "start.npz", *weights)
    return weights


@pytest.fixture(scope="module")
def workers(folder: Path, start: list[np.ndarray]) -> tuple[list[str], list[Done]]:
    """The addresses of two workers, and what became of them; cluster_worker.py has their program.

    They end by themselves: the second one kills itself, at which the first one gives up.
    """
    addresses = free_addresses(2)
    running = [
        subprocess.Popen(
            [
                sys.executable, "-m", "tests.cluster_worker", folder / "images",
                folder / "start.npz", folder / f"{number}.npz", str(number), *addresses,
            ],
            cwd=PROJECT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(PROJECT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]  # fmt: skip
    done: dict[int, Done] = {}
    try:
        for number in (1, 0):
            output, errors = running[number].communicate(timeout=200)
            ended = time.monotonic()
            assert f"{number}.npz is written" in output, errors[-3000:]
            with np.load(folder / f"{number}.npz") as found:
                done[number] = Done(dict(found), running[number].returncode, ended, output, errors)
    finally:
        for process in running:
            process.kill()
            process.wait()
    return addresses, [done[0], done[1]]


def test_two_workers_train_as_one(folder: Path, start: list[np.ndarray], workers: Any) -> None:
    """Keras's own fit, on whole batches; the second worker started from other weights."""
    model = compiled(small_model())
    model.set_weights(start)
    training, validation = streams(load_labelled_images([folder / "images"]))
    history = model.fit(
        training, validation_data=validation, epochs=EPOCHS, shuffle=False, verbose=0,
        callbacks=[stopping()],
    )  # fmt: skip
    curves: dict[str, list[float]] = history.history
    assert set(curves) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    for one in workers[1]:
        for name, curve in curves.items():
            assert one.found[name] == pytest.approx(curve, abs=1e-4)
        for number, weights in enumerate(model.get_weights()):
            assert np.allclose(one.found[f"weights_{number}"], weights, atol=1e-4)
    assert not np.allclose(model.get_weights()[-2], start[-2], atol=1e-2)


def test_the_statistics_of_batch_normalization_stay_the_same(workers: Any) -> None:
    first, second = (one.found for one in workers[1])
    names = [name for name in first if name.startswith("random_")]
    assert len(names) == 10
    for name in names:
        assert np.array_equal(first[name], second[name])


def test_each_worker_drops_other_units_out(workers: Any) -> None:
    first, second = (one.found["kept"] for one in workers[1])
    assert (first != second).any()


def test_all_are_told_what_worker_0_says(workers: Any) -> None:
    assert {str(one.found["told"]) for one in workers[1]} == {"what worker 0 says: é"}


def test_workers_with_other_images_are_told_apart(workers: Any) -> None:
    addresses, done = workers
    for one in done:
        assert str(one.found["not_same"]) == (
            f"{addresses[1]}: expected worker 1 to have the same images as worker 0, found others"
        )


def test_when_a_worker_is_killed_the_others_say_so_and_end(workers: Any) -> None:
    addresses, (first, second) = workers
    assert second.status == -9
    assert first.status == 1
    assert first.errors.splitlines()[-1] == (
        f"[ERROR] {addresses[1]}: expected worker 1 to stay till the end, found: its connection"
        " closed"
    )
    assert "Traceback" not in first.errors
    assert first.ended - second.ended < 60


def test_a_cluster_of_one_trains_as_keras_does(folder: Path, start: list[np.ndarray]) -> None:
    images = load_labelled_images([folder / "images"])
    curves = []
    for alone in (True, False):
        model = compiled(small_model())
        model.set_weights(start)
        training, validation = streams(images)
        if alone:
            group = cluster.join(["127.0.0.1:1"], 0)
            assert group.chief
            curves.append(cluster.fit(group, model, training, validation, epochs=3, quiet=True))
        else:
            history = model.fit(
                training, validation_data=validation, epochs=3, shuffle=False, verbose=0
            )
            curves.append(history.history)
    for name, curve in curves[1].items():
        assert curves[0][name] == pytest.approx(curve, abs=1e-5)


@pytest.mark.parametrize("count", [2, 6])
def test_shares_make_the_whole_batch(folder: Path, count: int) -> None:
    images = load_labelled_images([folder / "images"])
    whole, _ = streams(images)
    read = [streams(images, (number, count))[0] for number in range(count)]
    whole_again, _ = streams(images)
    for _ in range(2):
        for place in range(len(whole)):
            for part, expected in enumerate(whole[place]):
                concatenate = np.empty_like(expected)
                for number, one in enumerate(read):
                    assert len(one) == len(whole)
                    concatenate[number::count] = one[place][part]
                assert np.array_equal(concatenate, expected)
        for stream in (whole, *read):
            stream.on_epoch_end()
    assert not np.array_equal(whole[0][0], whole_again[0][0])


def test_an_address_that_is_none_is_refused_before_anything() -> None:
    with pytest.raises(FacemaskError, match=r"^here: expected HOST:PORT"):
        cluster.join(["here", "there:1"], 0)


def test_tensorflows_variable_for_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert from_tf_config() is None
    said: dict[str, Any] = {
        "cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1},
    }  # fmt: skip
    monkeypatch.setenv("TF_CONFIG", json.dumps(said))
    assert from_tf_config() == (("a:1", "b:2"), 1)
    said["cluster"]["chief"] = ["c:3"]
    monkeypatch.setenv("TF_CONFIG", json.dumps(said))
    assert from_tf_config() == (("c:3", "a:1", "b:2"), 2)


@pytest.mark.parametrize(
    "said",
    ["{", "[]", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
     '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": "x"}}'],
)  # fmt: skip
def test_a_variable_of_another_form_is_refused(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("TF_CONFIG", said)
    with pytest.raises(FacemaskError, match=r"^TF_CONFIG: expected \{"):
        from_tf_config()
