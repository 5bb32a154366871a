"""Draws a small labelled data set of illustrated portraits, with and without a mask.

    python -m facemask.sample_dataset PATH [--count N] [--size PIXELS] [--seed S]

With it the training can be tried from end to end without a network and without photographs of
people. A model trained on drawings knows drawings only: never use it on people.
"""

if __name__ == "__main__":
    from facemask.startup import end_quietly_on_ctrl_c

    end_quietly_on_ctrl_c()

from collections.abc import Sequence
from pathlib import Path

from facemask.console import info, run
from facemask.options import ArgumentParser, whole_number
from facemask.sample_dataset.writer import CLASSES, COMMAND, write_sample_dataset


def main(argv: Sequence[str] | None = None) -> int:
    parser = ArgumentParser(
        prog=f"python -m {COMMAND}",
        description="Draw a small labelled data set of portraits, to try the training without "
        "photographs. A model trained on drawings is of no use on people.",
    )
    parser.add_argument(
        "path", type=Path, help="folder to draw into: new, empty, or of an earlier drawn set"
    )
    parser.add_argument(
        "--count", type=whole_number(1), default=100, help="images per class (default: %(default)s)"
    )
    parser.add_argument(
        "--size",
        type=whole_number(32, most=4096),
        default=256,
        help="pixels a side, 32 to 4096 (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0),
        default=0,
        help="seed of the random choices (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    info(f"drawing {args.count} portraits for each of {' and '.join(CLASSES)}...")
    paths = write_sample_dataset(args.path, args.count, args.size, args.seed)
    info(f"{len(paths)} images in {args.path}")
    return 0


if __name__ == "__main__":
    run(main)
