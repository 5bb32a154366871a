"""How long each stage of a run takes."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from statistics import median
from typing import TypeVar

T = TypeVar("T")


class Timings:
    """Seconds that were spent in each stage; several threads may add at once."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self._start = clock()
        self._spent: dict[str, list[float]] = {}

    def stage(self, name: str) -> AbstractContextManager[None]:
        """A context manager that times its block as one more run of the stage."""
        return self._timed(name)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = self._clock()
        try:
            yield
        finally:
            self._spent.setdefault(name, []).append(self._clock() - start)

    def taking(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """The items; taking each of them is timed as the stage."""
        iterator = iter(items)
        while True:
            start = self._clock()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self._spent.setdefault(name, []).append(self._clock() - start)
            yield item

    def table(self, count: int, unit: str) -> list[str]:
        """Lines that show each stage's runs, median and share, and what each of `count` units took.

        A share is of the time of all stages together. Where stages overlap, the units took less.
        """
        every = sum(map(sum, self._spent.values()))
        lines = [f"{'stage':<10}{'times':>7}{'median':>12}{'share':>8}"]
        lines += [
            f"{name:<10}{len(spent):>7}{median(spent) * 1000:>9.2f} ms{sum(spent) / every:>8.1%}"
            for name, spent in self._spent.items()
            if every
        ]
        total = self._clock() - self._start
        each = total / count * 1000 if count else 0.0
        return [*lines, f"{'total':<10}{count:>7}{each:>9.2f} ms per {unit}, {total:.1f} s in all"]


class NoTimings(Timings):
    """Takes no time, and notes none."""

    _NOTHING = nullcontext()

    def stage(self, name: str) -> AbstractContextManager[None]:
        return self._NOTHING

    def taking(self, name: str, items: Iterable[T]) -> Iterator[T]:
        return iter(items)


NO_TIMINGS = NoTimings()
