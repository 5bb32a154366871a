"""Labelling an archive in parts: alone, through Dask, and with workers that are killed."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from distributed import KilledWorker, LocalCluster

import detect_mask_image
from facemask.batch import dask_engine, labelling
from facemask.batch.archive import ArchiveRun, find_archive
from facemask.batch.dask_engine import Cluster, open_cluster
from facemask.batch.labelling import Part, PartResult, Settings, label_part
from facemask.detect import ssd
from facemask.errors import FacemaskError
from facemask.files import PROJECT

from ..conftest import FakeDetector, obey_ctrl_c, refusal

SETTINGS = Settings(
    "model", "face", "ssd", tiles=1, confidence=0.5, uncertain=0.0, max_pixels=10**6
)


def write(path: Path, brightness: int = 200) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((60, 80, 3), brightness, np.uint8))


@pytest.fixture
def photos(fake_networks: FakeDetector, tmp_path: Path) -> Iterator[Path]:
    """A working folder with seven photos, one of them no image, a text, and files of weights."""
    for number in range(6):
        write(tmp_path / "photos" / f"{number}.png", 40 * number)
    (tmp_path / "photos" / "3b.jpg").write_bytes(b"not an image")
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    (tmp_path / "model").write_bytes(b"a model")
    (tmp_path / "face").mkdir()
    (tmp_path / "face" / ssd.WEIGHTS_NAME).write_bytes(b"a detector")
    yield tmp_path
    labelling._load.cache_clear()


def in_turn(function, tasks: Iterable[Any]) -> Iterator[Any]:
    for task in tasks:
        yield task, function(task)


def backwards_and_twice(function, tasks: Iterable[Any]) -> Iterator[Any]:
    for task in reversed(list(tasks)):
        function(task)
        yield task, function(task)


def run(
    given: list[str], parts: str = "parts", engine=in_turn, size: int = 3, settings=SETTINGS
) -> list[PartResult]:
    """Find the images, check the folder and do the parts, as the script does."""
    items, _ = find_archive(given)
    archive_run = ArchiveRun(items, settings, parts, size)
    archive_run.check_folder(given)
    return list(archive_run.label(engine))


def records(folder: Path | str = "parts") -> list[dict[str, Any]]:
    """All parts together, in the order of their names."""
    files = sorted(Path(folder).glob("part-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def plain_run(*arguments: str) -> list[dict[str, Any]]:
    """The records of the same images in a run without an engine."""
    given = [*arguments, "--json", "plain.json", "--no-display"]
    assert detect_mask_image.main(given) in (0, 1)
    return json.loads(Path("plain.json").read_text())


def test_the_parts_are_the_plain_runs_json(photos: Path) -> None:
    results = run(["photos", "missing.png", "photos/0.png"])
    plain = plain_run(
        "--image", "photos", "missing.png", "photos/0.png", "--face", "face", "--model", "model",
        "--detector", "ssd",
    )  # fmt: skip
    assert len(plain) == 9
    assert records() == plain
    assert sorted(os.listdir("parts")) == [
        "manifest.json", "part-00000.jsonl", "part-00001.jsonl", "part-00002.jsonl"
    ]  # fmt: skip
    assert sum(result.images for result in results) == 9
    assert sum(result.faces for result in results) == 7
    problems = [problem for result in results for problem in result.problems]
    assert problems == [record["error"] for record in plain if "error" in record]
    assert len(problems) == 2


def test_images_of_too_many_pixels_are_problems_until_the_limit_is_raised(photos: Path) -> None:
    small = replace(SETTINGS, max_pixels=60 * 80 - 1)
    results = run(["photos/0.png"], settings=small)
    assert [result.faces for result in results] == [0]
    assert "--max-megapixels" in records()[0]["error"]
    Path("parts/part-00000.jsonl").unlink()
    assert [result.faces for result in run(["photos/0.png"])] == [1]


def test_parts_done_twice_and_in_any_order_are_the_same(photos: Path) -> None:
    run(["photos"], "once")
    run(["photos"], "twice", backwards_and_twice)
    files = sorted(Path("once").iterdir())
    assert len(files) == 4
    assert [file.read_bytes() for file in files] == [
        Path("twice", file.name).read_bytes() for file in files
    ]


def test_complete_parts_are_kept_and_others_are_done(
    photos: Path, fake_networks: FakeDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(["photos"], size=1)
    expected = records()
    whole = Path("parts/part-00001.jsonl").read_bytes()
    Path("parts/part-00002.jsonl").unlink()
    Path("parts/part-00004.jsonl").write_bytes(b"")
    Path("parts/part-00005.jsonl").write_bytes(whole)  # of another image
    Path("parts/part-00006.jsonl").write_bytes(whole[:20])
    Path("parts/.part-00006.123.part.jsonl").write_bytes(b"from a killed worker")
    brightness = []
    find = fake_networks.detect
    monkeypatch.setattr(
        fake_networks, "detect", lambda image, _: brightness.append(image.mean()) or find(image)
    )
    items, _ = find_archive(["photos"])
    again = ArchiveRun(items, SETTINGS, "parts", 1)
    assert again.check_folder(["photos"]) == 6
    results = list(again.label(in_turn))
    assert brightness == [80, 160, 200]  # part 4 is the file that is no image
    assert records() == expected
    assert sum(result.images for result in results) == 7
    assert len(os.listdir("parts")) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"given": ["photos/0.png", "photos"]}, "its images is 7, this run's 8"),
        ({"given": [f"photos/{n}.png" for n in range(6)] + ["x"]}, "its images_sha256 is "),
        ({"size": 2}, "its part_size is 3, this run's 2"),
        ({"settings": replace(SETTINGS, model="other")}, "its model_sha256 is "),
        ({"settings": replace(SETTINGS, face="faces")}, "its detector_sha256 is "),
        ({"settings": replace(SETTINGS, uncertain=0.8)}, "its uncertain is 0.0, this run's 0.8"),
        (
            {"settings": replace(SETTINGS, merge_incorrect="with_mask")},
            "its merge_incorrect is None, this run's with_mask",
        ),
    ],
)
def test_the_parts_of_another_run_are_refused(photos: Path, change: dict, message: str) -> None:
    run(["photos"])
    before = {path: path.read_bytes() for path in Path("parts").iterdir()}
    Path("other").write_bytes(b"another model")
    Path("faces").mkdir()
    Path("faces", ssd.WEIGHTS_NAME).write_bytes(b"another detector")
    with pytest.raises(FacemaskError, match=f"^parts: holds the parts of another run: {message}"):
        run(**{"given": ["photos"], **change})
    assert {path: path.read_bytes() for path in Path("parts").iterdir()} == before


def test_a_run_of_an_earlier_version_goes_on(photos: Path) -> None:
    """Its manifest does not have all keys of today."""
    run(["photos"])
    manifest = json.loads(Path("parts/manifest.json").read_text())
    del manifest["merge_incorrect"]
    Path("parts/manifest.json").write_text(json.dumps(manifest))
    Path("parts/part-00000.jsonl").unlink()
    assert sum(result.images for result in run(["photos"])) == 7


@pytest.mark.parametrize("manifest", [None, "{", "[]"])
def test_parts_without_a_readable_manifest_are_refused(photos: Path, manifest: str | None) -> None:
    Path("parts").mkdir()
    Path("parts/part-00000.jsonl").write_text("mine\n")
    if manifest:
        Path("parts/manifest.json").write_text(manifest)
    with pytest.raises(FacemaskError, match=r"parts(: holds|/manifest\.json: is no manifest)"):
        run(["photos"])
    assert Path("parts/part-00000.jsonl").read_text() == "mine\n"


@pytest.mark.parametrize("parts", ["photos", "photos/parts", "file://PHOTOS/x"])
def test_parts_beside_the_images_are_refused(photos: Path, parts: str) -> None:
    parts = parts.replace("PHOTOS", str(photos / "photos"))
    with pytest.raises(FacemaskError, match=r"lies in photos, whose files are the images"):
        run(["photos"], parts)


def test_a_worker_with_other_weights_does_nothing(photos: Path) -> None:
    items, _ = find_archive(["photos"])
    archive_run = ArchiveRun(items, SETTINGS, "parts", 3)

    def elsewhere(function, tasks: Iterable[Any]) -> Iterator[Any]:
        for task in tasks:
            yield task, function(replace(task, weights=(task.weights[0], "other")))

    with pytest.raises(FacemaskError, match=rf"{ssd.WEIGHTS_NAME}: the file on .* is not the one"):
        list(archive_run.label(elsewhere))
    assert os.listdir("parts") == ["manifest.json"]


def test_a_part_that_is_abandoned_is_a_problem_and_the_others_are_done(photos: Path) -> None:
    def deadly(function, tasks: Iterable[Any]) -> Iterator[Any]:
        for task in tasks:
            yield task, None if task.location.endswith("part-00001.jsonl") else function(task)

    results = run(["photos"], engine=deadly)
    assert [result.missing for result in results] == [0, 3, 0]
    assert results[1].problems[0].startswith("part-00001.jsonl: not written: several workers")
    assert results[1].problems[0].endswith("3 images, from photos/3.png to photos/4.png")
    assert [record["image"] for record in records()] == [
        "photos/0.png",
        "photos/1.png",
        "photos/2.png",
        "photos/5.png",
    ]


def test_object_stores_are_read_and_written(photos: Path) -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    store.rm("/", recursive=True)
    for path in sorted(Path("photos").iterdir()):
        store.pipe_file(f"/bucket/deep/{path.name}", path.read_bytes())
    store.pipe_file("/bucket/.hidden/0.png", b"")
    items, skipped = find_archive(["memory://bucket"])
    assert [name for name, _ in items][:2] == [
        "memory://bucket/deep/0.png",
        "memory://bucket/deep/1.png",
    ]
    assert skipped == ["memory://bucket/deep/notes.txt"]
    given = ["memory://bucket/", "memory://bucket/none.png"]
    results = run(given, "memory://found/parts")
    problems = [problem for result in results for problem in result.problems]
    assert problems == [
        "memory://bucket/deep/3b.jpg: not an image, or of a format unknown here",
        "memory://bucket/none.png: no such image, or none that may be read",
    ]
    names = sorted(path.rpartition("/")[2] for path in store.ls("/found/parts", detail=False))
    assert names == ["manifest.json", *(f"part-0000{number}.jsonl" for number in range(3))]
    stored = [
        json.loads(line)
        for name in names[1:]
        for line in store.cat_file(f"/found/parts/{name}").splitlines()
    ]
    remote = [record for record in stored if "error" not in record]
    plain = plain_run("-i", "photos", "--face", "face", "--model", "model", "--detector", "ssd")
    local = [record for record in plain if "error" not in record]
    assert [record["faces"] for record in remote] == [record["faces"] for record in local]
    store.rm_file("/found/parts/part-00001.jsonl")
    run(given, "memory://found/parts")
    assert store.exists("/found/parts/part-00001.jsonl")
    with pytest.raises(FacemaskError, match="holds the parts of another run"):
        run(["memory://bucket"], "memory://found/parts")
    with pytest.raises(FacemaskError, match="lies in memory://bucket"):
        run(["memory://bucket"], "memory://bucket/deep/parts")
    with pytest.raises(FacemaskError, match="found none in it"):
        find_archive(["memory://found"])


def test_file_urls_are_paths(photos: Path) -> None:
    url = f"file://{photos}/photos"
    run([url], f"file://{photos}/out")
    assert [record["image"] for record in records("out")][:4] == [
        f"{url}/{name}" for name in ("0.png", "1.png", "2.png", "3.png")
    ]
    assert len(records("out")[5]["faces"]) == 1


@pytest.mark.parametrize("url", ["zork://a/b", "s3://"])
def test_a_store_that_cannot_be_opened_is_one_line(photos: Path, url: str) -> None:
    with pytest.raises(FacemaskError, match=f"^{url}: can't be ") as problem:
        find_archive([url])
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--engine dask", "expected --parts with it"),
        ("--engine ray --parts p", "invalid choice"),
        ("--parts p", "argument --parts: expected --engine dask with it"),
        ("--workers 2", "argument --workers: expected --engine dask with it"),
        ("--engine dask --parts p --json a.json", "argument --json: not with --engine dask"),
        ("--engine dask --parts p --output out", "argument --output: not with --engine dask"),
        ("--engine dask --parts p --workers 0", "expected a whole number"),
        ("--engine dask --parts p --part-size 0", "expected a whole number"),
        ("--engine dask --parts p --engine-address here", "here: expected HOST:PORT"),
        ("--engine dask --parts p --engine-address a:99999", "expected HOST:PORT"),
        ("--engine dask --parts p --workers 2 --engine-address a:1", "not with --engine-address"),
    ],
)
def test_wrong_arguments(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refusal(detect_mask_image.main, ["-i", "x.png", *arguments.split()], capsys)


class FakeFuture:
    def __init__(self, key: str, outcome: Any):
        self.key, self._outcome = key, outcome

    def add_done_callback(self, function) -> None:
        if self._outcome != "never":
            function(self)

    def result(self) -> Any:
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


class FakeClient:
    """Does each task when it is submitted. An exception as a task is raised; "never" never ends."""

    def __init__(self, workers: int = 1):
        self.workers, self.count = workers, 0

    def nthreads(self) -> dict[str, int]:
        return {str(number): 1 for number in range(self.workers)}

    def submit(self, function, task: Any, pure: bool) -> FakeFuture:
        self.count += 1
        outcome = task if isinstance(task, Exception) or task == "never" else function(task)
        return FakeFuture(str(self.count), outcome)


def test_tasks_are_submitted_a_few_at_a_time() -> None:
    client = FakeClient()
    tasks = iter(range(10 * dask_engine.AHEAD))
    results = Cluster(client, "here").each(lambda task: -task, tasks)
    assert next(results) == (0, 0)
    assert next(tasks) == dask_engine.AHEAD
    assert sorted(result for _, result in results if result is not None)[-1] == -1
    assert next(tasks, None) is None


def test_a_task_that_ends_its_workers_has_no_result() -> None:
    killed: Any = KilledWorker("task", None, 3)  # pyright: ignore[reportArgumentType]
    assert list(Cluster(FakeClient(), "here").each(str, [killed, 2])) == [(killed, None), (2, "2")]


def from_a_scheduler(cause: Exception) -> Exception:
    """The error of a Dask scheduler that can't unpack the tasks."""
    error = RuntimeError("Error during deserialization of the task graph.\nFor more ...")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (CancelledError(), "here: no longer answers; the same command continues"),
        (ModuleNotFoundError("No module named 'facemask'"), "started in the project's folder"),
        (from_a_scheduler(ImportError("no cv2")), "can't import what it needs .no cv2.; expected"),
        (FacemaskError("m.keras: bad"), "m.keras: bad"),
        ("never", "here: has had no worker for 0 seconds"),
    ],
)
def test_what_ends_a_run_is_one_line(
    outcome: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_engine, "POLL_S", 0.01)
    monkeypatch.setattr(dask_engine, "LOST_S", 0.05)
    with pytest.raises(FacemaskError, match=message):
        list(Cluster(FakeClient(workers=0), "here").each(str, [outcome]))


