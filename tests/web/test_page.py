"""The page as HTTP: a real server on 127.0.0.1."""

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import requests

from facemask.errors import FacemaskError
from facemask.images import read_image
from facemask.web.access import MAX_VIEWERS
from facemask.web.page import Page, open_page

TOKEN = "a-token_of_16_ok"
LIMIT_S = 20.0


@dataclass
class Served:
    """A page, what it announced, and requests to it without cookies."""

    page: Page
    url: str
    said: list[str] = field(default_factory=list)

    def get(self, path: str, **options) -> requests.Response:
        return requests.get(self.url + path, timeout=LIMIT_S, allow_redirects=False, **options)

    def show(self, level: int = 90) -> None:
        """Show a grey frame without faces."""
        self.page.show(np.full((48, 64, 3), level, np.uint8), [])


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    with ExitStack() as stack:

        def opened(host: str = "127.0.0.1", token: str | None = None) -> Served:
            said: list[str] = []
            shown = stack.enter_context(open_page((host, 0), token, said.append, said.append))
            url = said[0].split()[3].rstrip(";").partition("?")[0]
            return Served(shown, url, said)

        yield opened


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    return serve()


def test_the_page_and_what_it_needs_come_from_here(served: Served) -> None:
    for path, kind in {
        "": "text/html",
        "page.css": "text/css",
        "page.js": "text/javascript",
        "icon.svg": "image/svg+xml",
        "state.json": "application/json",
    }.items():
        answer = served.get(path)
        assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (200, kind)
        assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in answer.text


def test_answers_are_kept_and_framed_nowhere_and_run_nothing_else(served: Served) -> None:
    for path in ("", "state.json", "page.js", "missing"):
        headers = served.get(path).headers
        policy = headers["Content-Security-Policy"].split("; ")
        assert {"default-src 'self'", "frame-ancestors 'none'", "form-action 'self'"} <= set(policy)
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Server" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["", "state.json", "picture.jpg"])
def test_nothing_can_be_sent(served: Served, method: str, path: str) -> None:
    answer = requests.request(method, served.url + path, data="x", timeout=LIMIT_S)
    assert answer.status_code == 405


@pytest.mark.parametrize("path", ["missing", "static/page.js", "..%2fapp.py", "%00", "index.html"])
def test_there_is_nothing_else(served: Served, path: str) -> None:
    assert served.get(path).status_code == 404


def test_a_picture_is_the_frame_that_was_shown(served: Served) -> None:
    served.show(10)
    served.show(90)
    answer = served.get("picture.jpg")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpeg")
    assert answer.headers["Frame-Number"] == "2"
    image = read_image(answer.content)
    assert image.shape == (48, 64, 3)
    assert abs(int(image[20, 20, 0]) - 90) <= 1
    assert served.get("state.json").json()["frame"] == 2


def test_a_viewer_waits_for_the_next_picture(served: Served) -> None:
    served.show(10)
    threading.Timer(0.2, served.show, [90]).start()
    answer = served.get("picture.jpg", params={"after": 1})
    assert (answer.status_code, answer.headers["Frame-Number"]) == (200, "2")


def test_without_a_new_picture_the_answer_is_empty(served: Served) -> None:
    answer = served.get("picture.jpg")
    assert (answer.status_code, answer.content) == (204, b"")


def test_one_viewer_too_many_is_told(served: Served) -> None:
    served.show()
    for number in range(MAX_VIEWERS):
        assert served.get("picture.jpg", params={"viewer": number}).status_code == 200
    answer = served.get("picture.jpg", params={"viewer": "late"})
    assert answer.status_code == 503
    assert answer.text == "4 viewers are looking already; try again later"
    assert int(answer.headers["Retry-After"]) > 0
    assert served.get("state.json").status_code == 200
    assert served.get("picture.jpg", params={"viewer": 0}).status_code == 200


def test_viewers_who_read_nothing_stop_nobody(served: Served) -> None:
    """Each asks for hundreds of large pictures, and takes none of them."""
    noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
    address = served.url.split("/")[2].split(":")
    gone = []
    for viewer in range(MAX_VIEWERS - 1):
        gone.append(socket.create_connection((address[0], int(address[1]))))
        request = f"GET /picture.jpg?viewer={viewer} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        gone[-1].sendall(request.encode() * 200)
    for _ in range(100):
        served.page.show(noise, [])
    answer = served.get("picture.jpg", params={"viewer": "here"})
    assert (answer.status_code, answer.headers["Frame-Number"]) == (200, "100")
    gone.pop().close()
    served.show()
    answer = served.get("picture.jpg", params={"viewer": "here", "after": 100})
    assert (answer.status_code, answer.headers["Frame-Number"]) == (200, "101")
    for connection in gone:
        connection.close()


def test_the_server_ends_with_the_block_and_lets_nobody_wait() -> None:
    said: list[str] = []
    before = set(threading.enumerate())
    with open_page(("127.0.0.1", 0), None, said.append, said.append) as shown:
        url = said[0].split()[-1]
        shown.show(np.zeros((4, 4, 3), np.uint8), [])
        answers = []

        def wait() -> None:
            answers.append(requests.get(f"{url}picture.jpg?after=1", timeout=LIMIT_S).status_code)

        waiting = threading.Thread(target=wait)
        waiting.start()
        requests.get(f"{url}state.json", timeout=LIMIT_S)
    waiting.join(LIMIT_S)
    assert answers == [204]
    assert set(threading.enumerate()) <= before
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=LIMIT_S)
    assert len(said) == 1


