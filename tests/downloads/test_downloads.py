"""The downloads, from a server on this machine; nothing here asks a public one."""

import dataclasses
import errno
import gzip
import hashlib
import io
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

import pytest

from facemask import files
from facemask.downloads import __main__ as downloads
from facemask.downloads import fetch
from facemask.errors import FacemaskError

from ..conftest import obey_ctrl_c

CONTENT = b"not the weights of any network " * 10
PACKED = gzip.compress(CONTENT)
PHOTOS = {
    "with_mask/a.jpg": b"a masked face",
    "with_mask/b.jpg": b"another masked face",
    "without_mask/a.jpg": b"a bare face",
}
TOP = "observations-0123abc/"
DATA = TOP + "experiements/data/"


# A server whose paths each misbehave in their own way


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # for chunked bodies
    server: "Server"

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


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: dict[str, Reply] = {}
        self.requests: list[tuple[str, str]] = []
        self.cut_off = 0  # replies that the client didn't listen to until their end
        self.over = threading.Event()

    def url(self, reply: "Reply", path: str = "/file") -> str:
        self.replies[path] = reply
        return f"http://127.0.0.1:{self.server_port}{path}"


Reply = Callable[[Handler], object]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def sends(content: bytes, length: int | None = -1, *header: str) -> Reply:
    """A body, with its own length announced, another one, or (None) no length."""

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


def stalls(*headers_and_part: bytes) -> Reply:
    def reply(handler: Handler) -> None:
        for part in headers_and_part:
            handler.start(len(CONTENT))
            handler.wfile.write(part)
        handler.server.over.wait(10)

    return reply


def breaks_a_chunk(handler: Handler) -> None:
    handler.start(None, 200, "Transfer-Encoding", "chunked")
    handler.wfile.write(b"5\r\nPK\x03\x04\x00\r\n40\r\nhalf")


def hangs_up(handler: Handler) -> None:
    pass


# What is fetched


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(fetch.MIRROR, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def weights(url: str) -> fetch.Weights:
    return dataclasses.replace(
        fetch.FACE_DETECTOR,
        url=url,
        size=len(CONTENT),
        name="net.caffemodel",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )


@pytest.fixture
def photographs(tmp_path: Path) -> Callable[[str], fetch.Photographs]:
    sums = tmp_path / "sums"
    sums.write_text(checksums(PHOTOS))
    return lambda url: dataclasses.replace(fetch.DATASET, url=url, checksums=sums)


def checksums(contents: dict[str, bytes]) -> str:
    return "".join(f"{hashlib.sha256(c).hexdigest()}  {name}\n" for name, c in contents.items())


def zipped(contents: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def repository(contents: dict[str, bytes]) -> dict[str, bytes]:
    """The names as in GitHub's archive, among files that nobody wants."""
    inside = {DATA + name: content for name, content in contents.items()}
    others = {DATA + "notes.txt": b"unlisted", TOP + "with_mask/a.jpg": b"not below data"}
    return {TOP + "README.md": b"hello", **inside, **others}


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder, hidden or not: a file's bytes, None for a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def one_line(error: pytest.ExceptionInfo[FacemaskError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


# The weights


def test_weights_arrive(server: Server, tmp_path: Path) -> None:
    url = server.url(sends(CONTENT))
    said: list[str] = []
    folder = tmp_path / "new" / "folder"
    fetch.fetch_face_detector(folder, said.append, resource=weights(url))
    assert tree(folder) == {"net.caffemodel": CONTENT}
    assert said == [
        f"fetching the face detector's weights, 0.0 MB, from {url}",
        f"{folder / 'net.caffemodel'} is in place",
    ]
    assert server.requests == [("/file", fetch.USER_AGENT)]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(sends(CONTENT, None), id="no length announced"),
        pytest.param(redirects("/elsewhere"), id="redirect"),
        pytest.param(
            sends(PACKED, len(PACKED), "Content-Encoding", "gzip"), id="packed on the way"
        ),
    ],
)
def test_weights_arrive_also(reply: Reply, server: Server, folder: Path) -> None:
    server.url(sends(CONTENT), "/elsewhere")
    fetch.fetch_face_detector(folder, print, resource=weights(server.url(reply)))
    assert tree(folder) == {"net.caffemodel": CONTENT}


