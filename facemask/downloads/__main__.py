"""What the project fetches: face detectors' weights and the classic set of photographs.

    python -m facemask.downloads
    python -m facemask.downloads face-detector [--to FOLDER] [--url URL]
    python -m facemask.downloads yunet [--to FOLDER] [--url URL]
    python -m facemask.downloads dataset [--to FOLDER] [--url URL]

Everything is checked by sha256 before it appears under its name. A download that fails leaves
nothing behind, and what is in place already is not fetched again. The environment variable
FACEMASK_DOWNLOADS names a mirror. Its address replaces scheme and host of the official address:
with https://mirror.example/x, files come from https://mirror.example/x/opencv/... .

Photographs in the target folder stay as they are; only listed names that are missing are added. A
file with a listed name and other bytes may be a damaged copy or the user's own picture. Then
nothing is fetched, and the error names the file to move away.
"""

if __name__ == "__main__":
    from facemask.startup import end_quietly_on_ctrl_c

    end_quietly_on_ctrl_c()

from collections.abc import Sequence
from pathlib import Path

from facemask import files
from facemask.console import info, run
from facemask.downloads.fetch import COMMAND, fetch_dataset, fetch_face_detector
from facemask.downloads.resources import DATASET, DETECTORS, MIRROR
from facemask.options import ArgumentParser


def main(argv: Sequence[str] | None = None) -> int:
    parser = ArgumentParser(
        prog=f"python -m {COMMAND}",
        description="Fetch a face detector's weights or the classic photographs, and check them.",
        epilog=f"{MIRROR}=https://mirror.example in the environment names a mirror.",
    )
    parser.add_argument(
        "resource", nargs="?", choices=[*DETECTORS, DATASET.command], help="default: list them"
    )
    parser.add_argument(
        "--to", type=Path, metavar="FOLDER", help="default: the project's face_detector or dataset"
    )
    parser.add_argument("--url", help="another address of the same file")
    args = parser.parse_args(argv)
    if not args.resource:
        if args.to or args.url:
            parser.error("--to and --url: expected one of the resources with them")
        for resource in (*DETECTORS.values(), DATASET):
            megabytes = f"{resource.size / 1e6:.1f} MB"
            print(f"{resource.command:14} {resource.title}, {megabytes}: {resource.at().url}")
        return 0
    if args.resource in DETECTORS:
        weights = DETECTORS[args.resource].at(args.url)
        fetch_face_detector(args.to or files.PROJECT / "face_detector", info, resource=weights)
    else:
        photographs = DATASET.at(args.url)
        fetch_dataset(args.to or files.PROJECT / "dataset", info, resource=photographs)
    return 0


if __name__ == "__main__":
    run(main)
