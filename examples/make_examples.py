"""Makes the example images from the two public-domain portraits that README.md names.

python examples/make_examples.py GRACE_HOPPER.jpg ASTRONAUT.png [--output FOLDER]
"""

import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # to run it from any folder

from facemask.console import info, run
from facemask.errors import FacemaskError
from facemask.files import replacing
from facemask.images import read_image
from facemask.options import ArgumentParser
from facemask.sample_dataset.mask import MaskPoints, draw_mask

# Read off by eye from the astronaut picture of 512x512 pixels.
COLLINS = MaskPoints(
    nose=(224, 112),
    chin=(222, 184),
    cheeks=((183.5, 122), (266.5, 126)),
    jaws=((189, 154), (257, 158)),
    ears=((178, 113), (271, 119)),
    lobes=((180, 129), (270, 133)),
)
LIGHT = (-0.35, -0.3)  # from the upper left, as the shadows on her face show
BLUE, WHITE = (212, 196, 164), (226, 228, 230)
PANEL = (432, 506)  # each half of the third picture; it has the shape of Hopper's portrait


def main() -> int:
    parser = ArgumentParser(description="Make the example images from the two portraits.")
    parser.add_argument("hopper", type=Path, help="grace_hopper.jpg of matplotlib (512x600)")
    parser.add_argument("collins", type=Path, help="astronaut.png of scikit-image (512x512)")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent, help="folder to write the images to"
    )
    args = parser.parse_args()
    hopper, collins = read(args.hopper, 512, 600), read(args.collins, 512, 512)
    masked = wear_mask(collins, BLUE)
    write(args.output / "example_01.png", hopper)
    write(args.output / "example_02.png", masked)
    write(args.output / "example_03.png", side_by_side(hopper, wear_mask(collins, WHITE)))
    return 0


def read(path: Path, width: int, height: int) -> np.ndarray:
    """The picture as BGR uint8 (height, width, 3). The points were read off at that size only."""
    image = read_image(path)
    if image.shape[:2] != (height, width):
        found = f"{image.shape[1]}x{image.shape[0]}"
        raise FacemaskError(f"{path}: expected {width}x{height} pixels, found {found}")
    return image


def wear_mask(collins: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return draw_mask(collins, COLLINS, colour, light=LIGHT, rng=np.random.default_rng(2))


def side_by_side(hopper: np.ndarray, collins: np.ndarray) -> np.ndarray:
    """Hopper unmasked and Collins masked in one picture, with faces of about the same size."""
    # With a slightly tighter crop the face detector finds a second, false face in her hair.
    bust = collins[:380, 66:390]
    return np.hstack([
        cv2.resize(hopper, PANEL, interpolation=cv2.INTER_AREA),
        cv2.resize(bust, PANEL, interpolation=cv2.INTER_CUBIC),
    ])  # fmt: skip


def write(path: Path, image: np.ndarray) -> None:
    encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.tobytes())
    info(f"{path}: {image.shape[1]}x{image.shape[0]}, {encoded.size // 1000} kB")


if __name__ == "__main__":
    run(main)
