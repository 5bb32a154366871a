"""Working ahead on threads: results in order, and never more under way than a bound."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from typing import Any, TypeVar

import cv2

T = TypeVar("T")
R = TypeVar("R")

_END: Any = object()


def in_order(
    function: Callable[[T], R], items: Iterable[T], workers: int, ahead: int
) -> Generator[R, None, None]:
    """function(item) of each item, in the items' order, worked out on `workers` threads.

    At most `ahead` items are taken before their result is asked for, so that memory stays bounded
    however slow the reader is. What function raises, an interrupt too, is raised in its turn.
    With one worker there are no threads: each item is taken and worked on when asked for. Close
    the generator (contextlib.closing) to leave no thread behind when not reading to the end.
    """
    if workers == 1:
        for item in items:
            yield function(item)
        return
    yield from _on_threads(function, items, workers, ahead)


def read_ahead(items: Iterable[T], ahead: int) -> Generator[T, None, None]:
    """The items, taken on a thread of their own, at most `ahead` before they are asked for.

    Close it as in_order; it has then stopped taking items.
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
    under_way: deque[Future[R]] = deque()
    try:
        for item in items:
            under_way.append(pool.submit(function, item))
            if len(under_way) >= ahead:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


# Each takes 100 MB for its networks and the images under way.
MAX_WORKERS = 8


@contextmanager
def one_thread_per_image(wanted: bool = True) -> Iterator[int]:
    """How many images to work on at once: as many as OpenCV would use threads for one.

    In the block each of OpenCV's calls then keeps to one thread: on two cores the face detector
    answers 50 times a second for two threads with one core each, and 44 times with both for each
    call. One image at a time, with all the threads, where not wanted: it comes out sooner.
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
