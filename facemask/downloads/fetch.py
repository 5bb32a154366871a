"""What the project fetches: face detectors' weights and the classic set of photographs.

    python -m facemask.downloads face-detector [--to FOLDER] [--url URL]
    python -m facemask.downloads yunet [--to FOLDER] [--url URL]
    python -m facemask.downloads dataset [--to FOLDER] [--url URL]

Everything is checked by sha256 before it appears under its name; a download that fails leaves
nothing behind. What is in place already is not fetched again. The environment variable
FACEMASK_DOWNLOADS names a mirror: its address stands in for scheme and host of the addresses
below, so https://mirror.example/x/opencv/... is asked when it is https://mirror.example/x.

Photographs that lie in the target folder stay as they are. Only listed names that are missing are
added; where a file of a listed name has other bytes, nobody can tell a damaged copy from
somebody's own picture, so nothing is fetched and the error names the file to move away.
"""

import hashlib
import os
import shlex
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from facemask import files
from facemask.errors import FacemaskError

# The scripts import this module on each start and seldom fetch, so requests, tqdm and zipfile are
# imported where they are used.
if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

    from requests import Response
COMMAND = "facemask.downloads"
MIRROR = "FACEMASK_DOWNLOADS"
USER_AGENT = "facemask-downloads (a face mask detection project; python-requests)"
TIMEOUT = (10.0, 30.0)  # seconds to connect; seconds without a byte
CHUNK = 1 << 16  # bytes
MAX_PHOTOGRAPH = 16_000_000  # bytes; the largest listed one has 3,113,649


@dataclass(frozen=True)
class Resource:
    """Something to fetch. The size is in bytes, of what ends up on the disk."""

    command: str
    title: str
    by_hand: str  # what a user without network puts into the folder
    url: str
    size: int


@dataclass(frozen=True)
class Weights(Resource):
    """A single file: its name, and the sha256 of its bytes in hexadecimal."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Photographs(Resource):
    """A zip of a repository: the photographs' place below its top folder, and their checksums.

    `checksums` is a file as sha256sum writes it, with names relative to `place`. The archive's own
    bytes are not checked, since GitHub doesn't promise to pack a commit in the same way for ever;
    at most `largest_archive` bytes are read.
    """

    place: str
    checksums: Path
    largest_archive: int = 2_000_000_000


AnyResource = TypeVar("AnyResource", Weights, Photographs)

# Size and sha256 are those of the file on the branch dnn_samples_face_detector_20170830.
FACE_DETECTOR = Weights(
    command="face-detector",
    title="the face detector's weights",
    by_hand="that file",
    url="https://raw.githubusercontent.com/opencv/opencv_3rdparty/"
    "dnn_samples_face_detector_20170830/res10_300x300_ssd_iter_140000.caffemodel",
    size=10_666_211,
    name="res10_300x300_ssd_iter_140000.caffemodel",
    sha256="2a56a11a57a4a295956b0660b4a3d76bbdca2206c4961cea8efe7d95c7cb2f2d",
)
YUNET = Weights(
    command="yunet",
    title="YuNet's weights",
    by_hand="that file",
    url="https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/"
    "0047ac24afb1a50a0c6105001c89d1b5b805dbf1/onnx/yunet_n_640_640.onnx",
    size=317_466,
    name="yunet_n_640_640.onnx",
    sha256="25a606a145a5b6d7271ae138fbd00eba91dad8b83222ae3f2c7ecd0f4a7b0e31",
)
DETECTORS = {weights.command: weights for weights in (FACE_DETECTOR, YUNET)}
# The list was made from the 690 + 686 photographs of this commit.
DATASET = Photographs(
    command="dataset",
    title="1,376 photographs (packed with other files)",
    by_hand="a folder of photographs for each class",
    url="https://codeload.github.com/prajnasb/observations/zip/"
    "cdcf4501bf7fdec7ac8a4ee245e343b187fa53c7",
    size=53_239_822,
    place="experiements/data",  # spelt so there
    checksums=Path(__file__).with_name("dataset.sha256"),
)


def ensure_face_detector(
    folder: Path, announce: Callable[[str], None], *, resource: Weights = FACE_DETECTOR
) -> None:
    """Fetch the weights into the folder unless a file of their name is there, right or wrong.

    Raises FacemaskError with the address and what to do where they can't be had.
    """
    if not (folder / resource.name).exists():
        with _advice(_mirrored(resource), folder, files.PROJECT / "face_detector"):
            fetch_face_detector(folder, announce, resource=_mirrored(resource))


def ensure_dataset(
    folder: Path, announce: Callable[[str], None], *, resource: Photographs = DATASET
) -> None:
    """Fetch the photographs into the folder unless it holds a class folder, whatever its name.

    Raises FacemaskError with the address and what to do where they can't be had.
    """
    if not any(path.is_dir() for path in folder.glob("[!.]*")):
        with _advice(_mirrored(resource), folder, files.PROJECT / "dataset"):
            fetch_dataset(folder, announce, resource=_mirrored(resource))


def fetch_face_detector(
    folder: Path, announce: Callable[[str], None], *, resource: Weights = FACE_DETECTOR
) -> None:
    """Bring the right weights into the folder; wrong ones stay until the right ones have come.

    Raises FacemaskError where they can't be fetched, are not the expected ones or can't be written.
    """
    target = folder / resource.name
    if target.exists():
        if (found := _sha256(target)) == resource.sha256:
            announce(f"{_shown(target)} is in place")
            return
        announce(f"{_shown(target)}: expected sha256 {resource.sha256}, found {found}")
    _announce_fetch(resource, announce)
    with _made(folder), files.replacing(target) as part:
        _save(_body(resource.url, resource.size, resource.size), part)
        if (found := _sha256(part)) != resource.sha256:
            raise FacemaskError(f"{resource.url}: expected sha256 {resource.sha256}, found {found}")
    announce(f"{_shown(target)} is in place")


def fetch_dataset(
    folder: Path, announce: Callable[[str], None], *, resource: Photographs = DATASET
) -> None:
    """Bring the listed photographs that are missing into the folder's class folders.

    A class folder that is not there yet appears complete. Raises FacemaskError where the archive
    can't be fetched or lacks one of them, where a photograph, there or here, has other bytes than
    listed, and where the folder can't be written; the folder is then as it was before.
    """
    listed = _listed(resource.checksums)
    missing = _missing(folder, listed)
    if missing:
        _announce_fetch(resource, announce)
        with _made(folder), tempfile.TemporaryDirectory(".part", ".download.", folder) as part:
            archive, photographs = Path(part, "archive.zip"), Path(part, "photographs")
            _save(_body(resource.url, None, resource.largest_archive), archive)
            _extract(archive, photographs, missing, resource)
            _move(_moves(photographs, folder, missing))
    announce(f"{_shown(folder)}: all {len(listed):,} photographs are in place")


# What is said


def _announce_fetch(resource: Resource, announce: Callable[[str], None]) -> None:
    announce(f"fetching {resource.title}, {resource.size / 1e6:.1f} MB, from {resource.url}")


def _shown(path: Path) -> Path:
    """As a user in the project's folder would write it."""
    return path.relative_to(files.PROJECT) if path.is_relative_to(files.PROJECT) else path