def test_without_a_scheduler_the_error_is_one_line(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that is free, and one where something else listens."""
    monkeypatch.setattr(dask_engine, "ANSWER_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        taken = silent.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as server:
            free = server.getsockname()[1]
        for port in (free, taken):
            arguments = (
                "-i photos --face face --model model --detector ssd --engine dask --parts p"
                f" --engine-address 127.0.0.1:{port}"
            )
            with pytest.raises(FacemaskError, match=rf"^127\.0\.0\.1:{port}: expected a Dask sche"):
                detect_mask_image.main(arguments.split())
    assert not Path("p").exists()


def test_a_cluster_is_joined(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A scheduler on 127.0.0.1 whose worker is, here, a thread: it sees the fake networks."""
    monkeypatch.setattr(dask_engine, "ANSWER_S", 2.0)
    with LocalCluster(
        n_workers=0, threads_per_worker=1, processes=False, protocol="tcp://", host="127.0.0.1",
        dashboard_address=None,  # pyright: ignore[reportArgumentType]
    ) as local_cluster:  # fmt: skip
        cluster: Any = local_cluster
        address = cluster.scheduler_address.removeprefix("tcp://")
        with pytest.raises(FacemaskError, match="expected a scheduler with workers, found none"):
            open_cluster(address, None, print).__enter__()
        cluster.scale(1)
        cluster.wait_for_workers(1)
        worker = next(iter(cluster.workers.values())).address
        with pytest.raises(FacemaskError, match="expected a Dask scheduler there, found a Worker"):
            open_cluster(worker, None, print).__enter__()
        common = ["--image", "photos", "--face", "face", "--model", "model", "--detector", "ssd"]
        engine = ["--engine", "dask", "--engine-address", address, "--part-size", "2"]
        assert detect_mask_image.main([*common, *engine, "--parts", "parts"]) == 1
        output = capsys.readouterr()
        assert "[INFO] labelling 7 images in 4 parts" in output.out
        assert "[INFO] 7 images, 6 faces, 1 could not be read\n" in output.out
        assert output.err == "[ERROR] photos/3b.jpg: not an image, or of a format unknown here\n"
        assert records() == plain_run(*common)


def test_workers_of_our_own(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """They keep the memory of an image for the next one, and a port that is in use disturbs nobody.

    Dask sets a threshold with which each image takes three times as many page faults.
    """
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    with socket.socket() as other_run:
        with suppress(OSError):  # in use it is then as well
            other_run.bind(("127.0.0.1", 8787))
            other_run.listen()
        with open_cluster(None, 1, print) as cluster:
            ((_, threshold),) = cluster.each(os.getenv, ["MALLOC_TRIM_THRESHOLD_"])
    assert threshold is None
    assert not recwarn.list


def test_a_run_that_is_interrupted_continued_and_loses_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real networks, two real processes: nothing is lost, nothing doubled, no figure differs."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number in range(36):
        example = PROJECT / "examples" / f"example_0{1 + number % 3}.png"
        Path("photos", f"{number:02}.png").symlink_to(example)
    Path("photos", "17b.png").write_bytes(b"not an image")
    common = ["--image", "photos", "--detector", "builtin"]

    def start() -> subprocess.Popen[str]:
        running = subprocess.Popen(
            [
                sys.executable, PROJECT / "detect_mask_image.py", *common, "--engine", "dask",
                "--workers", "2", "--part-size", "2", "--parts", "parts",
            ],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=obey_ctrl_c,
        )  # fmt: skip
        return running

    def wait_for_parts(running: subprocess.Popen[str], count: int) -> None:
        while len(list(Path("parts").glob("part-*"))) < count and running.poll() is None:
            time.sleep(0.01)

    running = start()
    wait_for_parts(running, 1)
    os.killpg(running.pid, signal.SIGINT)  # as Ctrl-C in a terminal, to the workers as well
    _, problems = running.communicate(timeout=60)
    assert (running.returncode, problems) == (130, "[ERROR] interrupted\n")
    existing = len(list(Path("parts").glob("part-*")))
    assert 1 <= existing < 19

    running = start()
    wait_for_parts(running, existing + 1)
    workers = [
        child
        for child in psutil.Process(running.pid).children()
        if any("spawn_main" in argument for argument in child.cmdline())
    ]
    assert len(workers) == 2
    workers[0].send_signal(signal.SIGKILL)
    output, problems = running.communicate(timeout=120)
    assert running.returncode == 1
    assert problems.splitlines() == [
        "[WARN] a worker ended unexpectedly; its images are labelled again",
        "[ERROR] photos/17b.png: not an image, or of a format unknown here",
    ]
    assert f"[INFO] parts has {existing} of 19 parts already\n" in output
    assert re.search(r"\[INFO\] 37 images, \d+ faces, 1 could not be read\n", output)
    assert len(os.listdir("parts")) == 20
    assert records() == plain_run(*common)
    assert not any(worker.is_running() for worker in workers)


def test_label_part_can_be_sent() -> None:
    """Dask sends the function by its name, so the other side must be able to import it."""
    import pickle

    part = Part("/parts/part-00000.jsonl", (("a.png", "a.png"),), SETTINGS, ("a", "b"), "/")
    assert pickle.loads(pickle.dumps((label_part, part))) == (label_part, part)
