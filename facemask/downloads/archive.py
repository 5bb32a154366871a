"""Takes the listed photographs, and nothing else, out of a zip archive from the network."""

import hashlib
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from facemask.errors import FacemaskError

MAX_PHOTOGRAPH = 16_000_000  # bytes; the largest listed one has 3,113,649


def extract(
    archive: Path, folder: Path, sha256_by_name: dict[str, str], place: str, source: str
) -> None:
    """Write the listed photographs below `folder`, each with exactly the listed bytes.

    Paths are built from the list alone, so no name in the archive can lead outside of `folder`. A
    link is read as the few bytes it consists of. Of each entry at most MAX_PHOTOGRAPH bytes are
    used, so that a small archive can't fill memory or disk.

    place: the folder of the photographs below the archive's top folder. source: the address that
    errors name. Raises FacemaskError where the archive is damaged, or where a photograph is missing
    or has another sha256.
    """
    name = "the archive"
    try:
        with ZipFile(archive) as opened:
            top = opened.namelist()[0].partition("/")[0]
            for name, expected in sha256_by_name.items():
                entry = opened.getinfo(f"{top}/{place}/{name}")
                # zipfile unpacks other methods without a limit; GitHub uses none of them.
                if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                    raise ValueError(f"compression method {entry.compress_type}")
                with opened.open(entry) as file:
                    content = file.read(MAX_PHOTOGRAPH + 1)
                sha256 = hashlib.sha256(content).hexdigest()
                if sha256 != expected:
                    raise ValueError(f"expected sha256 {expected}, found {sha256}")
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    except OSError:  # of the disk
        raise
    except Exception as error:  # zipfile raises a dozen types for a damaged file
        raise FacemaskError(f"{source}: {name} can't be unpacked: {error}") from error
