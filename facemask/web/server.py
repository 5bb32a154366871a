"""The thread that answers viewers."""

import asyncio
import logging
from threading import Thread

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from facemask.web.access import BACKLOG, Access

MAX_CONNECTIONS = 64  # a browser opens six
IDLE_S = 15  # after which a connection is closed
# Answers in progress at the end of the video get so long, in seconds; then they are cut off.
CLOSING_S = 1
JOIN_S = 5.0


class _Connection(H11Protocol):
    """A connection that is closed where no whole request comes within IDLE_S seconds.

    uvicorn's own limit begins after an answer and ends with the next byte: whoever never finishes a
    request would keep a connection, and there are not many.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(IDLE_S, self._close_without_request)

    def data_received(self, data: bytes) -> None:
        request = self.cycle
        super().data_received(data)
        if self.cycle is not request:
            self._deadline.cancel()
        elif self._deadline.cancelled():
            self._deadline = self.loop.call_later(IDLE_S, self._close_without_request)

    def _close_without_request(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)


class Server:
    """Serves an application on a thread until it is closed."""

    def __init__(self, app: ASGIApp, access: Access):
        """access: has the socket to serve on."""
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                # The plain parts of uvicorn, whatever else is installed.
                loop="asyncio",
                http=_Connection,
                ws="none",
                lifespan="off",
                interface="asgi3",
                # No line for each request: the first one's address has the token.
                access_log=False,
                log_config=None,
                log_level=logging.CRITICAL,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=MAX_CONNECTIONS,
                backlog=BACKLOG,
                timeout_keep_alive=IDLE_S,
                timeout_graceful_shutdown=CLOSING_S,
            )
        )
        sockets = [access.listener]
        # A daemon, so that nothing here keeps the program from ending.
        self._thread = Thread(target=self._server.run, args=(sockets,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and close the socket."""
        self._server.should_exit = True
        self._thread.join(JOIN_S)
