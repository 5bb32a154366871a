"""Draw a face mask onto a picture of a face; and the brushes that draw it.

A canvas is a float32 (H, W, 3) array, BGR, 0 to 255. A shape is an (N, 2) array of points, x to the
right and y down; to the brushes, in pixels of the canvas.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from facemask.sample_dataset.canvas import (
    Pair,
    Part,
    Point,
    blend,
    coverage,
    curve,
    floats,
    grid,
    mix,
    noise,
    paint,
    to_bytes,
)

SURGICAL_BLUE = (222, 200, 158)  # BGR

# Of each pattern: above 0 the second colour shows. u and v are as _Cut.uv makes them.
_WAVES = {
    "plain": lambda u, v: np.full_like(u, -1),
    "dots": lambda u, v: np.sin(u * 20) * np.sin(v * 19) - 0.45,
    "stripes": lambda u, v: np.sin(v * 40) - 0.2,
    "checks": lambda u, v: np.sin(u * 22) * np.sin(v * 20),
}
PATTERNS = tuple(_WAVES)


@dataclass(frozen=True)
class MaskPoints:
    """Where a mask sits: (x, y) in pixels; of each pair, first the one on the picture's left."""

    nose: Point  # the bridge, where the upper edge is highest
    chin: Point  # the lowest point of the lower edge
    cheeks: Pair  # the upper corners
    jaws: Pair  # the lower corners
    ears: Pair  # where the upper straps vanish behind the ears
    lobes: Pair  # where the lower straps do


def points_on_face(landmarks: np.ndarray) -> MaskPoints:
    """Where a mask sits on a face of which five landmarks are known.

    landmarks: (5, 2), x and y in pixels: the eyes, the tip of the nose, the corners of the mouth;
    of pairs first the one on the picture's left. The rest of the face is guessed from them.
    """
    left_eye, right_eye, nose, *_ = floats(landmarks)
    eyes, mouth = (left_eye + right_eye) / 2, floats(landmarks)[3:].mean(axis=0)
    across, down = right_eye - left_eye, mouth - eyes

    def pair(out: float, below: float) -> Pair:
        """Two points beside the eyes, by the eyes' distance, and below, by the mouth's."""
        return tuple(  # type: ignore[return-value]
            tuple((eye + side * out * across + below * down).tolist())
            for eye, side in ((left_eye, -1), (right_eye, 1))
        )

    bridge, chin = mix(eyes, nose, 0.5), mouth + 0.75 * down
    return MaskPoints(
        nose=(float(bridge[0]), float(bridge[1])), chin=(float(chin[0]), float(chin[1])),
        cheeks=pair(0.42, 0.4), jaws=pair(0.28, 1.25), ears=pair(0.6, 0.2), lobes=pair(0.58, 0.7),
    )  # fmt: skip


