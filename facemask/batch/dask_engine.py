"""Worker processes, on this machine or on several, through Dask; see requirements-archive.txt."""

import asyncio
import logging
import queue
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from facemask.errors import FacemaskError

T = TypeVar("T")
R = TypeVar("R")

ANSWER_S = 10.0  # for a scheduler to answer, and then to have a worker
LOST_S = 60.0  # without any worker, after which a run ends
POLL_S = 5.0  # between two looks at the number of workers
AHEAD = 256  # tasks that are submitted at once: each carries its images' names
SILENT = logging.CRITICAL + 1
LOCAL_CONFIGURATION = {
    # One task a worker: else the death of a worker counts against its waiting tasks, too.
    "distributed.scheduler.worker-saturation": 1.0,
    # Dask watches each process up to 100 times a second, which nobody reads: 5 % of a core.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    # Dask lets a worker give its memory back at once. Each image then needs new pages: three times
    # as many page faults, and a seventh more processor time.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
}


class Cluster:
    """Workers that do tasks."""

    def __init__(self, client: Any, name: str):
        """client: distributed.Client. name: of the cluster, for errors."""
        self._client = client
        self._name = name

    def workers(self) -> int:
        """How many tasks are done at once. Raises FacemaskError when the cluster is gone."""
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
        tasks = iter(tasks)
        ahead = max(AHEAD, 4 * self.workers())
        finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        pending: dict[str, tuple[T, Any]] = {}  # Dask drops a task whose future is not kept
        while True:
            for task in islice(tasks, ahead - len(pending)):
                future = self._client.submit(function, task, pure=False)
                pending[future.key] = task, future
                future.add_done_callback(finished.put)
            if not pending:
                return
            future = self._next_future(finished)
            task, _ = pending.pop(future.key)
            yield task, self._result(future)

    def _next_future(self, finished: "queue.SimpleQueue[Any]") -> Any:
        last_seen = time.monotonic()
        while True:
            try:
                return finished.get(timeout=POLL_S)
            except queue.Empty:
                if self.workers():
                    last_seen = time.monotonic()
            if time.monotonic() - last_seen > LOST_S:
                raise FacemaskError(
                    f"{self._name}: has had no worker for {LOST_S:.0f} seconds; the same command"
                    " continues where this run ended"
                )

    def _result(self, future: Any) -> Any:
        """What the task returned; None if it ended several workers."""
        from distributed import KilledWorker

        try:
            return future.result()
        except KilledWorker:
            return None
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

    def _gone(self) -> FacemaskError:
        return FacemaskError(
            f"{self._name}: no longer answers; the same command continues where this run ended"
        )


@contextmanager
def open_cluster(
    address: str | None, workers: int | None, warn: Callable[[str], None]
) -> Iterator[Cluster]:
    """The cluster whose scheduler is at HOST:PORT or, without an address, workers of our own.

    workers: how many processes to start on this machine, by default one for each core. They
    listen on 127.0.0.1 alone, answer only to clients with this run's keys, and end with the block.
    warn: called, on another thread, with a line for each worker that ends unexpectedly.
    Raises FacemaskError without Dask, where no scheduler answers, and where it has no workers.
    """
    try:
        from dask import config
        from distributed import Client
        from distributed.utils import silence_logging_cmgr
    except ImportError as error:
        raise FacemaskError(
            f"--engine dask: needs Dask, which can't be imported ({error});"
            " `pip install -r requirements-archive.txt`"
        ) from error
    with ExitStack() as stack:
        # What matters of Dask's own log is one line of ours.
        stack.enter_context(silence_logging_cmgr(SILENT))
        if address is None:
            stack.enter_context(config.set(LOCAL_CONFIGURATION))
            name = "the worker processes"
            target: Any = stack.enter_context(_local_cluster(workers))
        else:
            name = target = address
            _check_scheduler(address)
        client = Client(target, timeout=ANSWER_S, set_as_default=False)
        stack.callback(_quietly, lambda: client.close(timeout=5))
        try:
            client.wait_for_workers(1, timeout=ANSWER_S)
        except TimeoutError as error:
            raise FacemaskError(
                f"{name}: expected a scheduler with workers, found none of them within"
                f" {ANSWER_S:.0f} seconds; `python -m dask worker {name}` starts some"
            ) from error

        def report_lost_worker(event: Any) -> None:
            _, message = event
            if message.get("action") == "remove-worker" and not message.get("expected"):
                warn("a worker ended unexpectedly; its images are labelled again")

        client.subscribe_topic("all", report_lost_worker)
        stack.callback(_quietly, lambda: client.unsubscribe_topic("all"))
        yield Cluster(client, name)


@contextmanager
def _local_cluster(workers: int | None) -> Iterator[Any]:
    """Worker processes on this machine, which end with the block."""
    from distributed import LocalCluster

    def start() -> Any:
        # Ctrl-C in a terminal goes to all processes. Only this process is to react: it ends the
        # others, which inherit the blocked signal from this thread.
        if hasattr(signal, "pthread_sigmask"):  # not on Windows
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,  # no limit: a large image may take its memory, as without workers
            host="127.0.0.1",
            security=True,
            dashboard_address=None,  # pyright: ignore[reportArgumentType]
            # Any free port: by default a second run would warn that 8787 is in use.
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            silence_logs=SILENT,
        )

    resource_tracker.ensure_running()  # if it were started later, it would unblock the signal
    with ThreadPoolExecutor(1) as thread:
        starting = thread.submit(start)
        try:
            cluster = starting.result()
        except BaseException:  # Ctrl-C: a cluster can only be closed once it has started
            with suppress(Exception):
                starting.result().close()
            raise
    with cluster:
        yield cluster


def _check_scheduler(address: str) -> None:
    """Raise FacemaskError where no scheduler answers in time; Client might wait for ever."""
    from distributed import Security
    from distributed.core import rpc

    async def ask() -> Any:
        keys = Security().get_connection_args("client")  # for tls://, from Dask's configuration
        async with rpc(address, connection_args=keys) as server:
            return await server.identity()

    try:
        kind = asyncio.run(asyncio.wait_for(ask(), ANSWER_S)).get("type")
    except Exception as error:  # no answer, or one that Dask does not understand
        raise FacemaskError(
            f"{address}: expected a Dask scheduler there, found none that answers within"
            f" {ANSWER_S:.0f} seconds"
        ) from error
    if kind != "Scheduler":
        raise FacemaskError(f"{address}: expected a Dask scheduler there, found a {kind}")


def _import_error(error: BaseException | None) -> ImportError | None:
    """The import that failed. For one on the scheduler, Dask raises an error caused by it."""
    while error and not isinstance(error, ImportError):
        error = error.__cause__
    return error


def _quietly(call: Callable[[], Any]) -> None:
    with suppress(Exception):  # the scheduler may be gone
        call()
