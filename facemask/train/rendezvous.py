"""Processes, on one machine or several, that meet before a common task and notice who leaves it.

Worker 0 listens, the others dial; the connections stay, for heartbeats. What is sent is neither
encrypted nor signed: for networks whose machines trust each other.
"""

import json
import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from facemask import console
from facemask.errors import FacemaskError
from facemask.files import reason
from facemask.options import check_addresses, parse_address

BEAT = 2.0  # seconds between signs of life
# A worker that said nothing for so many seconds is lost. A closed connection, which a killed
# process leaves, shows at once; this is for a machine that went, or its network. TensorFlow itself
# gives up after ten.
SILENCE = 15.0
# What a worker waits, seconds, for its main thread to end by itself once another one is lost. The
# thread may be inside a collective operation, which nothing interrupts.
GRACE = 10.0
_RETRY = 0.2  # seconds between two attempts to reach worker 0
_LONGEST_LINE = 1 << 16


def end_process(line: str) -> None:
    """Print the error and end the process with status 1, whatever its threads are in."""
    console.error(line)
    sys.stdout.flush()
    os._exit(1)


def meet(
    addresses: Sequence[str],
    index: int,
    timeout_s: float,
    end: Callable[[str], None] = end_process,
) -> "Peers":
    """Wait until the workers of all addresses have called this.

    addresses: HOST:PORT of every worker, the same list for each; index: this worker's place in it;
    end: gets the line on a lost worker when the main thread does not end by itself, see Peers.
    The ports are free again on return. Raises FacemaskError when an address is in use, when worker
    0 can't be reached, or when not all have come after timeout_s seconds.
    """
    check_addresses(addresses, index)
    deadline = time.monotonic() + timeout_s
    with _listening(addresses[index]) as server:  # all workers': whoever comes later finds it used
        if index == 0:
            links = _gather(server, addresses, timeout_s, deadline)
        else:
            links = {0: _dial(addresses, index, timeout_s, deadline)}
    return Peers(addresses, index, links, end)


class _Link:
    """A connection that carries objects as JSON, a line each."""

    def __init__(self, connection: socket.socket):
        connection.settimeout(BEAT)
        self.connection = connection
        self._sending = threading.Lock()
        self._received = b""

    def send(self, **message: Any) -> bool:
        """Whether it could be handed to the network."""
        try:
            with self._sending:
                self.connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return False
        return True

    def receive(self) -> list[dict[str, Any]] | None:
        """What has come, perhaps nothing yet; None when the other side has closed.

        Raises ValueError for what is no such line.
        """
        try:
            read = self.connection.recv(4096)
        except TimeoutError:
            return []
        except OSError:
            return None
        if not read:
            return None
        *lines, self._received = (self._received + read).split(b"\n")
        messages = [json.loads(line) for line in lines]
        if len(self._received) > _LONGEST_LINE or not all(isinstance(m, dict) for m in messages):
            raise ValueError("not a line of this protocol")
        return messages

    def close(self) -> None:
        self.connection.close()

    def finish(self) -> None:
        """Close once the other side has read all, as far as it does so in a while.

        Closing while something is unread here would take from it what is unread there.
        """
        end = time.monotonic() + BEAT
        try:
            self.connection.shutdown(socket.SHUT_WR)
            while time.monotonic() < end and self.connection.recv(4096):
                pass
        except OSError:  # it has gone
            pass
        self.close()


@contextmanager
def _listening(address: str) -> Iterator[socket.socket]:
    """A server at the port of the address, on all of this machine's interfaces."""
    _, port = parse_address(address)
    both = socket.has_dualstack_ipv6()
    try:
        server = socket.create_server(
            ("", port),
            family=socket.AF_INET6 if both else socket.AF_INET,
            dualstack_ipv6=both,
        )
    except OSError as error:
        raise FacemaskError(
            f"{address}: expected a free port on this machine, found: {reason(error)}"
        ) from error
    with server:
        yield server


def _gather(
    server: socket.socket, addresses: Sequence[str], timeout_s: float, deadline: float
) -> dict[int, _Link]:
    """Worker 0's part of meet: the connections of all the others."""
    came: dict[int, _Link] = {}
    with selectors.DefaultSelector() as ready:
        ready.register(server, selectors.EVENT_READ)
        while len(came) < len(addresses) - 1:
            left = deadline - time.monotonic()
            if left <= 0:
                missing = [n for n in range(1, len(addresses)) if n not in came]
                which = ", ".join(f"worker {n} ({addresses[n]})" for n in missing)
                line = (
                    f"{addresses[0]}: expected {len(addresses)} workers within {timeout_s:g} s,"
                    f" found {len(came) + 1}: no sign of {which}"
                )
                _dismiss(came.values(), line)
                raise FacemaskError(line)
            for key, _ in ready.select(left):
                if key.fileobj is server:
                    link = _Link(server.accept()[0])
                    ready.register(link.connection, selectors.EVENT_READ, link)
                    continue
                link = key.data
                try:
                    messages = link.receive()
                except ValueError:  # someone else's call
                    messages = None
                if messages is None:
                    ready.unregister(link.connection)
                    link.close()
                    came = {number: one for number, one in came.items() if one is not link}
                for hello in messages or ():
                    if problem := _objection(hello, addresses, came):
                        ready.unregister(link.connection)
                        _dismiss([link], problem)
                        break
                    came[hello["worker"]] = link
    for link in came.values():
        link.send(go=True)
    return came


