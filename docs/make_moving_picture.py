"""Writes moving.webp beside it, the picture of the README.

python docs/make_moving_picture.py

A camera moves over examples/example_03.png, and a mask comes onto the bare face and goes again.
Boxes and labels are what detect_mask_video.py makes of these frames, each by itself: a voted label
would follow the mask half a second later.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # to run it from any folder

import detect_mask_video
from facemask.console import info, run
from facemask.data.drawn_masks import points_on_face
from facemask.files import PROJECT, replacing
from facemask.images import read_image, write_image
from facemask.sample_dataset.mask import draw_mask
from facemask.video.decoder import DEFAULT_FPS
from facemask.video.sources import open_source

SIZE = (600, 350)  # width, height, pixels
FRAMES = 160  # as many a second as of a folder of images
SHOWN_EVERY = 2
QUALITY = 45  # of WebP
CENTRE = (0.44, 0.42)  # ratios of width and height: what stays where it is
# Hopper's eyes, nose and corners of the mouth in example_03.png, read off by eye.
LANDMARKS = np.array([(188, 168), (262, 165), (223, 205), (198, 240), (252, 238)], float)
LIGHT = (-0.35, -0.3)  # from the upper left


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        frames, video = Path(folder, "frames"), Path(folder, "video.mkv")
        for number, image in enumerate(scene()):
            write_image(frames / f"{number:03}.png", image)
        arguments = ["--detector", "builtin", "--no-track", "--no-display"]
        detect_mask_video.main(["--source", str(frames), "--output", str(video), *arguments])
        with open_source(str(video), print, SHOWN_EVERY) as source:
            shown = [Image.fromarray(image[..., ::-1]) for _, image in source.frames()]
    path = PROJECT / "docs" / "moving.webp"
    duration_ms = round(1000 * SHOWN_EVERY / DEFAULT_FPS)
    with replacing(path) as temporary:
        shown[0].save(
            temporary, save_all=True, append_images=shown[1:], duration=duration_ms, loop=0,
            quality=QUALITY, method=4,
        )  # fmt: skip
    info(f"{path.name}: {len(shown)} frames, {path.stat().st_size // 1000} kB")
    return 0


def scene() -> Iterator[np.ndarray]:
    """The frames, (height, width, 3) uint8, BGR; the last one leads to the first."""
    picture = read_image(PROJECT / "examples" / "example_03.png")
    masked = draw_mask(picture, points_on_face(LANDMARKS), light=LIGHT)
    for number in range(FRAMES):
        swing = 0.5 - 0.5 * np.cos(2 * np.pi * number / FRAMES)  # 0 at both ends, 1 in the middle
        opacity = np.clip(6 * swing - 2, 0, 1)  # of the mask
        mixed = cv2.addWeighted(masked, opacity, picture, 1 - opacity, 0)
        yield view(mixed, zoom=1.14 + 0.3 * swing)


def view(picture: np.ndarray, zoom: float) -> np.ndarray:
    """The picture at that zoom around CENTRE, as large as SIZE."""
    scale = zoom * SIZE[0] / picture.shape[1]
    offset = np.multiply(SIZE, CENTRE) * (1 - zoom)
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    return cv2.warpAffine(picture, matrix, SIZE, flags=cv2.INTER_LINEAR)


if __name__ == "__main__":
    run(main)