# The token.


def test_other_machines_need_the_token_that_is_announced(serve: Callable[..., Served]) -> None:
    served = serve("0.0.0.0")
    _, token = served.said[0].rsplit("?token=", 1)
    url = f"http://127.0.0.1:{served.url.rsplit(':', 1)[1]}"
    assert requests.get(url, timeout=LIMIT_S).status_code == 401
    assert requests.get(url, params={"token": token}, timeout=LIMIT_S).status_code == 200


@pytest.mark.parametrize("path", ["", "state.json", "picture.jpg", "page.js", "missing"])
def test_without_the_token_there_is_nothing(serve: Callable[..., Served], path: str) -> None:
    served = serve(token=TOKEN)
    served.show()
    for options in (
        {},
        {"params": {"token": "wrong"}},
        {"params": {"token": TOKEN[:-1]}},
        {"headers": {"Authorization": f"Bearer {TOKEN}x"}},
        {"headers": {"Authorization": f"Basic {TOKEN}"}},
        {"headers": {"Cookie": f"facemask={TOKEN}"}},
    ):
        answer = served.get(path, **options)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert TOKEN not in answer.text
        assert "Set-Cookie" not in answer.headers
    assert TOKEN not in served.said[0]


def test_a_wrong_token_is_asked_for_again(serve: Callable[..., Served]) -> None:
    served = serve(token=TOKEN)
    assert "This token is wrong." in served.get("?token=wrong").text
    assert "This token is wrong." not in served.get("").text
    assert served.get("page.css").status_code == 200  # of the page that asks


def test_the_token_leaves_the_address_for_a_cookie(serve: Callable[..., Served]) -> None:
    served = serve(token=TOKEN)
    served.show()
    first = served.get("", params={"token": TOKEN})
    assert (first.status_code, first.headers["Location"]) == (303, "/")
    cookie = first.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    with requests.Session() as browser:
        page = browser.get(served.url, params={"token": TOKEN}, timeout=LIMIT_S)
        assert (page.status_code, page.url) == (200, served.url)
        assert TOKEN not in page.text
        for path in ("state.json", "picture.jpg", "page.js"):
            assert browser.get(served.url + path, timeout=LIMIT_S).status_code == 200
        # A wrong token counts more than an earlier right one: else nobody would see that it is.
        answer = browser.get(served.url, params={"token": "wrong"}, timeout=LIMIT_S)
        assert answer.status_code == 401


def test_a_token_that_nobody_asked_for_is_ignored(served: Served) -> None:
    answer = served.get("?token=%ff%fe")
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (200, False)


def test_programs_send_the_token_in_a_header(serve: Callable[..., Served]) -> None:
    served = serve(token=TOKEN)
    answer = served.get("state.json", headers={"Authorization": f"bearer {TOKEN}"})
    assert answer.json()["status"] == "starting"


@pytest.mark.parametrize("host", ["evil.example", "evil_1.example", "[::1", ""])
def test_another_name_for_this_machine_is_refused(served: Served, host: str) -> None:
    for path in ("", "picture.jpg", "state.json"):
        answer = served.get(path, headers={"Host": host})
        assert answer.status_code == 421
        assert answer.text == f"expected this page at {served.url}"


# What goes wrong.


def test_a_defect_is_one_warning_and_the_run_goes_on(
    served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # for the report
    monkeypatch.setattr(type(served.page._pictures), "after", None)
    for _ in range(3):
        answer = served.get("picture.jpg")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (500, "no-store")
    deadline = time.monotonic() + 10
    while len(served.said) < 2 and time.monotonic() < deadline:  # it is said after the answer
        time.sleep(0.01)
    (line,) = served.said[1:]
    assert line.startswith("web page: unexpected TypeError")
    assert served.get("state.json").status_code == 200


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_a_missing_package_is_one_line(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("app", "server"):
        monkeypatch.delitem(sys.modules, f"facemask.web.{name}", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    line = r"^--serve: .*; expected what `pip install -r requirements-web.txt` installs$"
    with pytest.raises(FacemaskError, match=line), open_page(("x", 0), None, print, print):
        pass


def test_a_viewer_who_does_not_speak_http_is_no_defect(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    defects: list[Exception] = []
    monkeypatch.setattr("facemask.web.app.describe", lambda error: defects.append(error) or "")
    with connection(served) as viewer:
        viewer.sendall(
            b"GET /state.json HTTP/1.1\r\nHost: %b\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"
            % served.url.split("/")[2].encode()
        )
        while viewer.recv(4096):
            pass
    assert served.get("state.json").status_code == 200
    assert defects == []


@pytest.mark.parametrize("before", [b"", b"GET /state.json HTTP/1.1\r\nHost: %b\r\n\r\n"])
def test_a_request_that_does_not_end_keeps_no_connection(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    monkeypatch.setattr("facemask.web.server.IDLE_S", 0.3)
    served = serve()
    with connection(served) as viewer:
        if before:
            viewer.sendall(before % served.url.split("/")[2].encode())
            assert b"200 OK" in viewer.recv(4096)
        started = time.monotonic()
        with suppress(OSError):  # it is closed
            while time.monotonic() < started + LIMIT_S:
                viewer.sendall(b"G")  # one byte after another
                time.sleep(0.05)
    assert time.monotonic() < started + LIMIT_S


def connection(served: Served) -> socket.socket:
    host, port = served.url.split("/")[2].split(":")
    return socket.create_connection((host, int(port)), timeout=LIMIT_S)
