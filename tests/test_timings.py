import threading

import pytest

from facemask.timings import MEDIAN_OF, NO_TIMINGS, Timings


class Clock:
    """A clock that stands still unless it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_table_has_runs_medians_and_shares() -> None:
    clock = Clock()
    timings = Timings(clock)
    for seconds in (0.010, 0.030, 0.020):
        with timings.stage("detect"):
            clock.now += seconds
    with timings.stage("draw"):
        clock.now += 0.040
    assert timings.table(2, "frame") == [
        "stage       times      median   share",
        "detect          3    20.00 ms   60.0%",
        "draw            1    40.00 ms   40.0%",
        "total           2    50.00 ms per frame, 0.1 s in all",
    ]


def test_the_median_is_of_the_last_runs_and_the_share_of_all() -> None:
    """A camera may run for months."""
    clock = Clock()
    timings = Timings(clock)
    for seconds in [1.0] * 10 + [0.020] * MEDIAN_OF:
        with timings.stage("detect"):
            clock.now += seconds
    _, line, total = timings.table(MEDIAN_OF + 10, "frame")
    assert line == "detect      10010    20.00 ms  100.0%"
    assert total.endswith("210.0 s in all")


def test_taking_an_item_is_timed_and_working_with_it_is_not() -> None:
    clock = Clock()
    timings = Timings(clock)

    def items():
        for number in (1, 2):
            clock.now += 0.005
            yield number

    taken = []
    for item in timings.taking("read", items()):
        clock.now += 1.0
        taken.append(item)
    assert taken == [1, 2]
    assert timings.table(2, "frame")[1] == "read            2     5.00 ms  100.0%"


def test_a_stage_inside_another_counts_for_itself_alone() -> None:
    clock = Clock()
    timings = Timings(clock)
    for _ in range(2):
        with timings.stage("track"):
            clock.now += 0.010
            with timings.stage("classify"):
                clock.now += 0.030
    with timings.stage("draw"):
        clock.now += 0.020
    assert [line.split()[:3] for line in timings.table(2, "frame")[1:4]] == [
        ["classify", "2", "30.00"],
        ["track", "2", "10.00"],
        ["draw", "1", "20.00"],
    ]


def test_the_table_is_logged_unless_timings_are_off() -> None:
    lines: list[str] = []
    timings = Timings(Clock())
    timings.report(1, "image", lines.append)
    assert lines == timings.table(1, "image")
    NO_TIMINGS.report(1, "image", lines.append)
    assert len(lines) == 2


def test_a_stage_that_fails_is_timed_and_its_error_goes_on() -> None:
    timings = Timings()
    with pytest.raises(ZeroDivisionError), timings.stage("detect"):
        _ = 1 // 0
    assert timings.table(1, "frame")[1].startswith("detect          1 ")


def test_without_stages_there_is_still_a_table() -> None:
    assert Timings(Clock()).table(0, "image") == [
        "stage       times      median   share",
        "total           0     0.00 ms per image, 0.0 s in all",
    ]


def test_threads_lose_no_run() -> None:
    timings = Timings()

    def work() -> None:
        for _ in range(200):
            with timings.stage("detect"):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert timings.table(1, "frame")[1].split()[1] == "800"


def test_switched_off_nothing_is_measured() -> None:
    with NO_TIMINGS.stage("detect"):
        pass
    items = [1, 2]
    assert list(NO_TIMINGS.taking("read", items)) == items
    assert len(NO_TIMINGS.table(1, "frame")) == 2
    NO_TIMINGS.report(1, "frame", pytest.fail)
