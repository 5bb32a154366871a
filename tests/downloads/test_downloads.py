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
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from facemask import files
from facemask.downloads import __main__ as downloads
from facemask.downloads import archive, fetch
from facemask.downloads.resources import DATASET, MIRROR, Photographs, Weights
from facemask.errors import FacemaskError

from ..conftest import obey_ctrl_c
from .server import (
    Handler,
    Reply,
    Server,
    breaks_a_chunk,
    hangs_up,
    never_ends,
    redirects,
    refuses,
    running_server,
    sends,
    stalls,
)

CONTENT = b"not the weights of any network " * 10
PACKED = gzip.compress(CONTENT)
# Their checksums are in photographs.sha256.
PHOTOS = {
    "with_mask/a.jpg": b"a masked face",
    "with_mask/b.jpg": b"another masked face",
    "without_mask/a.jpg": b"an unmasked face",
}
CLASSES = {"with_mask": None, "without_mask": None}
TOP = "observations-0123abc/"
DATA = TOP + "experiements/data/"


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MIRROR, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def photographs(url: str) -> Photographs:
    checksums = Path(__file__).with_name("photographs.sha256")
    return dataclasses.replace(DATASET, url=url, checksums=checksums, max_archive=10_000)


def weights(url: str) -> Weights:
    return dataclasses.replace(
        fetch.FACE_DETECTOR,
        url=url,
        size=len(CONTENT),
        name="net.caffemodel",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )


def zipped(contents: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, link: str = "") -> bytes:
    """A zip archive; `link` names one more entry, a link to another place."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as opened:
        for name, content in contents.items():
            opened.writestr(name, content)
        if link:
            entry = zipfile.ZipInfo(link)
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            opened.writestr(entry, "../original.jpg")
    return buffer.getvalue()


def repository(contents: dict[str, bytes]) -> dict[str, bytes]:
    """The names as in GitHub's archive, among files that are not listed."""
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


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


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
def test_weights_arrive_by_other_replies(reply: Reply, server: Server, folder: Path) -> None:
    server.url(sends(CONTENT), "/elsewhere")
    fetch.fetch_face_detector(folder, print, resource=weights(server.url(reply)))
    assert tree(folder) == {"net.caffemodel": CONTENT}


def test_weights_can_be_read_by_whom_other_files_can(server: Server, folder: Path) -> None:
    (folder / "other").touch()
    fetch.fetch_face_detector(folder, print, resource=weights(server.url(sends(CONTENT))))
    assert (folder / "net.caffemodel").stat().st_mode == (folder / "other").stat().st_mode


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
    pytest.param(redirects("/file"), "found 302 (Found)", id="redirected in circles"),
    pytest.param(redirects("file:///etc/hostname"), "file:///etc/hostname", id="to a file"),
    pytest.param(stalls(), "timed out", id="no answer"),
    pytest.param(stalls(b"begin"), "timed out", id="stalls in the body"),
    pytest.param(breaks_a_chunk, "connection broke", id="broken chunk"),
    pytest.param(sends(CONTENT[:99], 310), "connection broke", id="ends early"),
    pytest.param(hangs_up, "Remote end closed connection", id="hangs up"),
]
WEIGHTS_FAILURES = [
    pytest.param(sends(CONTENT[::-1]), "expected sha256", id="changed"),
    pytest.param(sends(b""), "expected sha256", id="empty"),
    pytest.param(sends(CONTENT + b"x"), "at most 310 bytes, found more", id="too long"),
    pytest.param(never_ends, "expected at most 310 bytes, found more", id="endless"),
]


