"""Processing items on threads: results in order, and a bounded number of items in memory."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from typing import Any, TypeVar

import cv2

T = TypeVar("T")
R = TypeVar("R")
Own = TypeVar("Own")

MAX_WORKERS = 8  # each needs 100 MB for its networks and images
_END: Any = object()


def in_order(
    function: Callable[[T], R], items: Iterable[T], workers: int, ahead: int
) -> Generator[R, None, None]:
    """function(item) for each item, in the order of the items, computed on `workers` threads.

    At most `ahead` items are taken before their result is requested, so that a slow reader does
    not fill the memory. An exception of the function, KeyboardInterrupt too, or of the items is
    raised at its place in the order. With one worker there are no threads: each item is processed
    on request. Close the generator (contextlib.closing) to end its threads when not reading it to
    the end.
    """
    if workers == 1:
        yield from map(function, items)
    else:
        yield from _on_threads(function, items, workers, ahead)


def read_ahead(items: Iterable[T], ahead: int) -> Generator[T, None, None]:
    """The items, taken on another thread, at most `ahead` before they are requested.

    Close it as in_order; after that, no more items are taken.
    """
    iterator = iter(items)
    for item in _on_threads(lambda _: next(iterator, _END), repeat(None), 1, ahead):
        if item is _END:
            return
        yield item


def _on_threads(
    function: Callable[[T], R], items: Iterable[T], workers: int, ahead: int
) -> Generator[R, None, None]:
    pool = ThreadPoolExecutor(workers)
    futures: deque[Future[R]] = deque()

    def submitted() -> Iterator[Future[R]]:
        """A future for each item. An error of the items comes as the last one."""
        try:
            for item in items:
                yield pool.submit(function, item)
        except Exception as error:
            failed = Future[R]()
            failed.set_exception(error)
            yield failed

    try:
        for future in submitted():
            futures.append(future)
            if len(futures) >= ahead:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def with_own(
    function: Callable[[T, Own], R], items: Iterable[T], make: Callable[[], Own]
) -> Generator[R, None, None]:
    """function(item, own) for each item in order, on threads that each have their own make().

    For networks, which keep state during a call. Errors and closing: as for in_order.
    """
    local = threading.local()

    def call(item: T) -> R:
        if not hasattr(local, "own"):
            local.own = make()
        return function(item, local.own)

    with one_thread_per_image() as workers:
        yield from in_order(call, items, workers, workers + 2)


@contextmanager
def one_thread_per_image(wanted: bool = True) -> Iterator[int]:
    """Give the number of images to process at the same time, each on one thread.

    This is OpenCV's number of threads, MAX_WORKERS at most, and in the block each call of OpenCV
    uses one thread: on two cores, two threads with one core each find faces in 50 images a second,
    and one thread whose calls use both cores in 44. When not wanted, it is one image at a time on
    all threads: then each result is available earlier.
    """
    threads = cv2.getNumThreads()
    workers = min(threads, MAX_WORKERS) if wanted else 1
    if workers <= 1:
        yield 1
        return
    cv2.setNumThreads(1)
    try:
        yield workers
    finally:
        cv2.setNumThreads(threads)


def until_failure(progress: Callable[..., Iterable[Any]], other: Future[Any]) -> Any:
    """A `progress` like the given one, that also raises the error of a call on another thread."""

    def watched(items: Iterable[T], total: int) -> Iterator[T]:
        for item in progress(items, total=total):
            if other.done():
                other.result()
            yield item

    return watched
