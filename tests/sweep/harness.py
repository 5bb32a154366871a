"""Running a command in this process as a user does, and what holds for every input.

Starting Python and loading the networks takes longer than most cases themselves, so a command runs
here by its main function. Text goes through real encoded streams, because a name that can't be
encoded fails there alone.
"""

import io
import signal
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from facemask.console import run


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines of errors, without `[ERROR] `."""
        lines = self.err.splitlines()
        return [line.removeprefix("[ERROR] ") for line in lines if line.startswith("[ERROR] ")]


def run_command(
    main: Callable[[list[str]], int], *arguments: str | Path, encoding: str = "utf-8"
) -> Outcome:
    """Run a command's main with arguments; no traceback and no unexpected exception may come.

    encoding: of standard output and standard error, as a locale sets it.
    """
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            run(partial(main, [str(argument) for argument in arguments]))
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    texts = [stream.buffer.getvalue().decode(encoding, "replace") for stream in (out, err)]  # type: ignore[attr-defined]
    outcome = Outcome(int(end.value.code or 0), *texts)
    for text in texts:
        assert "Traceback" not in text, text
        assert "unexpected" not in text, text  # what facemask.defects says of a defect
    assert outcome.status in (0, 1, 2, 130), outcome
    return outcome


def check(outcome: Outcome, status: int, *errors: str) -> None:
    """Check the status, and that each line of errors has its text in it, in this order."""
    assert outcome.status == status, outcome
    assert len(outcome.errors) == len(errors), outcome.err
    for line, text in zip(outcome.errors, errors, strict=True):
        assert text in line, line