@contextmanager
def _advice(resource: Resource, folder: Path, default: Path) -> Iterator[None]:
    """Add to an error how to get the resource later, or by hand."""
    try:
        yield
    except FacemaskError as error:
        command = f"python -m {COMMAND} {resource.command}"
        if folder.resolve() != default.resolve():
            command += f" --to {shlex.quote(str(folder))}"
        raise FacemaskError(
            f"{error}; `{command}` tries again, or put {resource.by_hand} into {_shown(folder)}"
        ) from error


# The network


def _mirrored(resource: AnyResource) -> AnyResource:
    """The resource, at the mirror where the environment names one."""
    mirror = os.environ.get(MIRROR, "").strip().rstrip("/")
    return replace(resource, url=mirror + urlsplit(resource.url).path) if mirror else resource


def _body(url: str, size: int | None, limit: int) -> Generator[bytes, None, None]:
    """What the server sends, in pieces, with a progress bar where standard error is a terminal.

    Raises FacemaskError unless exactly `size` bytes come (where it is given), not more than
    `limit`, and as many as the server announced (where it did).
    """
    import requests
    from tqdm import tqdm

    # Already packed; and only unpacked bytes can be compared with the announced number.
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    found = 0
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            announced = _announced(url, response)
            expected = announced if size is None else size
            wanted = f"{'at most ' if size is None else ''}{limit:,} bytes"
            if announced is not None and (announced > limit or announced != expected):
                raise FacemaskError(f"{url}: expected {wanted}, found {announced:,}")
            # A body that ends early shall reach the count below, which says how much there was.
            response.raw.enforce_content_length = False
            with tqdm(total=expected, unit="B", unit_scale=True, disable=None) as bar:
                for piece in response.iter_content(CHUNK):
                    found += len(piece)
                    if found > limit:
                        raise FacemaskError(f"{url}: expected {wanted}, found more")
                    bar.update(len(piece))
                    yield piece
    except requests.RequestException as error:
        raise FacemaskError(f"{url}: can't be fetched: {_network_reason(error)}") from error
    if expected is not None and found != expected:
        raise FacemaskError(f"{url}: expected {expected:,} bytes, found {found:,}")


def _announced(url: str, response: "Response") -> int | None:
    """The number of bytes that the server is about to send, where it says so."""
    from http.client import responses

    status = response.status_code
    if status != 200:
        phrase = responses.get(status, "unknown")
        raise FacemaskError(f"{url}: expected status 200, found {status} ({phrase})")
    length = response.headers.get("Content-Length", "")
    packed = "Content-Encoding" in response.headers  # then the length is that of the packed bytes
    return int(length) if length.isdecimal() and not packed else None


