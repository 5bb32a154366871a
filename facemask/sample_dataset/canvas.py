"""Brushes: shapes, curves and noise on a float32 canvas."""

from collections.abc import Sequence

import cv2
import numpy as np

Point = tuple[float, float]
Pair = tuple[Point, Point]
Part = tuple[slice, slice]  # rows and columns of a canvas


# --- brushes ---


def floats(values) -> np.ndarray:
    return np.asarray(values, np.float32)


def mix(a, b, share: float) -> np.ndarray:
    """Colours or points between a, at share 0, and b, at 1; float32."""
    return floats(a) * (1 - share) + floats(b) * share


def to_bytes(canvas: np.ndarray) -> np.ndarray:
    """The canvas as a picture: rounded, BGR uint8 (H, W, 3)."""
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8)


def grid(part: Part) -> np.ndarray:
    """The pixel positions of a part of the canvas, float32 (h, w, 2), x and y."""
    rows, columns = (np.arange(s.start, s.stop, dtype=np.float32) for s in part)
    return np.stack(np.meshgrid(columns, rows), axis=-1)


def noise(rng: np.random.Generator, shape: tuple[int, ...], cells: int) -> np.ndarray:
    """Smooth noise of standard deviation near 1, in patches of 1/cells of the picture.

    shape: begins with height and width. Float32 (height, width).
    """
    small = rng.standard_normal((cells, cells), np.float32)
    return cv2.resize(small, shape[1::-1], interpolation=cv2.INTER_CUBIC)


def curve(points, closed: bool = True, steps: int = 8) -> np.ndarray:
    """A smooth curve (Catmull-Rom) through the points, a shape of `steps` points for each."""
    p = floats(points)
    ends = (p[-1:], p[:2]) if closed else (2 * p[:1] - p[1:2], 2 * p[-1:] - p[-2:-1])
    q = np.concatenate([ends[0], p, ends[1]])
    a, b, c, d = q[:-3], q[1:-2], q[2:-1], q[3:]
    t = np.linspace(0, 1, steps, endpoint=False, dtype=np.float32)[:, None, None]
    path = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * b - a - 3 * c + d)))
    path = path.transpose(1, 0, 2).reshape(-1, 2)
    return path if closed else np.concatenate([path, p[-1:]])


def coverage(
    shape: tuple[int, ...], outlines: Sequence[np.ndarray], blur: float = 0, width: float = 0
) -> tuple[Part, np.ndarray]:
    """What shapes cover: the part of the canvas touched, and its cover, float32 (h, w), 0 to 1.

    shape: the canvas's. The outlines are closed and filled (where two overlap, a hole); or, with a
    width, drawn as open lines. blur and width: in pixels.
    """
    pad = 3 * blur + width + 2
    every = np.concatenate(outlines)
    low = np.clip(np.floor(every.min(axis=0) - pad), 0, shape[1::-1]).astype(int)
    high = np.clip(np.ceil(every.max(axis=0) + pad), low, shape[1::-1]).astype(int)
    cover = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
    if cover.size:
        fixed = [np.round((o - low) * 16).astype(np.int32) for o in outlines]  # 4 binary places
        if width:
            cv2.polylines(cover, fixed, False, 255, max(1, round(width)), cv2.LINE_AA, 4)
        else:
            cv2.fillPoly(cover, fixed, 255, cv2.LINE_AA, 4)
        if blur > 0.6:  # less than that the antialiasing does
            cv2.GaussianBlur(cover, (0, 0), blur, dst=cover)
    return (slice(low[1], high[1]), slice(low[0], high[0])), cover * np.float32(1 / 255)


def blend(canvas: np.ndarray, part: Part, cover: np.ndarray, colour) -> None:
    """Lay a colour, BGR or (h, w, 3), over a part of the canvas as far as cover, (h, w), says."""
    canvas[part] += cover[..., None] * (colour - canvas[part])


def paint(
    canvas: np.ndarray,
    outlines: Sequence[np.ndarray],
    colour: Sequence[float] | np.ndarray,
    opacity: float,
    blur: float,
    width: float = 0,
) -> None:
    """Fill shapes or, with a width, draw them as lines; blur and width are in pixels."""
    part, cover = coverage(canvas.shape, outlines, blur, width)
    thin = min(1.0, width) if width else 1.0  # lines under one pixel are drawn paler instead
    blend(canvas, part, cover * np.float32(opacity * thin), colour)
