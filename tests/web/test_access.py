"""The page's socket and address, its token, and how many may look."""

import re
import socket

import pytest

from facemask.errors import FacemaskError
from facemask.web.access import MAX_VIEWERS, VIEWER_S, Access

TOKEN = "a-token_of_16_ok"


def test_this_machine_alone_needs_no_token() -> None:
    with Access("127.0.0.1", 0) as access:
        assert access.token is None
        assert access.allows(None)
        assert access.url == f"http://127.0.0.1:{access.port}/"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2"])
def test_other_names_of_this_machine_alone_need_none_either(host: str) -> None:
    with Access(host, 0) as access:
        assert access.token is None


def test_an_address_that_others_reach_gets_a_token() -> None:
    with Access("0.0.0.0", 0) as access, Access("0.0.0.0", 0) as other:
        assert access.token
        assert re.fullmatch(r"[\w-]{22}", access.token)
        assert access.token != other.token
        assert access.allows(access.token)
        assert access.allows(None, access.token)
        assert not access.allows()
        assert not access.allows(None, "", "wrong", access.token[:-1], access.token + "x", "naïve")
        assert access.token not in access.url
        assert "0.0.0.0" not in access.url


def test_a_token_that_is_given_counts_on_this_machine_too() -> None:
    with Access("127.0.0.1", 0, TOKEN) as access:
        assert not access.allows(None)
        assert access.allows(TOKEN)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "LOCALHOST", "[::1]:8000"])
def test_names_of_this_machine_are_answered(host: str) -> None:
    with Access("127.0.0.1", 0) as access:
        assert access.allows_host(host)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil_1.example:8000", "localhost.evil.example", "", "[::1", "\xff"]
)
def test_names_that_point_here_from_elsewhere_are_refused_without_a_token(host: str) -> None:
    with Access("127.0.0.1", 0) as access:
        assert not access.allows_host(host)
    with Access("127.0.0.1", 0, TOKEN) as access:
        assert access.allows_host(host)


def test_two_pages_on_one_machine_have_their_own_cookies() -> None:
    with Access("127.0.0.1", 0) as first, Access("127.0.0.1", 0) as second:
        assert first.cookie != second.cookie


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_the_address_of_ipv6_is_in_brackets() -> None:
    try:
        with Access("::1", 0) as access:
            assert access.url == f"http://[::1]:{access.port}/"
            assert access.token is None
    except FacemaskError:
        pytest.skip("no IPv6 on this machine")


def test_a_used_port_is_one_line() -> None:
    with Access("127.0.0.1", 0) as access:
        line = rf"^--serve 127\.0\.0\.1:{access.port}: expected a free port"
        with pytest.raises(FacemaskError, match=line):
            Access("127.0.0.1", access.port)


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("no-such-host.invalid", "found no such host"),
        ("x" * 64 + ".invalid", "found no such host"),
        ("198.51.100.7", "expected a free port of an address of this machine: "),
    ],
)
def test_a_host_that_is_not_this_machine_is_one_line(host: str, found: str) -> None:
    line = rf"^--serve {re.escape(host)}:8000: .*{found}"
    with pytest.raises(FacemaskError, match=line) as error:
        Access(host, 8000)
    assert error.value.status == 1


def test_the_socket_is_closed_at_the_end() -> None:
    with Access("127.0.0.1", 0) as access:
        port = access.port
    with Access("127.0.0.1", port):
        pass


def test_a_few_viewers_are_admitted_until_they_leave() -> None:
    with Access("127.0.0.1", 0) as access:
        for number in range(MAX_VIEWERS):
            assert access.admits(f"viewer {number}", 0.0)
        assert not access.admits("one more", 1.0)
        assert access.admits("viewer 0", 1.0)
        # The others have not asked since the beginning.
        assert access.admits("one more", VIEWER_S)
        assert access.admits("viewer 0", VIEWER_S)
