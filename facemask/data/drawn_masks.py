"""Draws masks onto faces with known landmarks: worn properly, or as people wear them wrongly.

The rare class of masks worn incorrectly is drawn for training, and faces without a mask can be
measured with one. The drawing itself is sample_dataset.mask; here is where on a face it goes, and
what it looks like in the light of a photograph.
"""

from typing import NamedTuple

import cv2
import numpy as np

from facemask.class_names import INCORRECT, WITH_MASK
from facemask.sample_dataset.mask import PATTERNS, STRAPS, MaskPoints, draw_mask

# How a mask is worn, and the class of the face then.
WAYS = {
    "proper": WITH_MASK,
    "below_nose": INCORRECT,  # the nose is out
    "on_chin": INCORRECT,  # nose and mouth are out
    "on_forehead": INCORRECT,
    "mouth_out": INCORRECT,  # too small a mask, or pulled up to speak
    "over_eyes": INCORRECT,
    "dangling": INCORRECT,  # from one ear
}


class _Place(NamedTuple):
    """Where a mask sits on a face: x in distances between the eyes, y in those from the eyes to the
    mouth, from the middle of the eyes; of pairs, how far outside of the eyes, and y."""

    nose: float  # y of the middle of the upper edge
    chin: float  # y of the middle of the lower edge
    cheeks: tuple[float, float]
    jaws: tuple[float, float]
    lobes: float = 0.7  # y


_PLACES = {
    "proper": _Place(0.27, 1.78, (0.45, 0.4), (0.28, 1.25)),
    "below_nose": _Place(0.8, 1.86, (0.4, 0.78), (0.26, 1.4), 0.9),
    "on_chin": _Place(1.38, 2.15, (0.38, 1.1), (0.12, 1.8), 1.0),
    "on_forehead": _Place(-1.1, -0.42, (0.3, -0.85), (0.38, -0.5)),
    "mouth_out": _Place(0.2, 0.78, (0.42, 0.32), (0.35, 0.66)),
    "over_eyes": _Place(-0.5, 0.42, (0.4, -0.35), (0.42, 0.25)),
}
# Medical masks, BGR: light blue, white, green, pink, black, lilac, grey; the first are the most.
_MEDICAL = np.array([
    (222, 200, 158), (212, 186, 140), (244, 242, 240), (196, 214, 160), (206, 186, 236),
    (42, 40, 40), (220, 176, 186), (150, 148, 146),
])  # fmt: skip
_MEDICAL_RATIOS = np.array([6, 4, 4, 1, 1, 3, 1, 1]) / 21
# Of the mean difference between the strongest and the weakest channel, from which a photograph has
# the colours that masks have by themselves. Below a tenth of it, it is grey.
VIVID = 25.0
_RESPIRATORS = np.array([(242, 242, 240), (42, 40, 40), (196, 196, 196), (220, 205, 180)])