@pytest.mark.parametrize(("reply", "message"), FAILURES + WEIGHTS_FAILURES)
def test_failed_weights_leave_everything_as_it_was(
    reply: Reply, message: str, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT", (5.0, 1.0))
    (folder / "net.caffemodel").write_bytes(b"old")
    (folder / "notes.txt").write_bytes(b"mine")
    before = tree(folder.parent)
    url = server.url(reply)
    with pytest.raises(FacemaskError) as error:
        fetch.fetch_face_detector(folder, print, resource=weights(url))
    assert one_line(error).startswith(f"{url}: ")
    assert message in str(error.value)
    assert tree(folder.parent) == before


def test_connection_refused(folder: Path) -> None:
    with socket.socket() as closed:  # bound, not listening: nobody else gets the port
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file"
        with pytest.raises(FacemaskError) as error:
            fetch.fetch_face_detector(folder, print, resource=weights(url))
    assert one_line(error) == f"{url}: can't be fetched: Connection refused"
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


# The photographs

GOOD = zipped(repository(PHOTOS))


def test_photographs_arrive(server: Server, tmp_path: Path) -> None:
    url = server.url(sends(GOOD, None))
    said: list[str] = []
    fetch.fetch_dataset(tmp_path / "new", said.append, resource=photographs(url))
    assert tree(tmp_path / "new") == {**CLASSES, **PHOTOS}
    assert said == [
        f"fetching 1,376 photographs (packed with other files), 53.2 MB, from {url}",
        f"{tmp_path / 'new'}: all 3 photographs are in place",
    ]
    fetch.fetch_dataset(tmp_path / "new", said.append, resource=photographs(url))
    assert said[2:] == said[1:2]
    assert len(server.requests) == 1


def test_hostile_names_are_never_written(server: Server, folder: Path) -> None:
    names = [
        "../evil",
        DATA + "../evil",
        DATA + "../../../../evil",
        DATA + "with_mask/../../evil",
        DATA + "with_mask/evil.jpg",
        DATA + "with_mask\\evil.jpg",
        DATA + "/" + str(folder / "evil"),
        str(folder / "evil"),
        DATA + "evil/",
    ]
    evil = {**repository(PHOTOS), **dict.fromkeys(names, b"evil")}
    content = zipped(evil, link=DATA + "with_mask/link.jpg")
    before = tree(folder.parent)
    fetch.fetch_dataset(folder, print, resource=photographs(server.url(sends(content))))
    added = {f"target/{name}": content for name, content in {**CLASSES, **PHOTOS}.items()}
    assert tree(folder.parent) == {**before, **added}


DATASET_FAILURES = [
    pytest.param(
        sends(zipped(repository({**PHOTOS, "with_mask/b.jpg": b"other"}))),
        "with_mask/b.jpg can't be unpacked: expected sha256",
        id="changed",
    ),
    pytest.param(
        sends(zipped(repository({"with_mask/a.jpg": PHOTOS["with_mask/a.jpg"]}))),
        "There is no item named",
        id="missing",
    ),
    pytest.param(
        sends(zipped({TOP: b""}, link=DATA + "with_mask/a.jpg")), "expected sha256", id="link"
    ),
    pytest.param(sends(b"<html>log in</html>"), "File is not a zip file", id="not a zip"),
    pytest.param(sends(zipped({})), "the archive can't be unpacked", id="an empty zip"),
    pytest.param(
        sends(zipped(repository(PHOTOS), zipfile.ZIP_STORED).replace(b"unmasked", b"umnasked")),
        "without_mask/a.jpg can't be unpacked: Bad CRC-32",
        id="damaged zip",
    ),
    pytest.param(
        sends(zipped(repository(PHOTOS), zipfile.ZIP_BZIP2)),
        "can't be unpacked: compression method 12",
        id="another compression",
    ),
    pytest.param(sends(bytes(10_001)), "at most 10,000 bytes, found more", id="large archive"),
    pytest.param(never_ends, "at most 10,000 bytes, found more", id="endless"),
]


@pytest.mark.parametrize(("reply", "message"), FAILURES + DATASET_FAILURES)
def test_failed_photographs_leave_everything_as_it_was(
    reply: Reply, message: str, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT", (5.0, 1.0))
    (folder / "with_mask").mkdir()
    (folder / "with_mask" / "own.jpg").write_bytes(b"mine")
    url = server.url(reply)
    before = tree(folder.parent)
    with pytest.raises(FacemaskError) as error:
        fetch.fetch_dataset(folder, print, resource=photographs(url))
    assert one_line(error).startswith(f"{url}: ")
    assert message in str(error.value)
    assert tree(folder.parent) == before


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, sizes = zipfile.ZipExtFile.read, []

    def counted(file: zipfile.ZipExtFile, n: int = -1) -> bytes:
        content = read(file, n)
        sizes.append(len(content))
        return content

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counted)
    monkeypatch.setattr(archive, "MAX_PHOTOGRAPH", 1000)
    (tmp_path / "bomb.zip").write_bytes(zipped({"top/data/a.jpg": bytes(1_000_000)}))
    with pytest.raises(FacemaskError):
        archive.extract(tmp_path / "bomb.zip", tmp_path, {"a.jpg": "0"}, "data", "http://bomb")
    assert sizes == [1001]


def test_own_photographs_stay(server: Server, folder: Path) -> None:
    own = {"with_mask/own.jpg": b"mine", "third/own.jpg": b"mine", "README.md": b"read"}
    for name, content in {**own, "with_mask/a.jpg": PHOTOS["with_mask/a.jpg"]}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    before = (folder / "with_mask/a.jpg").stat()
    fetch.fetch_dataset(folder, print, resource=photographs(server.url(sends(GOOD))))
    assert tree(folder) == {**CLASSES, "third": None, **own, **PHOTOS}
    assert (folder / "with_mask/a.jpg").stat() == before


def test_own_photograph_of_a_listed_name_stops_the_download(server: Server, folder: Path) -> None:
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
    problem: BaseException, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
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


def test_full_disk(server: Server, small_disk: Path) -> None:
    large = dataclasses.replace(weights(server.url(sends(bytes(500_000)))), size=500_000)
    archive = dataclasses.replace(photographs(large.url), max_archive=500_000)
    for download in (
        lambda: fetch.fetch_face_detector(small_disk, print, resource=large),
        lambda: fetch.fetch_dataset(small_disk, print, resource=archive),
    ):
        with pytest.raises(FacemaskError) as error:
            download()
        assert one_line(error) == f"{small_disk}: can't be written: No space left on device"
        assert tree(small_disk) == {}


def test_the_list() -> None:
    lines = DATASET.checksums.read_text(encoding="utf-8").splitlines()
    names = [line[66:] for line in lines]
    pattern = re.compile(r"[0-9a-f]{64}  with(out)?_mask/[A-Za-z0-9_-]+\.jpg")
    assert [line for line in lines if not pattern.fullmatch(line)] == []
    assert names == sorted(set(names))
    assert [sum(name.startswith(c) for name in names) for c in ("with_", "without_")] == [690, 686]


@pytest.mark.assets
def test_the_real_photographs(server: Server, folder: Path, assets: Path) -> None:
    paths = sorted((assets / "dataset").glob("with*_mask/*.jpg"))
    contents = {p.relative_to(assets / "dataset").as_posix(): p.read_bytes() for p in paths}
    assert len(contents) == 1376
    assert sum(len(content) for content in contents.values()) == DATASET.size
    url = server.url(sends(zipped(repository(contents), zipfile.ZIP_STORED), None))
    fetch.fetch_dataset(folder, print, resource=dataclasses.replace(DATASET, url=url))
    assert tree(folder) == {**CLASSES, **contents}


# For the scripts


def test_ensure_fetches_nothing_where_files_exist(server: Server, folder: Path) -> None:
    (folder / "net.caffemodel").write_bytes(b"whatever lies here")
    (folder / "some class").mkdir()
    url = server.url(sends(CONTENT))
    said: list[str] = []
    fetch.ensure_face_detector(folder, said.append, resource=weights(url))
    fetch.ensure_dataset(folder, said.append, resource=photographs(url))
    assert said == []
    assert server.requests == []


def test_ensure_fetches_what_is_missing(server: Server, folder: Path) -> None:
    (folder / ".hidden").mkdir()
    (folder / "README.md").write_bytes(b"no class folder")
    before = tree(folder)
    net = weights(server.url(sends(CONTENT), "/net"))
    fetch.ensure_face_detector(folder, print, resource=net)
    fetch.ensure_dataset(folder, print, resource=photographs(server.url(sends(GOOD), "/zip")))
    assert tree(folder) == {**before, "net.caffemodel": CONTENT, **CLASSES, **PHOTOS}


def test_ensure_says_what_to_do(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url(refuses(403))
    folder = tmp_path / "a folder"
    with pytest.raises(FacemaskError) as error:
        fetch.ensure_face_detector(folder, print, resource=weights(url))
    assert one_line(error) == (
        f"{url}: expected status 200, found 403 (Forbidden); `python -m facemask.downloads "
        f"face-detector --to '{folder}'` tries again, or put that file into {folder}"
    )
    monkeypatch.setattr(files, "PROJECT", tmp_path)
    with pytest.raises(FacemaskError) as error:
        fetch.ensure_dataset(tmp_path / "dataset", print, resource=photographs(url))
    assert one_line(error).endswith(
        "`python -m facemask.downloads dataset --to dataset` tries again, or put a folder of"
        " photographs for each class into dataset"
    )
    assert not folder.exists()


@pytest.mark.parametrize("end", ["", "/", "/prefix/"])
def test_a_mirror_from_the_environment(
    end: str, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = end.rstrip("/") + "/opencv/net"
    base = server.url(sends(CONTENT), path).removesuffix(path)
    monkeypatch.setenv(MIRROR, base + end)
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


def test_main_fetches_weights(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(files, "PROJECT", tmp_path)
    unreachable = weights("https://unreachable.invalid/net")
    monkeypatch.setitem(downloads.DETECTORS, "face-detector", unreachable)
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
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = server.url(sends(GOOD), "/archive")
    monkeypatch.setattr(downloads, "DATASET", photographs("https://unreachable.invalid/archive"))
    monkeypatch.setenv(MIRROR, url.removesuffix("/archive"))
    assert downloads.main(["dataset", "--to", str(folder)]) == 0
    assert tree(folder) == {**CLASSES, **PHOTOS}
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"[INFO] {folder}: all 3 photographs are in place"


@pytest.mark.parametrize("resource", ["yunet", "dataset"])
def test_command_fails_in_one_line(resource: str, server: Server, folder: Path) -> None:
    url = server.url(refuses(404))
    result = run(resource, "--to", folder, "--url", url)
    assert result.returncode == 1
    assert result.stderr == f"[ERROR] {url}: expected status 200, found 404 (Not Found)\n"
    assert tree(folder) == {}


def test_command_refuses_wrong_arguments() -> None:
    result = run("everything")
    assert result.returncode == 2
    assert result.stderr.startswith("[ERROR] ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("resource", ["face-detector", "dataset"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_nothing(
    resource: str, number: signal.Signals, server: Server, folder: Path
) -> None:
    def reply(handler: Handler) -> None:
        handler.start(fetch.FACE_DETECTOR.size)
        handler.wfile.write(CONTENT)
        handler.server.over.wait(10)

    process = subprocess.Popen(
        command(resource, "--to", folder / "new", "--url", server.url(reply)),
        cwd=files.PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=obey_ctrl_c,
    )
    wait_until(lambda: any(".part" in name for name in tree(folder)) and server.requests != [])
    time.sleep(0.5)  # until it waits for more bytes; an interrupt while tqdm starts adds a message
    process.send_signal(number)
    _, said = process.communicate(timeout=10)
    assert said == "[ERROR] interrupted\n"
    assert process.returncode == 130
    assert tree(folder) == {}


def test_import_is_light() -> None:
    code = (
        "import sys, facemask.downloads.fetch; heavy = {'pooch', 'requests', 'tqdm', 'zipfile'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=files.PROJECT, capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


def test_without_a_resource_the_command_says_what_there_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert downloads.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["face-detector", "yunet", "dataset"]
    assert "10.7 MB: https://" in lines[0]