def test_weights_in_place_are_not_fetched(server: Server, folder: Path) -> None:
    (folder / "net.caffemodel").write_bytes(CONTENT)
    said: list[str] = []
    resource = weights(server.url(sends(CONTENT)))
    fetch.fetch_face_detector(folder, said.append, resource=resource)
    assert said == [f"{folder / 'net.caffemodel'} is in place"]
    assert server.requests == []


def test_wrong_weights_are_replaced(server: Server, folder: Path) -> None:
    (folder / "net.caffemodel").write_bytes(b"damaged")
    said: list[str] = []
    resource = weights(server.url(sends(CONTENT)))
    fetch.fetch_face_detector(folder, said.append, resource=resource)
    assert tree(folder) == {"net.caffemodel": CONTENT}
    assert "expected sha256" in said[0]


FAILURES = [
    pytest.param(refuses(404), "expected status 200, found 404 (Not Found)", id="404"),
    pytest.param(refuses(500), "found 500 (Internal Server Error)", id="500"),
    pytest.param(refuses(799), "found 799 (unknown)", id="status unheard of"),
    pytest.param(redirects("/file"), "Exceeded 30 redirects", id="redirected in circles"),
    pytest.param(redirects("file:///etc/hostname"), "file:///etc/hostname", id="to a file"),
    pytest.param(stalls(), "timed out", id="no answer"),
    pytest.param(stalls(b"begin"), "timed out", id="stalls in the body"),
    pytest.param(breaks_a_chunk, "connection broke", id="broken chunk"),
    pytest.param(hangs_up, "Remote end closed connection", id="hangs up"),
]
WEIGHTS_FAILURES = [
    pytest.param(sends(CONTENT[::-1]), "expected sha256", id="changed"),
    pytest.param(sends(CONTENT[:99], len(CONTENT)), "expected 310 bytes, found 99", id="cut off"),
    pytest.param(sends(CONTENT[:99]), "expected 310 bytes, found 99", id="too short"),
    pytest.param(sends(CONTENT + b"x"), "expected 310 bytes, found 311", id="too long"),
    pytest.param(sends(CONTENT + b"x", None), "310 bytes, found more", id="too long, unannounced"),
    pytest.param(never_ends, "expected 310 bytes, found more", id="endless"),
    pytest.param(sends(b""), "expected 310 bytes, found 0", id="empty"),
]