def _network_reason(error: OSError) -> str:
    """The system's own words; requests wraps them in several layers that repeat the address."""
    import requests

    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke before the end"
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
            return files.reason(cause)
        cause = cause.__cause__ or cause.__context__
    return str(error)


# The disk


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make the folder where it is missing; when the block fails, what was made goes again.

    An OSError in the block becomes a FacemaskError that names the folder.
    """
    made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        for path in made:  # from the inside out; a folder that has come to hold something stays
            with suppress(OSError):
                path.rmdir()
        if isinstance(error, OSError):
            raise FacemaskError(f"{folder}: can't be written: {files.reason(error)}") from error
        raise


def _save(body: Generator[bytes, None, None], path: Path) -> None:
    with closing(body), open(path, "wb") as file:
        for piece in body:
            file.write(piece)


def _sha256(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FacemaskError(f"{_shown(path)}: can't be read: {files.reason(error)}") from error


def _listed(checksums: Path) -> dict[str, str]:
    """sha256 by name, such as `with_mask/0-with-mask.jpg`."""
    lines = checksums.read_text(encoding="utf-8").splitlines()
    return {name: sha256 for sha256, name in (line.split("  ", 1) for line in lines)}


def _missing(folder: Path, listed: dict[str, str]) -> dict[str, str]:
    """The listed files that the folder lacks. Raises FacemaskError for one with other bytes."""
    missing = {}
    for name, sha256 in listed.items():
        path = folder / name
        if not os.path.lexists(path):
            missing[name] = sha256
        elif (found := _sha256(path)) != sha256:
            raise FacemaskError(
                f"{_shown(path)}: expected sha256 {sha256}, found {found}; move it away if it is "
                "your own, delete it if it is damaged, and fetch again"
            )
    return missing


# The archive


def _extract(archive: Path, to: Path, names: dict[str, str], resource: Photographs) -> None:
    """Write the named photographs, each with the listed bytes, below the folder `to`.

    Paths are built from the list alone: whatever the archive calls its entries, nothing else is
    written. Links are read as the few bytes they are, and fail the comparison.
    """
    import zipfile

    try:
        opened = zipfile.ZipFile(archive)
    except Exception as error:  # zipfile raises a dozen kinds for a file that is damaged or no zip
        raise FacemaskError(f"{resource.url}: expected a zip archive: {error}") from error
    with opened:
        entries = _entries(opened.infolist(), resource.place)
        for name, sha256 in names.items():
            if name not in entries:
                lack = f"{len(names) - len(names.keys() & entries.keys()):,} of {len(names):,}"
                raise FacemaskError(
                    f"{resource.url}: expected {name} in the archive, found {lack} missing"
                )
            content = _read(opened, entries[name], f"{resource.url}: {name}")
            if (found := hashlib.sha256(content).hexdigest()) != sha256:
                raise FacemaskError(
                    f"{resource.url}: {name}: expected sha256 {sha256}, found {found}"
                )
            path = to / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _entries(infos: "Iterable[ZipInfo]", place: str) -> "dict[str, ZipInfo]":
    """Entries below `<top folder>/<place>/` by the rest of their name."""
    entries = {}
    for entry in infos:
        inside = entry.filename.partition("/")[2]
        if inside.startswith(f"{place}/"):
            entries[inside.removeprefix(f"{place}/")] = entry
    return entries


def _read(archive: "ZipFile", entry: "ZipInfo", where: str) -> bytes:
    """An entry's content, inflated no further than the largest photograph thinkable."""
    import zipfile

    try:
        # The other methods are inflated in one go, and GitHub uses none of them.
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"compression method {entry.compress_type}")
        with archive.open(entry) as file:
            content = file.read(MAX_PHOTOGRAPH + 1)
    except Exception as error:  # a dozen kinds, as above
        why = str(error) or type(error).__name__
        raise FacemaskError(f"{where}: can't be unpacked: {why}") from error
    if len(content) > MAX_PHOTOGRAPH:
        raise FacemaskError(f"{where}: expected at most {MAX_PHOTOGRAPH:,} bytes, found more")
    return content


def _moves(part: Path, folder: Path, names: Iterable[str]) -> list[tuple[Path, Path]]:
    """What to rename to what: whole class folders, or their files where the folder exists."""
    moves = []
    for name in names:
        class_name = name.partition("/")[0]
        what = name if os.path.lexists(folder / class_name) else class_name
        moves.append((part / what, folder / what))
    return list(dict.fromkeys(moves))


def _move(moves: Iterable[tuple[Path, Path]]) -> None:
    """Rename all, or none: one class without the other would pass for a data set."""
    begun = []
    try:
        for source, target in moves:
            begun.append((source, target))
            source.rename(target)
    except BaseException:
        for source, target in begun:
            if not source.exists():
                target.rename(source)
        raise
