"""What can be fetched: addresses, sizes and checksums."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

MIRROR = "FACEMASK_DOWNLOADS"


@dataclass(frozen=True)
class Resource:
    """Something to fetch. The size is in bytes, of what ends up on the disk."""

    command: str
    title: str
    by_hand: str  # what a user without a network puts into the folder
    url: str
    size: int

    def at(self, url: str | None = None) -> Self:
        """The same from `url`, or else from the mirror that the environment names, if any."""
        mirror = os.environ.get(MIRROR, "").strip().rstrip("/")
        return replace(self, url=url or (mirror and mirror + urlsplit(self.url).path) or self.url)


@dataclass(frozen=True)
class Weights(Resource):
    """A single file: its name, and the sha256 of its bytes in hexadecimal."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Photographs(Resource):
    """A zip archive of a repository, with photographs in `place` below its top folder.

    `checksums` is a file as sha256sum writes it, with names relative to `place`. The archive has no
    checksum of its own, because GitHub does not promise to pack a commit the same way for ever. At
    most `max_archive` bytes of it are read.
    """

    place: str
    checksums: Path
    max_archive: int = 2_000_000_000

    def sha256_by_name(self) -> dict[str, str]:
        """The sha256 of each photograph, in hexadecimal, by its name relative to `place`."""
        lines = self.checksums.read_text(encoding="utf-8").splitlines()
        return {name: sha256 for sha256, name in (line.split("  ") for line in lines)}


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
    place="experiements/data",  # the repository's own spelling
    checksums=Path(__file__).with_name("dataset.sha256"),
)