def _objection(
    hello: dict[str, Any], addresses: Sequence[str], came: dict[int, _Link]
) -> str | None:
    """What is wrong with a worker that came, in a line for it to say."""
    number = hello.get("worker")
    if hello.get("addresses") != list(addresses):
        return (
            f"{addresses[0]}: expected the same addresses for all workers, found"
            f" {' '.join(addresses)} at worker 0"
        )
    if not isinstance(number, int) or not 0 < number < len(addresses) or number in came:
        return f"{addresses[0]}: expected each worker once, but worker {number} was there already"
    return None


def _dismiss(links: Any, line: str) -> None:
    for link in links:
        link.send(refused=line)
        link.finish()


def _dial(addresses: Sequence[str], index: int, timeout_s: float, deadline: float) -> _Link:
    """The others' part of meet: the connection to worker 0."""
    first = addresses[0]
    while True:
        try:
            left = max(0.1, deadline - time.monotonic())
            link = _Link(socket.create_connection(parse_address(first), left))
            break
        except socket.gaierror as error:
            raise FacemaskError(f"{first}: no such host: {reason(error)}") from error
        except OSError as error:
            if time.monotonic() + _RETRY > deadline:
                raise FacemaskError(
                    f"{first}: expected worker 0 to answer within {timeout_s:g} s, found:"
                    f" {reason(error)}"
                ) from error
            time.sleep(_RETRY)
    link.send(worker=index, addresses=list(addresses))
    # Worker 0 may have been started later and waits for as long as it was told to.
    while (left := deadline + BEAT - time.monotonic()) > 0:
        link.connection.settimeout(left)
        try:
            messages = link.receive()
        except ValueError:
            messages, found = None, "another program"
        else:
            found = "a closed connection"
        if messages is None:
            link.close()
            raise FacemaskError(f"{first}: expected worker 0 to wait there for all, found {found}")
        for message in messages:
            if "refused" in message:
                link.close()
                raise FacemaskError(message["refused"])
            if "go" in message:
                link.connection.settimeout(BEAT)
                return link
    link.close()
    raise FacemaskError(
        f"{first}: expected all {len(addresses)} workers within {timeout_s:g} s, but worker 0 still"
        " waits for others"
    )


class Peers:
    """The other workers, watched until leave() by a thread of its own.

    Worker 0 watches all, the others watch worker 0, which tells them of one another. When a worker
    is lost, `lost` is the line that says so. The main thread has GRACE seconds to ask for it with
    lost_worker() and to end by itself; then the line goes to `end`, which should end the process.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        index: int,
        links: dict[int, _Link],
        end: Callable[[str], None],
    ):
        self._addresses, self._index, self._end = tuple(addresses), index, end
        self._links = dict(links)
        self.lost: str | None = None
        self._farewell: dict[str, Any] | None = None
        self._noticed, self._taken, self._left = (threading.Event() for _ in range(3))
        self._thread = threading.Thread(target=self._watch, name="peers", daemon=True)
        self._thread.start()

    def lost_worker(self, wait_s: float) -> str | None:
        """The line on a lost worker, for the caller to raise; waits for it if need be."""
        if self._noticed.wait(wait_s):
            self._taken.set()
        return self.lost

    def leave(self, failure: str | None = None) -> None:
        """Take no further part; the others go on or, told of a failure, end."""
        if not self._left.is_set():
            self._farewell = {"left": True} if failure is None else {"failed": failure}
            self._left.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(2 * BEAT)

    def _watch(self) -> None:
        heard = dict.fromkeys(self._links, time.monotonic())
        beat_at = time.monotonic()
        with selectors.DefaultSelector() as ready:
            for number, link in self._links.items():
                ready.register(link.connection, selectors.EVENT_READ, number)
            while self._links and self.lost is None and not self._left.is_set():
                for key, _ in ready.select(min(0.5, BEAT / 4)):
                    if self._hear(key.data):
                        heard[key.data] = time.monotonic()
                    if key.data not in self._links:
                        ready.unregister(key.fileobj)
                now = time.monotonic()
                for number in [n for n in self._links if now - heard[n] > SILENCE]:
                    self._lose(number, f"nothing heard of it for {SILENCE:g} s")
                if now >= beat_at:
                    beat_at = now + BEAT
                    for link in self._links.values():
                        link.send(beat=True)
        for link in self._links.values():
            if self._farewell:
                link.send(**self._farewell)
        for link in self._links.values():
            link.finish()
        if self.lost and not self._left.is_set() and not self._taken.wait(GRACE):
            self._end(self.lost)

    def _hear(self, number: int) -> bool:
        """Take what a worker sent; whether it did send something, and is still there."""
        link = self._links[number]
        try:
            messages = link.receive()
        except ValueError:
            messages = None
        if messages is None:
            self._lose(number, "its connection closed")
            return False
        for message in messages:
            if "failed" in message:
                self._lose(number, f"it failed: {message['failed']}")
            elif "lost" in message:
                self._say_lost(message["lost"])
            elif "left" in message:
                self._links.pop(number).close()
                return False
        return True

    def _lose(self, number: int, what: str) -> None:
        self._links.pop(number).close()
        self._say_lost(
            f"{self._addresses[number]}: expected worker {number} to stay till the end, found:"
            f" {what}"
        )

    def _say_lost(self, line: str) -> None:
        if self.lost is not None or self._left.is_set():
            return
        self.lost = line
        for link in self._links.values():
            link.send(lost=line)
        self._noticed.set()
