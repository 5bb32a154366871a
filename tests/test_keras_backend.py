import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from facemask.console import error, info
from facemask.errors import FacemaskError
from facemask.keras_backend import held_back_stderr


def test_native_messages_are_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    with held_back_stderr():
        os.write(2, b"message\n")
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


def test_several_threads_hold_back_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    """TensorFlow is imported on one thread while others load their face detectors."""
    meeting = threading.Barrier(2, timeout=10)

    def hold(seconds: float) -> None:
        with held_back_stderr():
            meeting.wait()
            time.sleep(seconds)
            os.write(2, b"message\n")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(hold, (0, 0.1)))
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_news_are_printed_while_another_thread_holds_back(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with held_back_stderr(), ThreadPoolExecutor(1) as pool:
        pool.submit(info, "finding faces...").result(timeout=10)
    assert capfd.readouterr().out == "[INFO] finding faces...\n"


def test_held_back_messages_are_shown_when_the_block_fails(
    capfd: pytest.CaptureFixture[str],
) -> None:
    @held_back_stderr()
    def fail() -> None:
        os.write(2, b"why\n")
        raise ImportError

    with pytest.raises(ImportError):
        fail()
    assert capfd.readouterr().err == "why\n"


@pytest.mark.parametrize("error", [FacemaskError, KeyboardInterrupt])
def test_nothing_is_shown_where_a_line_says_enough(
    error: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    @held_back_stderr()
    def fail() -> None:
        os.write(2, b"message\n")
        raise error

    with pytest.raises(error):
        fail()
    assert capfd.readouterr().err == ""


def test_where_nothing_can_be_hidden_messages_are_still_printed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """There may be no place for temporary files."""

    def fail() -> None:
        raise OSError("no usable temporary directory")

    with monkeypatch.context() as patch:
        patch.setattr("tempfile.TemporaryFile", fail)
        with pytest.raises(OSError, match="no usable"), held_back_stderr():
            pass
    with ThreadPoolExecutor(1) as pool:  # would wait for ever if a lock was left
        pool.submit(error, "a.png: broken").result(timeout=10)
    with held_back_stderr():
        os.write(2, b"message\n")
    assert capfd.readouterr().err == "[ERROR] a.png: broken\n"


def test_a_program_without_standard_error_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    with held_back_stderr():
        pass


def test_a_message_of_another_thread_is_not_hidden(capfd: pytest.CaptureFixture[str]) -> None:
    hiding = threading.Event()

    def load() -> None:
        with held_back_stderr():
            hiding.set()
            time.sleep(0.2)

    thread = threading.Thread(target=load)
    thread.start()
    hiding.wait()
    error("a.png: broken")
    thread.join()
    assert capfd.readouterr().err == "[ERROR] a.png: broken\n"
