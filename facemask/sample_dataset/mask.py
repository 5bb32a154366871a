"""Draws a face mask onto a picture of a face."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from facemask.sample_dataset.painter import Painter, curve, to_bytes

Point = tuple[float, float] | np.ndarray
Pair = tuple[Point, Point] | np.ndarray

SURGICAL_BLUE = (222, 200, 158)  # BGR
# The mask has coordinates of its own: where its upper corners and its lowest point are in them.
AXES = np.array([(-1, 0), (1, 0), (0, 1)], np.float32)
STRAPS = (228, 230, 232)  # BGR
SHADOW = (20, 22, 40)  # BGR; the skin shines through

# Where a pattern is above 0, its second colour shows; u and v are explained below.
_WAVES = {
    "dots": lambda u, v: np.sin(u * 20) * np.sin(v * 19) - 0.45,
    "stripes": lambda u, v: np.sin(v * 40) - 0.2,
    "checks": lambda u, v: np.sin(u * 22) * np.sin(v * 20),
}
PATTERNS = ("plain", *_WAVES)


@dataclass(frozen=True)
class MaskPoints:
    """Where a mask sits: (x, y) in pixels; of each pair, first the one on the picture's left."""

    nose: Point  # the bridge, where the upper edge is highest
    chin: Point  # the lowest point of the lower edge
    cheeks: Pair  # the upper corners
    jaws: Pair  # the lower corners
    ears: Pair  # where the upper straps vanish behind the ears
    lobes: Pair  # where the lower straps do


def draw_mask(
    image: np.ndarray,
    points: MaskPoints,
    colour: Sequence[float] | np.ndarray = SURGICAL_BLUE,
    *,
    light: tuple[float, float] = (-0.3, -0.5),
    pleats: int = 3,
    pattern: str = "plain",
    straps: Sequence[float] | np.ndarray = STRAPS,
    strap_opacity: float = 0.95,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """A copy of the picture in which the face wears a mask.

    image: BGR uint8 (H, W, 3). colour: BGR, 0 to 255. light: the direction that light comes from, x
    to the right and y down, each -1 to 1; (0, 0) is from the front. pleats: folds across the mask,
    0 for a sewn mask with a seam down its middle. pattern: one of PATTERNS. straps: their colour,
    BGR. strap_opacity: 0 to 1; 0 where hair hides them. rng: chooses how folds and fabric vary; a
    fixed one by default.
    """
    rng = rng or np.random.default_rng(0)
    corners = np.array([*points.cheeks, points.chin], np.float32)
    matrix = cv2.getAffineTransform(AXES, corners)
    to_axes = cv2.invertAffineTransform(matrix)
    others = np.array([points.nose, *points.jaws, *points.ears, *points.lobes])
    nose, left_jaw, right_jaw, *ends = others @ to_axes[:, :2].T + to_axes[:, 2]
    left_cheek, right_cheek, chin = AXES
    top = _edge(left_cheek, nose, right_cheek, sag=0.035)
    bottom = _edge(left_jaw, chin, right_jaw, sag=0.1)
    outline = np.concatenate([top, bottom[::-1]])

    def cloth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        above, below = (np.interp(x, *edge.T).astype(np.float32) for edge in (top, bottom))
        v = (y - above) / np.maximum(below - above, 0.05)
        u = x - float(nose[0]) * (1 - v)
        brightness = _shading(u, v, light) * _relief(u, v, pleats, rng)
        return _pattern(np.asarray(colour), pattern, u, v) * brightness[..., None]

    painter = Painter(image.astype(np.float32), matrix)
    fall = -0.04 * np.array(light) + (0, 0.04)  # from the mask to its shadow
    painter.paint(outline + fall, colour=SHADOW, opacity=0.38, blur=0.05)
    lines = np.stack([[left_cheek, right_cheek, left_jaw, right_jaw], ends], axis=1)
    if strap_opacity:
        shadow = 0.3 * strap_opacity
        painter.paint(*lines + fall, colour=SHADOW, width=0.028, opacity=shadow, blur=0.02)
        painter.paint(*lines, colour=straps, width=0.026, opacity=strap_opacity)
    painter.paint(outline, colour=cloth, blur=0.012)
    return to_bytes(painter.canvas)


# In the functions below, u and v are (h, w): u runs across the mask, from -1 to 1 and 0 below the
# nose; v runs down it, from 0 at the upper edge to 1 at the lower.


def _edge(left: np.ndarray, middle: np.ndarray, right: np.ndarray, sag: float) -> np.ndarray:
    """The upper or lower edge: a curve through three points that sags between them."""
    path = np.array([left, (left + middle) / 2, middle, (middle + right) / 2, right])
    path[[1, 3], 1] += sag
    return curve(path, closed=False)


def _pattern(colour: np.ndarray, pattern: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The colour of the cloth in flat light, BGR, 0 to 255: (h, w, 3), or (3,) if it is plain."""
    if pattern == "plain":
        return colour
    other = 0.4 * colour + 0.6 * np.array((250, 250, 250) if colour.mean() < 128 else (120, 70, 60))
    share = np.clip(_WAVES[pattern](u, v) * 4, 0, 1)[..., None]
    return colour * (1 - share) + other * share


def _shading(u: np.ndarray, v: np.ndarray, light: tuple[float, float]) -> np.ndarray:
    """Brightness of a mask rounded over nose and chin: about 1 where it faces the light; (h, w)."""
    sideways = np.sin(np.clip(u, -1, 1) * 1.1)
    downwards = np.interp(v, [0, 0.35, 0.75, 1], [-0.55, -0.15, 0.3, 0.85]).astype(np.float32)
    towards = np.sqrt(np.clip(1 - sideways**2 - downwards**2, 0.03, 1))
    level = (sideways * light[0] + downwards * light[1] + towards) / math.hypot(1, *light)
    to_edge = np.minimum(1 - np.abs(u), np.minimum(v, 1 - v))  # where the cloth turns away
    return (0.5 + 0.56 * np.clip(level, 0, 1)) * (0.8 + 0.2 * np.clip(to_edge / 0.1, 0, 1))


def _relief(u: np.ndarray, v: np.ndarray, pleats: int, rng: np.random.Generator) -> np.ndarray:
    """Pleats or a seam, hems and the weave, as brightness around 1; (h, w)."""
    uneven = rng.standard_normal((5, 5)).astype(np.float32)
    uneven = cv2.resize(uneven, u.shape[::-1], interpolation=cv2.INTER_CUBIC)
    level = 1 + 0.03 * uneven + 0.012 * rng.standard_normal(u.shape).astype(np.float32)
    v = v + 0.012 * uneven

    def ridge(distance: np.ndarray, width: float) -> np.ndarray:
        return np.exp(-((distance / width) ** 2))

    for place in np.linspace(0.3, 0.72, pleats) if pleats > 1 else [0.5] * pleats:
        # Each pleat is a lip that catches light from above and throws a thin shadow below.
        below = v - place
        level += 0.06 * ridge(below + 0.03, 0.025)
        level -= 0.2 * np.exp(-np.where(below > 0, below / 0.05, -below / 0.008))
    if not pleats:
        level -= 0.2 * ridge(u, 0.025)
    level -= 0.09 * (ridge(v - 0.075, 0.012) + ridge(v - 0.94, 0.012))
    return level
