"""Face mask detection: find the faces in a picture, say which of them wear a mask."""

import sys

# Every command comes through here first. An older Python would fail later with a long traceback.
if sys.version_info < (3, 11):  # noqa: UP036 - it is this line that says so
    raise SystemExit(
        f"[ERROR] {sys.executable}: expected Python 3.11 or later, found {sys.version.split()[0]}"
    )
