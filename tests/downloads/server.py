"""A server on 127.0.0.1 whose every path replies in its own, mostly bad, way."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # for chunked bodies
    server: "Server"  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.requests.append((self.path, self.headers["User-Agent"]))
        try:
            self.server.replies[self.path](self)
        except ConnectionError:
            self.server.cut_off += 1

    def start(self, length: int | None, status: int = 200, *header: str) -> None:
        self.send_response(status)
        self.send_header("Connection", "close")
        if length is not None:
            self.send_header("Content-Length", str(length))
        if header:
            self.send_header(*header)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


Reply = Callable[[Handler], object]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: dict[str, Reply] = {}
        self.requests: list[tuple[str, str]] = []
        self.cut_off = 0  # replies that the client did not read to their end
        self.over = threading.Event()

    def url(self, reply: Reply, path: str = "/file") -> str:
        self.replies[path] = reply
        return f"http://127.0.0.1:{self.server_port}{path}"


@contextmanager
def running_server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


def sends(content: bytes, length: int | None = -1, *header: str) -> Reply:
    """A body; its own length is announced, another one, or (None) none."""

    def reply(handler: Handler) -> None:
        handler.start(len(content) if length == -1 else length, 200, *header)
        handler.wfile.write(content)

    return reply


def refuses(status: int) -> Reply:
    return lambda handler: handler.start(0, status)


def redirects(path: str) -> Reply:
    return lambda handler: handler.start(0, 302, "Location", path)


def never_ends(handler: Handler) -> None:
    handler.start(None)
    for _ in range(2000):  # 128 MB, then the test fails
        handler.wfile.write(bytes(1 << 16))


def stalls(first_bytes: bytes = b"") -> Reply:
    """Nothing, or a header and the first bytes, and then silence."""

    def reply(handler: Handler) -> None:
        if first_bytes:
            handler.start(1000)
            handler.wfile.write(first_bytes)
        handler.server.over.wait(10)

    return reply


def breaks_a_chunk(handler: Handler) -> None:
    handler.start(None, 200, "Transfer-Encoding", "chunked")
    handler.wfile.write(b"5\r\nPK\x03\x04\x00\r\n40\r\nhalf")


def hangs_up(handler: Handler) -> None:
    pass
