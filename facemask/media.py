"""Opening video files for reading, with any release of PyAV."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from av.container import InputContainer


def open_media(path: Path) -> "InputContainer":
    """Open a file with FFmpeg. Raises what av.open raises."""
    import av

    # Titles and the like are decoded, too, and may be in any encoding: PyAV 19 knows that.
    old = int(av.__version__.partition(".")[0]) < 19
    options: dict[str, Any] = {"metadata_errors": "replace"} if old else {}
    # Absolute, or FFmpeg would take what stands before a colon in a name for a protocol.
    return av.open(str(path.absolute()), "r", **options)
