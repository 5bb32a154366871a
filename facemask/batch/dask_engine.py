"""Worker processes, on this machine or on many, through Dask; see requirements-archive.txt."""

import asyncio
import logging
import os
import queue
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from facemask.errors import FacemaskError

T = TypeVar("T")
R = TypeVar("R")

ANSWER_S = 10.0  # that a scheduler has to answer, and then to have a worker
LOST_S = 60.0  # that a cluster may be without any worker, before the run is given up
LOOK_S = 5.0  # how often it is looked whether there still are workers
# More tasks than this are not handed over before others are done: a task carries its images' names.
AHEAD = 256


class Cluster:
    """Workers that tasks can be given to."""

    def __init__(self, client: Any, name: str):
        self._client = client
        self._name = name

    def workers(self) -> int:
        """How many tasks are worked on at once."""
        try:
            return sum(self._client.nthreads().values())
        except Exception as error:  # whatever the connection fails with
            raise self._gone() from error

    def each(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[T, R | None]]:
        """Each task with function(task), in the order in which they are done.

        A task whose worker is killed is given to another one. One that ended its workers several
        times (four, unless the scheduler is set otherwise) comes with None. What function raises
        is raised. Raises FacemaskError when the cluster is gone, or for a minute without workers.
        """
        from distributed import KilledWorker

        tasks = iter(tasks)
        ahead = max(AHEAD, 4 * self.workers())
        finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        under_way: dict[str, tuple[T, Any]] = {}  # with the futures: a task without one is dropped
        last_seen = time.monotonic()
        while True:
            while len(under_way) < ahead:
                try:
                    task = next(tasks)
                except StopIteration:
                    break
                future = self._client.submit(function, task, pure=False)
                under_way[future.key] = task, future
                future.add_done_callback(finished.put)
            if not under_way:
                return
            try:
                future = finished.get(timeout=LOOK_S)
            except queue.Empty:
                if self.workers():
                    last_seen = time.monotonic()
                elif time.monotonic() - last_seen > LOST_S:
                    raise FacemaskError(
                        f"{self._name}: has had no worker for {LOST_S:.0f} seconds; the same"
                        " command goes on where this run ended"
                    ) from None
                continue
            last_seen = time.monotonic()
            task, _ = under_way.pop(future.key)
            try:
                result = future.result()
            except KilledWorker:
                result = None
            except (CancelledError, OSError) as error:
                raise self._gone() from error
            except (ImportError, RuntimeError) as error:
                missing = _import_error(error)
                if not missing:
                    raise
                raise FacemaskError(
                    f"{self._name}: its scheduler or a worker can't import what it needs"
                    f" ({missing}); expected both started in the project's folder, with what"
                    " requirements.txt and requirements-archive.txt install"
                ) from error
            yield task, result

    def _gone(self) -> FacemaskError:
        return FacemaskError(
            f"{self._name}: no longer answers; the same command goes on where this run ended"
        )


@contextmanager
def open_cluster(
    address: str | None, workers: int | None, warn: Callable[[str], None]
) -> Iterator[Cluster]:
    """The cluster whose scheduler is at HOST:PORT or, without an address, workers of our own.

    workers: how many processes to start on this machine, by default one for each core. They
    listen on 127.0.0.1 alone, to nobody without the run's own keys, and end with the block.
    warn: called, on another thread, with a line for each worker that ends unexpectedly.
    Raises FacemaskError without Dask, where nobody answers, and where there are no workers.
    """
    try:
        from dask import config
        from distributed import Client
    except ImportError as error:
        raise FacemaskError(
            f"--engine dask: needs Dask, which can't be imported ({error});"
            " `pip install -r requirements-archive.txt`"
        ) from error
    with ExitStack() as stack:
        stack.enter_context(_silent_logs())
        if address is None:
            # One task a worker: when it is killed, no waiting one is suspected of that.
            stack.enter_context(config.set({"distributed.scheduler.worker-saturation": 1.0}))
            name = "the worker processes"
            target: Any = stack.enter_context(_started(workers or _cores()))
        else:
            name = target = address
            _check_answer(address)
        client = Client(target, timeout=ANSWER_S, set_as_default=False)
        stack.callback(_close, client)
        cluster = Cluster(client, name)
        _await_worker(cluster, name)
        client.subscribe_topic("all", lambda event: _watch(event, warn))
        stack.callback(_quietly, lambda: client.unsubscribe_topic("all"))
        yield cluster


@contextmanager
def _started(workers: int) -> Iterator[Any]:
    """So many worker processes, which end with the block."""
    from distributed import LocalCluster

    def start() -> Any:
        # Ctrl-C in a terminal goes to all processes. Those that this thread starts, and the threads
        # that it starts for them, never see it; this process, which does, ends them.
        if hasattr(signal, "pthread_sigmask"):  # not on Windows
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,  # not watched: a large image takes what it takes, as without workers
            host="127.0.0.1",
            security=True,
            dashboard_address=None,  # pyright: ignore[reportArgumentType]
            silence_logs=_SILENT,
        )

    resource_tracker.ensure_running()  # where it is not, starting it would undo the mask
    with ThreadPoolExecutor(1) as thread:
        starting = thread.submit(start)
        try:
            cluster = starting.result()
        except BaseException:  # half of a cluster can't be closed
            with suppress(Exception):
                starting.result().close()
            raise
    with cluster:
        yield cluster


def _check_answer(address: str) -> None:
    """Raise FacemaskError where no scheduler answers in time; Client might wait for ever."""
    from distributed import Security
    from distributed.core import rpc

    async def ask() -> Any:
        keys = Security().get_connection_args("client")  # for tls://, from Dask's configuration
        async with rpc(address, connection_args=keys) as server:
            return await server.identity()

    try:
        found = asyncio.run(asyncio.wait_for(ask(), ANSWER_S)).get("type")
    except Exception as error:  # no answer, or one that Dask does not understand
        raise FacemaskError(
            f"{address}: expected a Dask scheduler there, found none that answers within"
            f" {ANSWER_S:.0f} seconds"
        ) from error
    if found != "Scheduler":
        raise FacemaskError(f"{address}: expected a Dask scheduler there, found a {found}")


def _import_error(error: BaseException | None) -> ImportError | None:
    """The import that failed, also where it is a scheduler's, which tells it as a cause."""
    while error and not isinstance(error, ImportError):
        error = error.__cause__
    return error


def _await_worker(cluster: Cluster, name: str) -> None:
    end = time.monotonic() + ANSWER_S
    while not cluster.workers():
        if time.monotonic() > end:
            raise FacemaskError(
                f"{name}: expected a scheduler with workers, found none of them within"
                f" {ANSWER_S:.0f} seconds; `python -m dask worker {name}` starts some"
            )
        time.sleep(0.1)


def _watch(event: Any, warn: Callable[[str], None]) -> None:
    _, what = event
    if what.get("action") == "remove-worker" and not what.get("expected"):
        warn("a worker ended unexpectedly; what it was at is done again")


_SILENT = logging.CRITICAL + 1


@contextmanager
def _silent_logs() -> Iterator[None]:
    """Keep Dask's own reports off the screen: what matters of them is said in a line of ours."""
    handlers = list(logging.getLogger("distributed").handlers)
    levels = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(_SILENT)
    try:
        yield
    finally:
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)


def _close(client: Any) -> None:
    _quietly(lambda: client.close(timeout=5))


def _quietly(call: Callable[[], Any]) -> None:
    with suppress(Exception):  # the scheduler may be gone
        call()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
