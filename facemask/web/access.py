"""The socket that the page listens on, its address, and who may look."""

import ipaddress
import os
import secrets
import socket
from hmac import compare_digest
from typing import Self
from urllib.parse import urlsplit

from facemask.errors import FacemaskError
from facemask.files import reason

MAX_VIEWERS = 4  # at the same time
# Somebody who has not asked for a picture for so long has left. One picture may take as long on a
# slow connection.
VIEWER_S = 10.0

TOKEN_BYTES = 16  # that nobody guesses

BACKLOG = 32  # connections that wait to be accepted


class Access:
    """A listening socket, and who may look at what it serves.

    At an address that other machines reach, everybody needs a token. At a loopback address nobody
    does, unless one is given; but then a page of the internet, which the user's browser shows, must
    not reach the camera through a name of its own for 127.0.0.1, so only names of this machine
    are answered (DNS rebinding).
    """

    def __init__(self, host: str, port: int, token: str | None = None):
        """Listen. port: 0 for any free one. token: what viewers need; None to make it if needed.

        Raises FacemaskError where the address is not one of this machine, or used.
        """
        self.listener = _listen(host, port)
        address, self.port = self.listener.getsockname()[:2]
        ip = ipaddress.ip_address(address.partition("%")[0])
        self.token = token
        if token is None and not ip.is_loopback:
            self.token = secrets.token_urlsafe(TOKEN_BYTES)
        self._hosts = {host.lower(), address, "localhost", "127.0.0.1", "::1"}
        # Cookies are those of a host whatever the port, and two runs may serve on one machine.
        self.cookie = f"facemask_{self.port}"
        self._host = _own_address(ip) if ip.is_unspecified else host
        self._viewers: dict[str, float] = {}  # by name; when each last asked for a picture

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    @property
    def url(self) -> str:
        """The address of the page, without the token."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}/"

    def allows_host(self, host: str) -> bool:
        """Whether a request with this header Host is answered; see the class."""
        if self.token is not None:
            return True
        try:
            return urlsplit(f"//{host}").hostname in self._hosts
        except ValueError:  # an open bracket
            return False

    def allows(self, *tokens: str | None) -> bool:
        """Whether one of the tokens is the right one, or none is needed.

        A wrong one takes the same time wherever it differs from the right one.
        """
        right = (self.token or "").encode()
        given = [token.encode("utf-8", "replace") for token in tokens if token]
        return self.token is None or any(compare_digest(right, token) for token in given)

    def admits(self, viewer: str, now_s: float) -> bool:
        """Whether a viewer gets a picture: MAX_VIEWERS do, until they have not asked for VIEWER_S.

        viewer: any name. now_s: the time, in seconds by any clock.
        """
        self._viewers = {
            name: last_s for name, last_s in self._viewers.items() if now_s - last_s < VIEWER_S
        }
        if viewer not in self._viewers and len(self._viewers) >= MAX_VIEWERS:
            return False
        self._viewers[viewer] = now_s
        return True


def _listen(host: str, port: int) -> socket.socket:
    name = f"--serve {host}:{port}"
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:  # UnicodeError: a part of more than 63 letters
        raise FacemaskError(
            f"{name}: expected an address or a name of this machine, found no such host"
        ) from error
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere two programs could listen on one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise FacemaskError(
            f"{name}: expected a free port of an address of this machine: {reason(error)}"
        ) from error
    return listener


def _own_address(unspecified: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """The address by which others reach this machine, or its name; nothing is sent to find out."""
    family, elsewhere = socket.AF_INET, "192.0.2.1"  # addresses for documentation
    if unspecified.version == 6:
        family, elsewhere = socket.AF_INET6, "2001:db8::1"
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((elsewhere, 9))
            return probe.getsockname()[0]
        except OSError:
            return socket.gethostname()
