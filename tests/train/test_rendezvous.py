import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from facemask.errors import FacemaskError
from facemask.options import parse_address
from facemask.train import rendezvous
from facemask.train.rendezvous import Peers, meet


def free_addresses(count: int) -> list[str]:
    with contextlib.ExitStack() as held:
        servers = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]


@pytest.fixture
def at_once() -> Iterator[Callable[..., list[Any]]]:
    """Call functions, a thread for each; what they returned or raised."""
    pool = ThreadPoolExecutor(8)

    def call(*functions: Callable[[], Any]) -> list[Any]:
        running = [pool.submit(function) for function in functions]
        return [one.exception(timeout=30) or one.result() for one in running]

    yield call
    pool.shutdown()


@pytest.fixture
def three(at_once) -> Iterator[tuple[list[str], list[Peers], list[list[str]]]]:
    """Addresses, workers that have met, and what each would have ended its process with."""
    addresses = free_addresses(3)
    ends: list[list[str]] = [[], [], []]
    peers = at_once(*(lambda n=n: meet(addresses, n, 20, ends[n].append) for n in (0, 1, 2)))
    yield addresses, peers, ends
    for one in peers:
        one.leave()


def test_an_address_is_a_host_and_a_port() -> None:
    assert parse_address("one.example.org:9000") == ("one.example.org", 9000)
    assert parse_address("[::1]:65535") == ("::1", 65535)


@pytest.mark.parametrize(
    "text",
    ["", "here", "here:", ":9000", "here:0", "here:65536", "here:-1", "::1:9", "[::1]", "a b:9",
     "http://here:80", "[here]:9"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(FacemaskError, match=r"expected HOST:PORT, with a port from 1 to 65535"):
        parse_address(text)


def test_each_worker_has_an_address_and_a_number() -> None:
    with pytest.raises(FacemaskError, match=r"^a:1: .* found it twice"):
        meet(["a:1", "b:1", "a:1"], 0, 1)
    with pytest.raises(FacemaskError, match=r"^worker 2: expected a number from 0 to 1"):
        meet(["a:1", "b:1"], 2, 1)


def test_nobody_answers() -> None:
    first, second = free_addresses(2)
    start = time.monotonic()
    with pytest.raises(FacemaskError, match=rf"^{first}: expected worker 0 to answer within 0.5 s"):
        meet([first, second], 1, 0.5)
    assert time.monotonic() - start < 10


def test_all_that_came_hear_which_worker_did_not(at_once) -> None:
    addresses = free_addresses(3)
    found = at_once(lambda: meet(addresses, 0, 1), lambda: meet(addresses, 1, 20))
    said = (
        f"{addresses[0]}: expected 3 workers within 1 s, found 2: no sign of worker 2"
        f" ({addresses[2]})"
    )
    assert [str(one) for one in found] == [said, said]


@pytest.mark.parametrize("index", [0, 1])
def test_an_address_in_use(index: int) -> None:
    addresses = free_addresses(2)
    port = int(addresses[index].rpartition(":")[2])
    message = rf"^{addresses[index]}: expected a free port on this machine, found: .*in use"
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(FacemaskError, match=message),
    ):
        meet(addresses, index, 5)


def test_workers_with_other_addresses_and_strangers_do_not_count(at_once) -> None:
    addresses = free_addresses(3)

    def stranger() -> None:
        host, port = parse_address(addresses[0])
        with socket.create_connection((host, port)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            connection.recv(100)

    def late(function: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: time.sleep(0.5) or function()

    ended: list[str] = []
    peers = at_once(
        lambda: meet(addresses, 0, 20, ended.append),
        late(stranger),
        late(lambda: meet([addresses[0], addresses[2]], 1, 20)),
        lambda: time.sleep(1) or meet(addresses, 1, 20, ended.append),
        lambda: time.sleep(1) or meet(addresses, 2, 20, ended.append),
    )
    assert "expected the same addresses for all workers" in str(peers.pop(2))
    assert peers.pop(1) is None
    assert [one.lost for one in peers] == [None] * 3
    for one in peers:
        one.leave()


def test_another_program_at_the_first_address() -> None:
    addresses = free_addresses(2)
    with socket.create_server(parse_address(addresses[0])) as server:
        answer = threading.Thread(target=lambda: server.accept()[0].sendall(b"220 mail\r\n"))
        answer.start()
        with pytest.raises(FacemaskError, match="to wait there for all, found another program"):
            meet(addresses, 1, 20)
        answer.join()


def test_the_ports_are_free_again(three) -> None:
    """TensorFlow serves there next, while the connections stay."""
    for address in three[0]:
        socket.create_server(parse_address(address)).close()


def test_a_worker_that_leaves_is_not_lost(three) -> None:
    _, peers, ends = three
    peers[2].leave()
    peers[0].leave()
    time.sleep(1)
    assert [one.lost for one in peers] == [None] * 3
    assert ends == [[], [], []]


def test_the_others_hear_of_a_worker_whose_connection_broke(three) -> None:
    addresses, peers, ends = three
    peers[1]._links[0].connection.shutdown(socket.SHUT_RDWR)
    said = f"{addresses[1]}: expected worker 1 to stay till the end, found: its connection closed"
    assert [peers[number].lost_worker(10) for number in (0, 2)] == [said, said]
    time.sleep(0.5)
    assert ends[0] == ends[2] == []  # as their main threads took the line


def test_the_others_hear_why_a_worker_failed(three) -> None:
    addresses, peers, _ = three
    peers[2].leave(failure="x.png: not an image")
    assert [peers[number].lost_worker(10) for number in (0, 1)] == [
        f"{addresses[2]}: expected worker 2 to stay till the end, found: it failed: x.png: not an"
        " image"
    ] * 2


def test_a_process_whose_main_thread_does_not_end_is_ended(
    three, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendezvous, "GRACE", 0.2)
    addresses, peers, ends = three
    peers[0].leave(failure="full disk")
    for one in peers[1:]:
        one._thread.join(10)
    said = f"{addresses[0]}: expected worker 0 to stay till the end, found: it failed: full disk"
    assert ends == [[], [said], [said]]


def test_a_silent_worker_is_lost(monkeypatch: pytest.MonkeyPatch, at_once) -> None:
    """Such as one whose machine was switched off: its connection stays as it is."""
    addresses = free_addresses(2)
    monkeypatch.setattr(rendezvous, "SILENCE", 1.0)
    monkeypatch.setattr(rendezvous, "BEAT", 0.2)

    def silent() -> socket.socket:
        link = rendezvous._dial(addresses, 1, 20, time.monotonic() + 20)
        return link.connection

    peers, connection = at_once(lambda: meet(addresses, 0, 20, lambda line: None), silent)
    with connection:
        line = peers.lost_worker(10)
    assert line is not None
    assert line.endswith("found: nothing heard of it for 1 s")


def test_heartbeats_keep_a_worker(monkeypatch: pytest.MonkeyPatch, at_once) -> None:
    monkeypatch.setattr(rendezvous, "SILENCE", 1.0)
    monkeypatch.setattr(rendezvous, "BEAT", 0.2)
    addresses = free_addresses(2)
    peers = at_once(*(lambda n=n: meet(addresses, n, 20, lambda line: None) for n in (0, 1)))
    time.sleep(2)
    assert [one.lost for one in peers] == [None, None]
    for one in peers:
        one.leave()
