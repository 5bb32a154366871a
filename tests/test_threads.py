import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from facemask.threads import in_order, read_ahead


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


def test_several_items_are_worked_on_at_once() -> None:
    together = threading.Barrier(3, timeout=10)  # breaks unless three threads come to it
    assert len(list(in_order(lambda _: together.wait(), range(6), 3, 5))) == 6


def test_no_more_items_are_taken_than_the_bound() -> None:
    taken: list[int] = []
    with closing(in_order(str, counted(taken), 2, 4)) as results:
        assert next(results) == "0"
        assert taken == [0, 1, 2, 3]
        assert next(results) == "1"
        assert taken == [0, 1, 2, 3, 4]


def test_one_worker_takes_an_item_only_when_asked_and_starts_no_thread() -> None:
    taken: list[int] = []
    results = in_order(lambda _: threading.current_thread(), counted(taken), 1, 4)
    assert next(results) is threading.main_thread()
    assert taken == [0]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_is_raised_in_its_turn(workers: int, error: type[BaseException]) -> None:
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


def test_closing_leaves_no_thread_and_drops_what_was_not_begun() -> None:
    before, begun = threading.active_count(), []

    def slow(number: int) -> int:
        begun.append(number)
        time.sleep(0.02)
        return number

    with closing(in_order(slow, range(100), 2, 20)) as results:
        assert next(results) == 0
    assert threading.active_count() == before
    assert len(begun) < 20


def test_items_are_read_ahead_in_order_up_to_the_bound() -> None:
    taken: list[int] = []
    with closing(read_ahead(counted(taken, 10), 3)) as items:
        assert next(items) == 0
        wait_until(lambda: len(taken) == 3)
        time.sleep(0.02)
        assert taken == [0, 1, 2]
        assert list(items) == list(range(1, 10))


def test_reading_ahead_raises_what_the_items_raise_after_those_before_it() -> None:
    items = read_ahead((1 // n for n in (1, 1, 0)), 5)
    assert [next(items), next(items)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_closed_it_reads_on_no_more_and_leaves_no_thread() -> None:
    before, taken = threading.active_count(), []
    with closing(read_ahead(counted(taken), 3)) as items:
        next(items)
    read = len(taken)
    time.sleep(0.02)
    assert len(taken) == read <= 4
    assert threading.active_count() == before


def test_none_is_an_item_like_others() -> None:
    assert list(read_ahead([None, 1, None], 2)) == [None, 1, None]


def wait_until(condition) -> None:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
