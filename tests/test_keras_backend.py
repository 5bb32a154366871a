import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from facemask.errors import FacemaskError
from facemask.keras_backend import held_back_stderr


def test_native_chatter_is_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    with held_back_stderr():
        os.write(2, b"chatter\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_threads_leave_standard_error_where_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    def hold(number: int) -> None:
        with held_back_stderr():
            time.sleep(0.002 * (number % 3))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hold, range(24)))
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_what_was_held_back_is_shown_when_the_import_fails(
    capfd: pytest.CaptureFixture[str],
) -> None:
    @held_back_stderr()
    def fail() -> None:
        os.write(2, b"why\n")
        raise ImportError

    with pytest.raises(ImportError):
        fail()
    assert capfd.readouterr().err == "why\n"


def test_nothing_is_shown_beside_an_error_that_speaks_for_itself(
    capfd: pytest.CaptureFixture[str],
) -> None:
    @held_back_stderr()
    def fail() -> None:
        os.write(2, b"chatter\n")
        raise FacemaskError

    with pytest.raises(FacemaskError):
        fail()
    assert capfd.readouterr().err == ""