def wear_mask(
    image: np.ndarray, landmarks: np.ndarray, way: str, rng: np.random.Generator
) -> np.ndarray:
    """A copy of an image in which a face wears a mask of a random kind; safe on any thread.

    image: (H, W, 3) uint8, BGR. landmarks: (5, 2), x and y in pixels, in YuNet's order (see
    YuNetFaceDetector.detect_landmarks). way: one of WAYS. rng: the same state of it gives the same
    mask.
    """
    landmarks = np.asarray(landmarks, float)
    hangs = way == "dangling"
    points = dangling_points(landmarks, rng) if hangs else points_on_face(landmarks, way, rng)
    # Only the surroundings of the face are painted: an image may be large.
    extent = np.concatenate([np.reshape(each, (-1, 2)) for each in vars(points).values()])
    margin = 0.15 * np.ptp(extent, axis=0).max() + 2
    corner = np.clip(extent.min(axis=0) - margin, 0, None).astype(int)
    x, y = np.clip(extent.max(axis=0) + margin, 0, None).astype(int)
    result = image.copy()
    window = result[corner[1] : y, corner[0] : x]
    if not window.size:
        return result
    colour, pleats, pattern = _random_cloth(rng)
    straps = colour if colour.mean() < 80 and rng.random() < 0.7 else np.array(STRAPS)
    small = cv2.resize(window, (48, 48), interpolation=cv2.INTER_AREA).astype(np.float32)
    light = _light_on(small, (landmarks - corner) * 48 / window.shape[1::-1])
    vividness = min(1.0, float(np.ptp(small, axis=2).mean()) / VIVID)
    colour, straps = _in_light_of(small, np.array([colour, straps]), vividness)
    # Hair hides the straps now and then, and in a small face they are thinner than a pixel.
    visible = rng.uniform(0.3, 0.8) if hangs or rng.random() < 0.7 else 0.0
    masked = draw_mask(
        window,
        MaskPoints(*(np.asarray(each) - corner for each in vars(points).values())),
        colour,
        light=light,
        pleats=pleats,
        pattern=pattern,
        straps=straps,
        strap_opacity=visible,
        rng=rng,
    )
    if vividness < 0.1:  # shadows and prints have colours, too
        masked = cv2.cvtColor(cv2.cvtColor(masked, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    window[:] = masked
    return result


def _random_cloth(rng: np.random.Generator) -> tuple[np.ndarray, int, str]:
    """The colour, pleats and pattern of a medical mask, a respirator (FFP2) or a mask of cloth."""
    kind = rng.choice(["medical", "respirator", "cloth"], p=[0.55, 0.18, 0.27])
    pattern = "plain"
    if kind == "medical":
        colour = _MEDICAL[rng.choice(len(_MEDICAL), p=_MEDICAL_RATIOS)]
        pleats = rng.choice([2, 3, 3, 4])
    elif kind == "respirator":
        colour = _RESPIRATORS[rng.choice(4, p=[0.65, 0.2, 0.1, 0.05])]
        pleats = rng.choice([0, 0, 1, 2])
    else:
        black = rng.random() < 0.3  # or navy
        colour = rng.uniform(15, 60, 3) if black else rng.uniform(20, 250, 3)
        pattern = str(rng.choice(PATTERNS, p=[0.55, 0.15, 0.15, 0.15]))
        pleats = rng.choice([0, 0, 3])
    colour = colour * rng.uniform(0.85, 1.05) + rng.normal(0, 5, 3)
    return np.clip(colour, 0, 255), int(pleats), pattern


def points_on_face(
    landmarks: np.ndarray, way: str = "proper", rng: np.random.Generator | None = None
) -> MaskPoints:
    """Where a mask sits on a face with five known landmarks; the other points are estimated.

    landmarks: see wear_mask. way: one of WAYS but dangling. rng: varies the fit, which is the usual
    one without it. Of a face turned aside, the side that shows less is narrower.
    """
    eyes, tip, corners = np.split(np.asarray(landmarks, float), [2, 3])
    middle = eyes.mean(axis=0)
    across, down = eyes[1] - eyes[0], corners.mean(axis=0) - middle
    fit = rng.normal(0, 1, 6) if rng else np.zeros(6)
    place = _PLACES[way]
    # How far the nose is from the middle of the face, in distances between the eyes.
    turn = _sideways(tip[0] - middle, across, down)

    def centre(y: float) -> np.ndarray:
        bulge = np.interp(y, [0, 0.55, 1, 2], [0.2, 1, 0.5, 0.4])  # the nose stands out most
        return middle + y * down + turn * bulge * across

    def pair(outwards: float, y: float) -> np.ndarray:
        sides = outwards * np.clip([1 + 1.5 * turn, 1 - 1.5 * turn], 0.2, 1.7)
        return eyes + np.array([-across, across]) * sides[:, None] + y * down

    shift = 0.045 * fit[0]
    width = 1 + 0.06 * fit[1]
    return MaskPoints(
        nose=centre(place.nose + shift + 0.04 * fit[2]),
        chin=centre(place.chin + 0.07 * fit[3]),
        cheeks=pair(place.cheeks[0] * width, place.cheeks[1] + shift),
        jaws=pair(place.jaws[0] * width + 0.03 * fit[4], place.jaws[1] + 0.05 * fit[5]),
        ears=pair(0.7, 0.2),
        lobes=pair(0.66, place.lobes),
    )


def dangling_points(landmarks: np.ndarray, rng: np.random.Generator) -> MaskPoints:
    """Where a mask is that hangs from one ear: its side edge is up, and it is seen at an angle."""
    side = int(rng.integers(2))
    ear = np.asarray(points_on_face(landmarks).ears)[side]
    eyes, _, corners = np.split(np.asarray(landmarks, float), [2, 3])
    across, down = eyes[1] - eyes[0], corners.mean(axis=0) - eyes.mean(axis=0)
    outwards = (across if side else -across) * rng.uniform(0.3, 0.5)
    length, top = rng.uniform(1.2, 1.7), rng.uniform(0.3, 0.55)
    swing = rng.normal(0, 0.1) * across

    def at(x: float, y: float) -> np.ndarray:
        return ear + x * outwards + y * (down + swing)

    first, last = top, top + length
    loop = at(0.1, last + 0.3)
    return MaskPoints(
        nose=at(-1.1, (first + last) / 2),
        chin=at(1.1, (first + last) / 2),
        cheeks=(at(-0.8, first), at(-0.7, last)),
        jaws=(at(0.7, first), at(0.8, last)),
        ears=(ear, loop),
        lobes=(ear, loop),
    )


def _sideways(offset: np.ndarray, across: np.ndarray, down: np.ndarray) -> float:
    """The part of an offset along `across`, where the rest is along `down`."""
    axes = np.column_stack([across, down])
    if abs(np.linalg.det(axes)) < 1e-3:
        return 0.0
    return float(np.clip(np.linalg.solve(axes, offset)[0], -0.7, 0.7))


def _in_light_of(surroundings: np.ndarray, colours: np.ndarray, vividness: float) -> np.ndarray:
    """Colours of cloth, (N, 3), BGR, 0 to 255, as a photograph shows them.

    surroundings: (H, W, 3), of the face. Cloth is not much brighter than what is brightest there,
    nor darker than the darkest. vividness: 0 to 1; 0 in a photograph without colours.
    """
    low, high = np.percentile(surroundings, [3, 97], axis=(0, 1))
    low, high = (low + low.mean()) / 2, 0.3 * high + 0.7 * high.max()
    grey = colours.mean(axis=1, keepdims=True)
    colours = grey + (colours - grey) * vividness
    # A little brighter, since much of a mask is turned away from the light.
    return low + 1.08 * colours / 255 * np.maximum(high - low, 10)


def _light_on(image: np.ndarray, landmarks: np.ndarray) -> tuple[float, float]:
    """The direction of the light, as draw_mask takes it, from the halves of a face."""
    sides = np.array(image.shape[1::-1]) - 1
    x1, y1 = np.clip(landmarks.min(axis=0), 0, sides - 1).astype(int)
    x2, y2 = np.clip(landmarks.max(axis=0), (x1 + 1, y1 + 1), sides).astype(int) + 1
    skin = image[y1:y2, x1:x2].mean(axis=2)
    rows, columns = skin.shape[0] // 2, skin.shape[1] // 2

    def tilt(first: np.ndarray, second: np.ndarray) -> float:
        return float(np.clip(2.5 * (second.mean() - first.mean()) / (skin.mean() + 5), -0.8, 0.8))

    # Light comes from above more often than a face, which is round, shows.
    return tilt(skin[:, :columns], skin[:, -columns:]), tilt(skin[:rows], skin[-rows:]) - 0.25
