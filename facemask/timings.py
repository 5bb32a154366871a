"""How long each stage of a run takes."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

T = TypeVar("T")


MEDIAN_OF = 10_000  # the last runs of a stage; a camera may run for months


@dataclass
class _Stage:
    """The runs of a stage."""

    count: int = 0
    seconds: float = 0.0  # of all runs
    last: deque[float] = field(default_factory=lambda: deque(maxlen=MEDIAN_OF))  # seconds of each

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds
        self.last.append(seconds)


class _Inner(threading.local):
    """Seconds spent in the stages inside a stage, on each thread."""

    seconds = 0.0


class Timings:
    """Seconds that were spent in each stage; several threads may add at once."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter, enabled: bool = True):
        """enabled: otherwise nothing is measured, and report has nothing to log."""
        self._clock = clock
        self._enabled = enabled
        self._start = clock()
        self._stages: dict[str, _Stage] = {}
        self._inner = _Inner()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A context manager that times its block as one more run of the stage.

        A stage inside the block, on the same thread, is not counted twice.
        """
        outer_s, self._inner.seconds = self._inner.seconds, 0.0
        start = self._clock()
        try:
            yield
        finally:
            inner_s = self._inner.seconds
            self._inner.seconds = outer_s + self._clock() - start
            self._add(name, start + inner_s)

    def taking(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """The items. Getting each of them from the iterable is timed as a run of the stage."""
        iterator = iter(items)
        while True:
            start = self._clock()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self._add(name, start)
            yield item

    def _add(self, name: str, start: float) -> None:
        if self._enabled:
            self._stages.setdefault(name, _Stage()).add(self._clock() - start)

    def table(self, count: int, unit: str) -> list[str]:
        """Lines with each stage's runs, median and share, and the time for each of `count` units.

        A share is of the sum of all stages. Where stages overlap, the units took less than that.
        """
        all_stages = sum(stage.seconds for stage in self._stages.values())
        lines = [f"{'stage':<10}{'times':>7}{'median':>12}{'share':>8}"]
        lines += [
            f"{name:<10}{stage.count:>7}{median(stage.last) * 1000:>9.2f} ms"
            f"{stage.seconds / all_stages:>8.1%}"
            for name, stage in self._stages.items()
            if all_stages
        ]
        total = self._clock() - self._start
        per_unit = total / count * 1000 if count else 0.0
        return [
            *lines,
            f"{'total':<10}{count:>7}{per_unit:>9.2f} ms per {unit}, {total:.1f} s in all",
        ]

    def report(self, count: int, unit: str, log: Callable[[str], None]) -> None:
        """Log the table, line by line."""
        for line in self.table(count, unit) if self._enabled else ():
            log(line)


NO_TIMINGS = Timings(enabled=False)