def draw_mask(
    image: np.ndarray,
    points: MaskPoints,
    colour: Sequence[float] | np.ndarray = SURGICAL_BLUE,
    *,
    light: tuple[float, float] = (-0.3, -0.5),
    pleats: int = 3,
    pattern: str = "plain",
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """A copy of the picture in which the face wears a mask.

    image: BGR uint8 (H, W, 3). colour: BGR, 0 to 255. light: where the light comes from, x to the
    right and y down, each -1 to 1; (0, 0) is from the front. pleats: folds across the mask, 0 for
    a sewn one with a seam down its middle. pattern: one of PATTERNS. rng: for folds and fabric.
    """
    rng = rng or np.random.default_rng(0)
    canvas = image.astype(np.float32)
    cut = _Cut(points)
    fall = -floats(light) * 0.02 * cut.width + (0, 0.02 * cut.width)  # of the shadows, in pixels
    paint(canvas, [cut.outline + fall], (20, 22, 40), 0.38, 0.025 * cut.width)
    _paint_straps(canvas, points, cut.width, fall)

    part, cover = coverage(canvas.shape, [cut.outline], max(0.7, 0.006 * cut.width))
    if not cover.size:
        return image.copy()
    u, v = cut.uv(part)
    brightness = _shade(u, v, light) * _folds(u, v, pleats, rng) * _rim(cover)
    cloth = _pattern(floats(colour), pattern, u, v) * brightness[..., None]
    blend(canvas, part, cover, cloth)
    return to_bytes(canvas)


# --- the mask's parts; u and v are (h, w) fields over it, as _Cut.uv makes them ---


class _Cut:
    """A mask's shape, in pixels and on its own axes.

    The axes run along the mask's width and down it; the unit is its width, and the upper corners
    are at (-0.5, 0) and (0.5, 0). outline, in pixels, and top and bottom, on the axes, are shapes.
    """

    def __init__(self, points: MaskPoints):
        cheeks = floats(points.cheeks)
        self._middle, across = cheeks.mean(axis=0), cheeks[1] - cheeks[0]
        self.width = float(np.hypot(*across))  # in pixels
        self._axes = floats([across, (-across[1], across[0])]) / self.width  # unit vectors, as rows
        self._nose, self._chin = self._local([points.nose, points.chin])
        left, right = self._local(points.jaws)
        self._top = _edge(floats((-0.5, 0)), self._nose, floats((0.5, 0)), 0.03)
        self._bottom = _edge(left, self._chin, right, 0.085)
        shape = np.concatenate([self._top, self._bottom[::-1]])
        self.outline = shape @ self._axes * self.width + self._middle

    def _local(self, pixels) -> np.ndarray:
        return (floats(pixels) - self._middle) @ self._axes.T / self.width

    def uv(self, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """How far across the mask the part's pixels lie: u and v, float (h, w) each.

        u: -1 to 1 from side to side, 0 below the nose. v: 0 on the upper edge, 1 on the lower.
        """
        x, y = np.moveaxis(self._local(grid(part)), -1, 0)
        above, below = (np.interp(x, e[:, 0], e[:, 1]) for e in (self._top, self._bottom))
        v = (y - above) / np.maximum(below - above, 0.05)
        nose, chin = self._nose[0], self._chin[0]
        x = x - nose - (chin - nose) * np.clip(v, 0, 1)
        return np.where(x < 0, x / (0.5 + nose), x / (0.5 - nose)), v


def _edge(left: np.ndarray, middle: np.ndarray, right: np.ndarray, sag: float) -> np.ndarray:
    """The upper or lower edge: a curve through three points, hanging a little between them."""
    between = [mix(middle, end, 0.5) + floats([0, sag]) for end in (left, right)]
    return curve([left, between[0], middle, between[1], right], closed=False)


def _paint_straps(canvas: np.ndarray, points: MaskPoints, width: float, fall: np.ndarray) -> None:
    """The four straps, and their shadows, which lie `fall` away; width: the mask's, in pixels."""
    starts, ends = points.cheeks + points.jaws, points.ears + points.lobes
    for start, end in zip(floats(starts), floats(ends), strict=True):
        sag = (start + end) / 2 + (0, 0.12 * abs(end[0] - start[0]))
        strap = curve([start, sag, end], closed=False)
        paint(canvas, [strap + fall], (20, 22, 40), 0.3, 0.01 * width, 0.014 * width)
        paint(canvas, [strap], (228, 230, 232), 0.95, 0, 0.013 * width)


def _pattern(colour: np.ndarray, pattern: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The cloth's colour in flat light, BGR float (h, w, 3), 0 to 255."""
    other = mix(colour, (250, 250, 250) if colour.mean() < 128 else (120, 70, 60), 0.6)
    share = np.clip(_WAVES[pattern](u, v) * 4, 0, 1)[..., None]
    return colour * (1 - share) + other * share


def _shade(u: np.ndarray, v: np.ndarray, light: tuple[float, float]) -> np.ndarray:
    """Brightness of a mask rounded over nose and chin, about 1 where it faces the light; (h, w)."""
    sideways = np.sin(np.clip(u, -1, 1) * 1.1)
    downwards = np.interp(v, [0, 0.35, 0.75, 1], [-0.55, -0.15, 0.3, 0.85])
    towards = np.sqrt(np.clip(1 - sideways**2 - downwards**2, 0.03, 1))
    level = sideways * light[0] + downwards * light[1] + towards
    return 0.5 + 0.56 * np.clip(level / math.hypot(1, *light), 0, 1)


def _folds(u: np.ndarray, v: np.ndarray, pleats: int, rng: np.random.Generator) -> np.ndarray:
    """Pleats or seam, hems, creases and the weave, as brightness around 1; (h, w)."""
    wavy = v + 0.012 * noise(rng, u.shape, 5)
    level = 1 + 0.03 * noise(rng, u.shape, 8) + 0.012 * rng.standard_normal(u.shape)
    for k in range(pleats):
        away = wavy - (0.3 + 0.42 * k / max(1, pleats - 1) if pleats > 1 else 0.5)
        # Each pleat is a lip that catches light from above and throws a thin shadow below.
        level += 0.06 * np.exp(-(((away + 0.03) / 0.025) ** 2))
        level -= 0.2 * np.exp(-np.where(away > 0, away / 0.05, -away / 0.008))
    if not pleats:
        level -= 0.2 * np.exp(-((u / 0.025) ** 2))
    for hem in (0.075, 0.94):
        level -= 0.09 * np.exp(-(((wavy - hem) / 0.012) ** 2))
    # Over the nose the mask is pinched, which leaves a lit ridge between two hollows.
    ridge = np.exp(-((u / 0.13) ** 2)) - 0.8 * np.exp(-(((np.abs(u) - 0.27) / 0.12) ** 2))
    level += 0.07 * ridge * np.clip(1 - v / 0.45, 0, 1)
    # Where the straps gather the cloth, small creases run inwards from the sides.
    return level - 0.05 * np.clip(np.abs(u) - 0.6, 0, 1) * (1 + np.sin(v * 34))


def _rim(cover: np.ndarray) -> np.ndarray:
    """Darkening towards the edges, where the cloth turns away and meets the skin; (h, w)."""
    soft = cv2.GaussianBlur(cover, (0, 0), max(0.5, 0.03 * cover.shape[1]))
    return 0.72 + 0.28 * np.clip(2 * soft - 0.85, 0, 1)
