"""The program that alerts run: in the background, without a shell, and never for too long."""

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from facemask.errors import FacemaskError
from facemask.files import reason

TIME_LIMIT_S = 30.0  # a program that runs for longer is ended
CLOSING_WAIT_S = 2.0  # how long close() waits for programs that still run
MAX_RUNNING = 4  # at the same time
SNAPSHOT = "FACEMASK_SNAPSHOT"  # the variable with a picture's path, where there is one


def split_command(text: str) -> list[str]:
    """Split a command into its program and arguments; quotes and backslashes work as in a shell.

    No shell runs it, so |, >, $NAME and * have no special meaning.
    Raises FacemaskError for a command that is empty or has an open quote, and for a program that
    is missing or not executable.
    """
    try:
        command = shlex.split(text)
    except ValueError as error:
        raise FacemaskError(f"can't read the command {text!r}: {error}") from error
    if not command:
        raise FacemaskError(f"expected a program and its arguments, found {text!r}")
    if shutil.which(command[0]) is None:
        raise FacemaskError(f"expected a program that can be run, found {command[0]!r}")
    return command


class AlertCommand:
    """Runs a command in the background, at most MAX_RUNNING times at once.

    A program that fails, can't be started, or runs for longer than TIME_LIMIT_S is logged, and
    nothing raises. Needs no thread: poll() is to be called regularly. Processes that a program
    leaves behind when it ends by itself go on.
    """

    def __init__(self, command: Sequence[str], log: Callable[[str], None]):
        self._command, self._log = list(command), log
        # Each program that runs, and until when it may, by time.monotonic().
        self._running: dict[subprocess.Popen[bytes], float] = {}

    def start(self, variables: Mapping[str, str]) -> None:
        """Start the program, if there is one, with these variables added to its environment."""
        if not self._command:
            return
        if len(self._running) >= MAX_RUNNING:
            self._report(f"was not started: {MAX_RUNNING} are still running")
            return
        # An alert of another run may have started this one, and its picture is not ours.
        inherited = {name: value for name, value in os.environ.items() if name != SNAPSHOT}
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # its output would mix with ours
                stderr=subprocess.DEVNULL,
                env={**inherited, **variables},
                # A group of its own: Ctrl-C does not reach it, and its children end with it.
                start_new_session=True,
            )
        except OSError as error:
            self._report(f"can't be started: {reason(error)}")
        else:
            self._running[process] = time.monotonic() + TIME_LIMIT_S

    def poll(self) -> None:
        """Log the programs that failed, and end those that run for too long."""
        for process, deadline in list(self._running.items()):
            if process.poll() is not None:
                del self._running[process]
                if code := process.returncode:
                    cause = f"status {code}" if code > 0 else f"ended by signal {-code}"
                    self._report(f"failed: {cause}")
            elif time.monotonic() >= deadline:
                self._kill(process, f"it ran for {TIME_LIMIT_S:g} seconds")

    def close(self) -> None:
        """Wait for what still runs, for CLOSING_WAIT_S seconds at most; then end it."""
        end = time.monotonic() + CLOSING_WAIT_S
        try:
            self.poll()
            while self._running and time.monotonic() < end:
                time.sleep(0.01)
                self.poll()
        finally:  # also after a second Ctrl-C
            for process in list(self._running):
                self._kill(process, "the video is over")

    def _kill(self, process: subprocess.Popen[bytes], cause: str) -> None:
        """End a process and its children; not waited for yet, so that its number is not reused."""
        del self._running[process]
        with suppress(OSError):  # it ended meanwhile, or runs as another user
            if os.name == "posix":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        with suppress(subprocess.TimeoutExpired):  # it hangs in the kernel
            process.wait(1)
        self._report(f"was ended: {cause}")

    def _report(self, message: str) -> None:
        self._log(f"alert: {self._command[0]} {message}")
