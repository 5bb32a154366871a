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

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from facemask import files
from facemask.console import info, run
from facemask.downloads.fetch import (
    COMMAND,
    DATASET,
    DETECTORS,
    MIRROR,
    _mirrored,
    fetch_dataset,
    fetch_face_detector,
)
from facemask.options import ArgumentParser


def main(argv: Sequence[str] | None = None) -> int:
    parser = ArgumentParser(
        prog=f"python -m {COMMAND}",
        description="Fetch a face detector's weights or the classic photographs, and check them.",
        epilog=f"{MIRROR}=https://mirror.example in the environment asks a mirror instead.",
    )
    parser.add_argument("what", choices=[*DETECTORS, DATASET.command])
    parser.add_argument(
        "--to", type=Path, metavar="FOLDER", help="default: the project's face_detector or dataset"
    )
    parser.add_argument("--url", help="another address of the same file")
    args = parser.parse_args(argv)
    if args.what in DETECTORS:
        weights = DETECTORS[args.what]
        weights = replace(weights, url=args.url) if args.url else _mirrored(weights)
        fetch_face_detector(args.to or files.PROJECT / "face_detector", info, resource=weights)
    else:
        photographs = replace(DATASET, url=args.url) if args.url else _mirrored(DATASET)
        fetch_dataset(args.to or files.PROJECT / "dataset", info, resource=photographs)
    return 0


if __name__ == "__main__":
    run(main)
