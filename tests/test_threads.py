import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing

import cv2
import pytest

from facemask.data.dataset import no_progress
from facemask.errors import FacemaskError
from facemask.threads import (
    MAX_WORKERS,
    in_order,
    one_thread_per_image,
    read_ahead,
    until_failure,
)


def counted(taken: list[int], end: int = 100) -> Iterator[int]:
    for number in range(end):
        taken.append(number)
        yield number


def slow_when_even(number: int) -> int:
    time.sleep(0.01 if number % 2 == 0 else 0.0)
    return 10 * number


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_items_order(workers: int) -> None:
    assert list(in_order(slow_when_even, range(8), workers, workers + 2)) == list(range(0, 80, 10))


def test_several_items_are_processed_at_once() -> None:
    together = threading.Barrier(3, timeout=10)  # breaks unless three threads wait at it
    assert len(list(in_order(lambda _: together.wait(), range(6), 3, 5))) == 6


def test_no_more_items_are_taken_than_the_bound() -> None:
    taken: list[int] = []
    with closing(in_order(str, counted(taken), 2, 4)) as results:
        assert next(results) == "0"
        assert taken == [0, 1, 2, 3]
        assert next(results) == "1"
        assert taken == [0, 1, 2, 3, 4]


def test_one_worker_takes_an_item_only_on_demand_and_starts_no_thread() -> None:
    taken: list[int] = []
    results = in_order(lambda _: threading.current_thread(), counted(taken), 1, 4)
    assert next(results) is threading.main_thread()
    assert taken == [0]


@pytest.mark.parametrize("workers", [1, 2])
def test_results_before_an_error_of_the_items_come_before_it(workers: int) -> None:
    def broken() -> Iterator[int]:
        yield from range(3)
        raise FacemaskError("unplugged")

    results = in_order(slow_when_even, broken(), workers, workers + 2)
    assert [next(results) for _ in range(3)] == [0, 10, 20]
    with pytest.raises(FacemaskError, match="unplugged"):
        next(results)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_is_raised_at_its_place_in_the_order(
    workers: int, error: type[BaseException]
) -> None:
    def fails_at_two(number: int) -> int:
        if number == 2:
            raise error
        return number

    results = in_order(fails_at_two, range(5), workers, workers + 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(error):
        next(results)


def test_an_error_of_the_items_is_raised_too() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_order(str, (1 // n for n in (1, 0)), 2, 4))


def test_closing_leaves_no_thread_and_drops_the_items_in_the_queue() -> None:
    before, started = threading.active_count(), []

    def slow(number: int) -> int:
        started.append(number)
        time.sleep(0.02)
        return number

    with closing(in_order(slow, range(100), 2, 20)) as results:
        assert next(results) == 0
    assert threading.active_count() == before
    assert len(started) < 20


def test_items_are_read_ahead_in_order_up_to_the_bound() -> None:
    taken: list[int] = []
    with closing(read_ahead(counted(taken, 10), 3)) as items:
        assert next(items) == 0
        wait_until(lambda: len(taken) == 3)
        time.sleep(0.02)
        assert taken == [0, 1, 2]
        assert list(items) == list(range(1, 10))


def test_reading_ahead_raises_an_error_of_the_items_at_its_place() -> None:
    items = read_ahead((1 // n for n in (1, 1, 0)), 5)
    assert [next(items), next(items)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_closing_stops_reading_ahead_and_leaves_no_thread() -> None:
    before, taken = threading.active_count(), []
    with closing(read_ahead(counted(taken), 3)) as items:
        next(items)
    read = len(taken)
    time.sleep(0.02)
    assert len(taken) == read <= 4
    assert threading.active_count() == before


def test_none_is_an_item() -> None:
    assert list(read_ahead([None, 1, None], 2)) == [None, 1, None]


@pytest.mark.parametrize(("threads", "workers"), [(1, 1), (3, 3), (64, MAX_WORKERS)])
def test_there_is_a_worker_for_each_of_opencvs_threads(
    monkeypatch: pytest.MonkeyPatch, threads: int, workers: int
) -> None:
    settings = [threads]
    monkeypatch.setattr(cv2, "getNumThreads", lambda: settings[-1])
    monkeypatch.setattr(cv2, "setNumThreads", settings.append)
    with one_thread_per_image() as count:
        assert count == workers
        assert settings[-1] == 1
    assert settings[-1] == threads


def test_one_image_at_a_time_gets_all_threads() -> None:
    threads = cv2.getNumThreads()
    with one_thread_per_image(wanted=False) as count:
        assert (count, cv2.getNumThreads()) == (1, threads)


def test_opencvs_threads_come_back_after_an_error() -> None:
    threads = cv2.getNumThreads()
    with pytest.raises(ZeroDivisionError), one_thread_per_image():
        _ = 1 // 0
    assert cv2.getNumThreads() == threads


def wait_until(condition) -> None:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)


def test_progress_ends_with_the_failure_of_another_thread() -> None:
    failed: Future[None] = Future()
    items = until_failure(no_progress, failed)(range(9), total=9)
    assert [next(items), next(items)] == [0, 1]
    failed.set_exception(FacemaskError("weights.h5: broken"))
    with pytest.raises(FacemaskError, match=r"weights\.h5: broken"):
        next(items)


def test_progress_goes_on_when_another_thread_is_ready() -> None:
    ready: Future[int] = Future()
    ready.set_result(1)
    assert list(until_failure(no_progress, ready)(range(3), total=3)) == [0, 1, 2]