@pytest.mark.parametrize(("reply", "message"), FAILURES + WEIGHTS_FAILURES)
def test_failed_weights_leave_everything_as_it_was(
    reply: Reply, message: str, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT", (5.0, 0.2))
    (folder / "net.caffemodel").write_bytes(b"old")
    (folder / "notes.txt").write_bytes(b"mine")
    before = tree(folder.parent)
    url = server.url(reply)
    with pytest.raises(FacemaskError) as error:
        fetch.fetch_face_detector(folder, print, resource=weights(url))
    assert one_line(error).startswith(f"{url}: ")
    assert message in str(error.value)
    assert tree(folder.parent) == before


def test_an_endless_body_is_not_read(server: Server, folder: Path) -> None:
    url = server.url(never_ends)
    with pytest.raises(FacemaskError, match="found more"):
        fetch.fetch_face_detector(folder, print, resource=weights(url))
    wait_until(lambda: server.cut_off == 1)


def test_connection_refused(folder: Path) -> None:
    with socket.socket() as closed:  # bound, not listening: nobody else gets the port
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file"
        with pytest.raises(FacemaskError) as error:
            fetch.fetch_face_detector(folder, print, resource=weights(url))
    assert one_line(error) == f"{url}: can't be fetched: Connection refused"
    assert tree(folder) == {}


def test_unknown_host(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    url = "http://nowhere.invalid/file"
    try:
        raise FileNotFoundError(errno.ENOENT, "of the caller")  # is not mistaken for the cause
    except FileNotFoundError:
        with pytest.raises(FacemaskError) as error:
            fetch.fetch_face_detector(folder, print, resource=weights(url))
    assert one_line(error) == f"{url}: can't be fetched: Name or service not known"
    assert tree(folder) == {}


def test_address_without_scheme(folder: Path) -> None:
    with pytest.raises(FacemaskError, match=r"^nowhere/file: can't be fetched: Invalid URL"):
        fetch.fetch_face_detector(folder, print, resource=weights("nowhere/file"))
    assert tree(folder) == {}


def test_failure_leaves_no_new_folder(server: Server, tmp_path: Path) -> None:
    resource = weights(server.url(refuses(404)))
    with pytest.raises(FacemaskError):
        fetch.fetch_face_detector(tmp_path / "new" / "folder", print, resource=resource)
    assert tree(tmp_path) == {}


def test_target_that_is_no_folder(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    resource = weights(server.url(sends(CONTENT)))
    with pytest.raises(FacemaskError, match="file: can't be written: File exists"):
        fetch.fetch_face_detector(tmp_path / "file", print, resource=resource)
    assert tree(tmp_path) == {"file": b""}
    assert server.requests == []


def fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.FileIO):
        def write(self, *args: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    def opens(path: Path, mode: str) -> IO[bytes] | io.FileIO:
        return Full(path, mode) if "w" in mode else open(path, mode)

    monkeypatch.setattr(fetch, "open", opens, raising=False)


def test_full_disk(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_the_disk(monkeypatch)
    resource = weights(server.url(sends(CONTENT)))
    with pytest.raises(FacemaskError) as error:
        fetch.fetch_face_detector(folder, print, resource=resource)
    assert (
        one_line(error) == f"{folder / 'net.caffemodel'}: can't be written: No space left on device"
    )
    assert tree(folder) == {}


# The photographs


def test_photographs_arrive(
    server: Server, tmp_path: Path, photographs: Callable[[str], fetch.Photographs]
) -> None:
    url = server.url(sends(zipped(repository(PHOTOS)), None))
    said: list[str] = []
    fetch.fetch_dataset(tmp_path / "new", said.append, resource=photographs(url))
    assert tree(tmp_path / "new") == {"with_mask": None, "without_mask": None, **PHOTOS}
    assert said == [
        f"fetching 1,376 photographs (packed with other files), 53.2 MB, from {url}",
        f"{tmp_path / 'new'}: all 3 photographs are in place",
    ]
    fetch.fetch_dataset(tmp_path / "new", said.append, resource=photographs(url))
    assert said[2:] == said[1:2]
    assert len(server.requests) == 1


def test_hostile_names_are_never_written(
    server: Server, folder: Path, photographs: Callable[[str], fetch.Photographs]
) -> None:
    names = [
        "../evil",
        DATA + "../evil",
        DATA + "../../../../evil",
        DATA + "with_mask/../../evil",
        DATA + "with_mask/evil.jpg",
        DATA + "with_mask\\evil.jpg",
        DATA + "..\\evil",
        DATA + "/" + str(folder / "evil"),
        str(folder / "evil"),
        "C:\\evil",
        DATA + "evil/",
        DATA + "with_mask/",
    ]
    link = zipfile.ZipInfo(DATA + "with_mask/link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO(zipped({**dict.fromkeys(names, b"evil"), **repository(PHOTOS)}))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    before = tree(folder.parent)
    resource = photographs(server.url(sends(buffer.getvalue())))
    fetch.fetch_dataset(folder, print, resource=resource)
    photos = {f"target/{name}": content for name, content in PHOTOS.items()}
    classes = {"target/with_mask": None, "target/without_mask": None}
    assert tree(folder.parent) == {**before, **classes, **photos}


def with_a_link(contents: dict[str, bytes]) -> bytes:
    """The archive, one photograph in it being a link to another that has the listed bytes."""
    contents = dict(contents)
    del contents["with_mask/a.jpg"]
    buffer = io.BytesIO(zipped(repository(contents)))
    link = zipfile.ZipInfo(DATA + "with_mask/a.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(link, "../original.jpg")
    return buffer.getvalue()


GOOD = zipped(repository(PHOTOS))
PLAIN = zipped(repository(PHOTOS), zipfile.ZIP_STORED)
BOMB = {**PHOTOS, "with_mask/b.jpg": bytes(1_000_000)}
DATASET_FAILURES = [
    pytest.param(
        sends(zipped(repository({**PHOTOS, "with_mask/b.jpg": b"other"}))),
        "with_mask/b.jpg: expected sha256",
        id="changed",
    ),
    pytest.param(
        sends(zipped(repository({"with_mask/a.jpg": PHOTOS["with_mask/a.jpg"]}))),
        "expected with_mask/b.jpg in the archive, found 2 of 3 missing",
        id="missing",
    ),
    pytest.param(sends(with_a_link(PHOTOS)), "with_mask/a.jpg: expected sha256", id="link"),
    pytest.param(sends(b"<html>log in</html>"), "expected a zip archive", id="not a zip"),
    pytest.param(sends(b""), "expected a zip archive", id="empty"),
    pytest.param(sends(GOOD[:200], len(GOOD)), "bytes, found 200", id="cut off"),
    pytest.param(sends(GOOD[:-30]), "expected a zip archive", id="zip without its end"),
    pytest.param(
        sends(PLAIN.replace(b"a bare face", b"a bear face")),
        "without_mask/a.jpg: can't be unpacked",
        id="damaged zip",
    ),
    pytest.param(
        sends(zipped(repository(BOMB))),
        "with_mask/b.jpg: expected at most 1,000 bytes, found more",
        id="bomb",
    ),
    pytest.param(
        sends(zipped(repository(PHOTOS), zipfile.ZIP_BZIP2)),
        "can't be unpacked: compression method 12",
        id="another compression",
    ),
    pytest.param(sends(bytes(5001)), "at most 5,000 bytes, found 5,001", id="large archive"),
    pytest.param(never_ends, "expected at most 5,000 bytes, found more", id="endless"),
]


@pytest.mark.parametrize(("reply", "message"), FAILURES + DATASET_FAILURES)
def test_failed_photographs_leave_everything_as_it_was(
    reply: Reply,
    message: str,
    server: Server,
    folder: Path,
    photographs: Callable[[str], fetch.Photographs],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT", (5.0, 0.2))
    monkeypatch.setattr(fetch, "MAX_PHOTOGRAPH", 1000)
    (folder / "with_mask").mkdir()
    (folder / "with_mask" / "own.jpg").write_bytes(b"mine")
    url = server.url(reply)
    resource = dataclasses.replace(photographs(url), largest_archive=5000)
    before = tree(folder.parent)
    with pytest.raises(FacemaskError) as error:
        fetch.fetch_dataset(folder, print, resource=resource)
    assert one_line(error).startswith(f"{url}: ")
    assert message in str(error.value)
    assert tree(folder.parent) == before


def test_own_photographs_stay(
    server: Server, folder: Path, photographs: Callable[[str], fetch.Photographs]
) -> None:
    own = {"with_mask/own.jpg": b"mine", "third/own.jpg": b"mine", "README.md": b"read"}
    for name, content in {**own, "with_mask/a.jpg": PHOTOS["with_mask/a.jpg"]}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    before = (folder / "with_mask/a.jpg").stat()
    fetch.fetch_dataset(folder, print, resource=photographs(server.url(sends(GOOD))))
    classes = dict.fromkeys(["with_mask", "without_mask", "third"])
    assert tree(folder) == {**classes, **own, **PHOTOS}
    assert (folder / "with_mask/a.jpg").stat() == before


def test_own_photograph_of_a_listed_name_stops_the_download(
    server: Server, folder: Path, photographs: Callable[[str], fetch.Photographs]
) -> None:
    (folder / "with_mask").mkdir()
    (folder / "with_mask" / "b.jpg").write_bytes(b"mine")
    before = tree(folder)
    with pytest.raises(FacemaskError) as error:
        fetch.fetch_dataset(folder, print, resource=photographs(server.url(sends(GOOD))))
    assert one_line(error).startswith(f"{folder / 'with_mask/b.jpg'}: expected sha256 ")
    assert "move it away" in str(error.value)
    assert tree(folder) == before
    assert server.requests == []


@pytest.mark.parametrize("problem", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_one_class_never_comes_alone(
    problem: BaseException,
    server: Server,
    folder: Path,
    photographs: Callable[[str], fetch.Photographs],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rename, renamed = Path.rename, []

    def fails_at_the_second(path: Path, target: Path) -> Path:
        renamed.append(target.name)
        if target.name == "without_mask":
            raise problem
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails_at_the_second)
    with pytest.raises((FacemaskError, KeyboardInterrupt)):
        fetch.fetch_dataset(folder, print, resource=photographs(server.url(sends(GOOD))))
    assert renamed[:2] == ["with_mask", "without_mask"]
    assert tree(folder) == {}


def test_full_disk_for_photographs(
    server: Server,
    folder: Path,
    photographs: Callable[[str], fetch.Photographs],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill_the_disk(monkeypatch)
    with pytest.raises(FacemaskError) as error:
        fetch.fetch_dataset(folder, print, resource=photographs(server.url(sends(GOOD))))
    assert one_line(error) == f"{folder}: can't be written: No space left on device"
    assert tree(folder) == {}


def test_the_list() -> None:
    lines = fetch.DATASET.checksums.read_text(encoding="utf-8").splitlines()
    names = [line[66:] for line in lines]
    pattern = re.compile(r"[0-9a-f]{64}  with(out)?_mask/[A-Za-z0-9_-]+\.jpg")
    assert [line for line in lines if not pattern.fullmatch(line)] == []
    assert names == sorted(set(names))
    assert [sum(name.startswith(c) for name in names) for c in ("with_", "without_")] == [690, 686]


@pytest.mark.assets
def test_the_real_photographs(server: Server, folder: Path, assets: Path) -> None:
    paths = sorted((assets / "dataset").glob("with*_mask/*.jpg"))
    contents = {p.relative_to(assets / "dataset").as_posix(): p.read_bytes() for p in paths}
    assert sum(len(content) for content in contents.values()) == fetch.DATASET.size
    url = server.url(sends(zipped(repository(contents), zipfile.ZIP_STORED), None))
    resource = dataclasses.replace(fetch.DATASET, url=url)
    fetch.fetch_dataset(folder, print, resource=resource)
    assert len(contents) == 1376
    assert tree(folder) == {"with_mask": None, "without_mask": None, **contents}


# For the scripts


def test_ensure_goes_by_existence(
    server: Server, folder: Path, photographs: Callable[[str], fetch.Photographs]
) -> None:
    (folder / "net.caffemodel").write_bytes(b"whatever lies here")
    (folder / "some class").mkdir()
    url = server.url(sends(CONTENT))
    said: list[str] = []
    fetch.ensure_face_detector(folder, said.append, resource=weights(url))
    fetch.ensure_dataset(folder, said.append, resource=photographs(url))
    assert said == []
    assert server.requests == []


def test_ensure_fetches_weights(server: Server, folder: Path) -> None:
    url = server.url(sends(CONTENT))
    said: list[str] = []
    fetch.ensure_face_detector(folder, said.append, resource=weights(url))
    assert tree(folder) == {"net.caffemodel": CONTENT}
    assert said[0] == f"fetching the face detector's weights, 0.0 MB, from {url}"


def test_ensure_fetches_photographs(
    server: Server, folder: Path, photographs: Callable[[str], fetch.Photographs]
) -> None:
    (folder / ".hidden").mkdir()
    (folder / "README.md").write_bytes(b"no class folder")
    url = server.url(sends(GOOD))
    said: list[str] = []
    fetch.ensure_dataset(folder, said.append, resource=photographs(url))
    assert PHOTOS.items() <= tree(folder).items()
    assert said[0].endswith(f", 53.2 MB, from {url}")


def test_ensure_says_what_to_do(
    server: Server, tmp_path: Path, photographs: Callable[[str], fetch.Photographs]
) -> None:
    url = server.url(refuses(403))
    folder = tmp_path / "a folder"
    with pytest.raises(FacemaskError) as error:
        fetch.ensure_face_detector(folder, print, resource=weights(url))
    assert one_line(error) == (
        f"{url}: expected status 200, found 403 (Forbidden); `python -m facemask.downloads "
        f"face-detector --to '{folder}'` tries again, or put that file into {folder}"
    )
    with pytest.raises(FacemaskError) as error:
        fetch.ensure_dataset(folder, print, resource=photographs(url))
    assert one_line(error) == (
        f"{url}: expected status 200, found 403 (Forbidden); `python -m facemask.downloads dataset "
        f"--to '{folder}'` tries again, or put a folder of photographs for each class into {folder}"
    )
    assert not folder.exists()


def test_advice_for_the_usual_folder(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PROJECT", tmp_path)
    with pytest.raises(FacemaskError) as error:
        fetch.ensure_face_detector(
            tmp_path / "face_detector", print, resource=weights(server.url(refuses(403)))
        )
    assert one_line(error).endswith(
        "`python -m facemask.downloads face-detector` tries again, "
        "or put that file into face_detector"
    )


@pytest.mark.parametrize("end", ["", "/", "/prefix/"])
def test_a_mirror_from_the_environment(
    end: str, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = end.rstrip("/") + "/opencv/net"
    base = server.url(sends(CONTENT), path).removesuffix(path)
    monkeypatch.setenv(fetch.MIRROR, base + end)
    resource = weights("https://unreachable.invalid/opencv/net")
    fetch.ensure_face_detector(folder, print, resource=resource)
    assert tree(folder) == {"net.caffemodel": CONTENT}


# The command


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "facemask.downloads", *map(str, arguments)]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=files.PROJECT, capture_output=True, text=True, timeout=30
    )


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_main_fetches_weights(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(files, "PROJECT", tmp_path)
    unreachable = weights("https://unreachable.invalid/net")
    monkeypatch.setitem(fetch.DETECTORS, "face-detector", unreachable)
    url = server.url(sends(CONTENT))
    assert downloads.main(["face-detector", "--url", url]) == 0
    assert downloads.main(["face-detector", "--url", url]) == 0
    assert tree(tmp_path / "face_detector") == {"net.caffemodel": CONTENT}
    in_place = "[INFO] face_detector/net.caffemodel is in place"
    assert capsys.readouterr().out.splitlines()[1:] == [in_place, in_place]
    assert len(server.requests) == 1


def test_main_fetches_photographs(
    server: Server,
    folder: Path,
    photographs: Callable[[str], fetch.Photographs],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = server.url(sends(GOOD), "/archive")
    monkeypatch.setattr(fetch, "DATASET", photographs("https://unreachable.invalid/archive"))
    monkeypatch.setenv(fetch.MIRROR, url.removesuffix("/archive"))
    assert downloads.main(["dataset", "--to", str(folder)]) == 0
    assert tree(folder) == {"with_mask": None, "without_mask": None, **PHOTOS}
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"[INFO] {folder}: all 3 photographs are in place"


@pytest.mark.parametrize("what", ["face-detector", "dataset"])
def test_command_fails_in_one_line(what: str, server: Server, folder: Path) -> None:
    url = server.url(refuses(404))
    result = run(what, "--to", folder, "--url", url)
    assert result.returncode == 1
    assert result.stderr == f"[ERROR] {url}: expected status 200, found 404 (Not Found)\n"
    assert tree(folder) == {}


def test_command_refuses_wrong_arguments() -> None:
    result = run("everything")
    assert result.returncode == 2
    assert result.stderr.startswith("[ERROR] ")
    assert result.stderr.count("\n") == 1


def test_command_helps() -> None:
    result = run("--help")
    assert result.returncode == 0
    assert [
        w for w in ("face-detector", "dataset", "--to", "--url") if w not in result.stdout
    ] == []


@pytest.mark.parametrize("what", ["face-detector", "dataset"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_nothing(
    what: str, number: signal.Signals, server: Server, folder: Path
) -> None:
    def reply(handler: Handler) -> None:
        handler.start(fetch.FACE_DETECTOR.size)
        handler.wfile.write(CONTENT)
        handler.server.over.wait(10)

    process = subprocess.Popen(
        command(what, "--to", folder / "new", "--url", server.url(reply)),
        cwd=files.PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=obey_ctrl_c,
    )
    wait_until(lambda: any(".part" in name for name in tree(folder)) and server.requests != [])
    time.sleep(0.5)  # till it waits for more bytes; tqdm, cut short in the making, would complain
    process.send_signal(number)
    _, said = process.communicate(timeout=10)
    assert said == "[ERROR] interrupted\n"
    assert process.returncode == 130
    assert tree(folder) == {}


def test_import_is_light() -> None:
    code = (
        "import sys, facemask.downloads; "
        "print(sorted({'requests', 'tqdm', 'zipfile', 'http.client', 'ssl'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=files.PROJECT, capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"
