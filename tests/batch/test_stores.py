"""Files in folders and in object stores, through one interface."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from facemask.batch import stores
from facemask.batch.stores import find_files, open_path
from facemask.errors import FacemaskError
from facemask.files import PROJECT


@pytest.fixture(params=["path", "file://", "memory://", "memory://, in two steps"])
def location(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A folder that is not there yet, in each kind of store."""
    memory = fsspec.filesystem("memory")
    memory.rm("/", recursive=True)
    if "two steps" in request.param:
        monkeypatch.setattr(stores, "_ATOMIC_PUT", {"s3"})
    yield {
        "path": str(tmp_path / "a" / "b"),
        "file://": f"file://{tmp_path}/a/b",
    }.get(request.param, "memory://bucket/a/b")
    memory.rm("/", recursive=True)


def test_files_are_written_listed_read_and_removed(location: str) -> None:
    folder = open_path(location)
    assert stores.names(folder) == set()
    assert stores.read(folder / "one") is None
    stores.write(folder / "one", b"first")
    stores.write(folder / "one", b"1")
    stores.write(folder / ".two", b"2")
    stores.write(folder / "empty", b"")
    assert stores.names(folder) == {"one", ".two", "empty"}
    content = [stores.read(folder / name) for name in ("one", ".two", "empty", "none")]
    assert content == [b"1", b"2", b"", None]
    stores.remove(folder / "one")
    stores.remove(folder / "one")
    assert stores.names(open_path(location)) == {".two", "empty"}


def test_what_another_process_writes_is_seen(location: str) -> None:
    folder, other = open_path(location), open_path(location)
    stores.write(folder / "mine", b"")
    assert stores.names(folder) == {"mine"}
    stores.write(other / "theirs", b"")
    assert stores.names(folder) == {"mine", "theirs"}


def test_files_below_a_url_are_found_in_order_and_without_hidden_ones() -> None:
    memory = fsspec.filesystem("memory")
    memory.rm("/", recursive=True)
    for name in ("b c#1.png", "a/z?.png", ".hidden", ".cache/x.png", "Thumbs.db"):
        memory.pipe_file(f"/bucket/in/{name}", name.encode())
    expected = ["memory://bucket/in/a/z?.png", "memory://bucket/in/b c#1.png"]
    assert find_files("memory://bucket/in") == expected
    assert find_files("memory://bucket/in/") == expected
    assert [stores.read(open_path(url)) for url in expected] == [b"a/z?.png", b"b c#1.png"]
    assert find_files(expected[0]) == [expected[0]]
    assert find_files("memory://bucket/none.png") == ["memory://bucket/none.png"]
    assert stores.read(open_path("memory://bucket/none.png")) is None


def test_file_urls_are_paths_and_other_urls_are_not() -> None:
    assert open_path("a/b.png") == Path("a/b.png")
    assert open_path("file:///a/b c.png") == Path("/a/b c.png")
    assert not isinstance(open_path("memory://a/b.png"), Path)


def test_a_store_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, *_: object, **__: object) -> None:
        raise RuntimeError("<html>\n503 Slow\nDown</html>")

    for method in ("ls", "find", "cat_file", "pipe_file", "exists", "rm"):
        monkeypatch.setattr(type(fsspec.filesystem("memory")), method, fail)
    folder = open_path("memory://bucket")
    for action, call in {
        "listed": lambda: stores.names(folder),
        "read": lambda: stores.read(folder / "a"),
        "written": lambda: stores.write(folder / "a", b""),
        "removed": lambda: stores.remove(folder / "a"),
    }.items():
        message = rf"^memory://bucket\S*: can't be {action}: <html> 503 Slow Down</html>$"
        with pytest.raises(FacemaskError, match=message):
            call()
    with pytest.raises(FacemaskError, match="can't be listed"):
        find_files("memory://bucket")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = rf"^{tmp_path}/file/a: can't be written: File exists$"
    with pytest.raises(FacemaskError, match=message):
        stores.write(tmp_path / "file" / "a", b"")


def test_paths_need_no_package_for_urls(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['fsspec'] = sys.modules['upath'] = None\n"
        "from facemask.batch import stores\n"
        f"folder = stores.open_path({str(tmp_path / 'a')!r}); stores.write(folder / 'b', b'1')\n"
        "print(stores.names(folder), stores.read(folder / 'b'))\n"
        "try: stores.find_files('s3://bucket')\n"
        "except Exception as error: print(error)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    lines = process.stdout.splitlines()
    assert lines[0] == "{'b'} b'1'"
    assert lines[1].startswith("s3://bucket: URLs need universal-pathlib, which can't be imported")
    assert lines[1].endswith("`pip install -r requirements-archive.txt`")
