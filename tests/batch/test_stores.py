"""Files in folders and in object stores, through one interface."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from facemask.batch import stores
from facemask.batch.stores import Store, find_files, local_path, read_bytes
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
    store = Store(location)
    assert store.names() == set()
    assert store.read("one") is None
    store.write("one", b"first")
    store.write("one", b"1")
    store.write(".two", b"2")
    store.write("empty", b"")
    assert store.names() == {"one", ".two", "empty"}
    assert [store.read(name) for name in ("one", ".two", "empty", "none")] == [
        b"1",
        b"2",
        b"",
        None,
    ]
    store.remove("one")
    store.remove("one")
    assert Store(location).names() == {".two", "empty"}


def test_what_another_process_writes_is_seen(location: str) -> None:
    store, other = Store(location), Store(location)
    store.write("mine", b"")
    assert store.names() == {"mine"}
    other.write("theirs", b"")
    assert store.names() == {"mine", "theirs"}


def test_files_below_a_url_are_found_in_order_and_without_hidden_ones() -> None:
    memory = fsspec.filesystem("memory")
    memory.rm("/", recursive=True)
    for name in ("b c#1.png", "a/z?.png", ".hidden", ".cache/x.png", "Thumbs.db"):
        memory.pipe_file(f"/bucket/in/{name}", name.encode())
    expected = ["memory://bucket/in/a/z?.png", "memory://bucket/in/b c#1.png"]
    assert find_files("memory://bucket/in") == expected
    assert find_files("memory://bucket/in/") == expected
    assert [read_bytes(url) for url in expected] == [b"a/z?.png", b"b c#1.png"]
    assert find_files(expected[0]) == [expected[0]]
    assert find_files("memory://bucket/none.png") == ["memory://bucket/none.png"]
    assert read_bytes("memory://bucket/none.png") is None


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("a/b.png", Path("a/b.png")),
        ("file:///a/b c.png", Path("/a/b c.png")),
        ("memory://a/b.png", None),
    ],
)
def test_local_paths_are_told_from_other_urls(location: str, path: Path | None) -> None:
    assert local_path(location) == path


def test_a_store_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, *_: object, **__: object) -> None:
        raise RuntimeError("<html>\n503 Slow\nDown</html>")

    for method in ("ls", "find", "cat_file", "pipe_file", "exists", "rm"):
        monkeypatch.setattr(type(fsspec.filesystem("memory")), method, fail)
    store = Store("memory://bucket")
    for action, call in {
        "listed": store.names,
        "read": lambda: read_bytes("memory://bucket/a"),
        "written": lambda: store.write("a", b""),
        "removed": lambda: store.remove("a"),
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
        Store(str(tmp_path / "file")).write("a", b"")


def test_paths_need_no_package_for_urls(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['fsspec'] = sys.modules['upath'] = None\n"
        "from facemask.batch.stores import Store, find_files\n"
        f"store = Store({str(tmp_path / 'a')!r}); store.write('b', b'1')\n"
        "print(store.names(), store.read('b'))\n"
        "try: find_files('s3://bucket')\n"
        "except Exception as error: print(error)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    lines = process.stdout.splitlines()
    assert lines[0] == "{'b'} b'1'"
    assert lines[1].startswith("s3://bucket: URLs need universal-pathlib, which can't be imported")
    assert lines[1].endswith("`pip install -r requirements-archive.txt`")
