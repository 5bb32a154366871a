"""Paints antialiased shapes and lines on a picture, in a coordinate system of choice."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

# BGR, 0 to 255: one for the shape, or a function of x and y, each (h, w), that gives (h, w, 3).
Colour = Sequence[float] | np.ndarray | Callable[[np.ndarray, np.ndarray], np.ndarray]


def curve(points, closed: bool = True) -> np.ndarray:
    """A smooth path, float32 (M, 2), through the points (N, 2)."""
    path = np.array(points, np.float32)[:, None]
    if closed:
        path = np.concatenate([path[-2:], path, path[:2]])
    path = cv2.resize(path, (1, 8 * len(path)), interpolation=cv2.INTER_CUBIC)[:, 0]
    return path[16:-16] if closed else path


def mirrored(right_half) -> np.ndarray:
    """A smooth symmetric outline from the points of its right half, (N, 2), from top to bottom."""
    half = np.array(right_half, np.float32)
    return curve(np.concatenate([half, half[-2:0:-1] * (-1, 1)]))


def ellipse(x: float, y: float, a: float, b: float) -> np.ndarray:
    """The outline, (33, 2), of an ellipse about (x, y) with the semi-axes a and b."""
    t = np.linspace(0, 2 * np.pi, 33)
    return np.stack([x + a * np.cos(t), y + b * np.sin(t)], axis=1)


def to_bytes(canvas: np.ndarray) -> np.ndarray:
    """The canvas as a picture, BGR uint8 (H, W, 3)."""
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8)


class Painter:
    """Paints on `canvas`, BGR float32 (H, W, 3), 0 to 255, x to the right and y down.

    matrix: (2, 3), the affine map from the painter's coordinates to pixels.
    """

    def __init__(self, canvas: np.ndarray, matrix: np.ndarray):
        self.canvas, self.matrix = canvas, matrix
        self.unit = float(np.hypot(*matrix[:, 0]))  # pixels

    def pixels(self, points) -> np.ndarray:
        """Points (N, 2) of the painter's coordinates as pixels."""
        return np.asarray(points) @ self.matrix[:, :2].T + self.matrix[:, 2]

    def paint(
        self,
        *shapes: np.ndarray,
        colour: Colour,
        opacity: float = 1.0,
        blur: float = 0.0,
        width: float = 0.0,
    ) -> None:
        """Fill shapes, each (N, 2); where two overlap is a hole. With a width, draw open lines.

        blur and width: in units of the x axis; lines have at least one pixel. opacity: 0 to 1.
        """
        blur, width = blur * self.unit, width * self.unit
        margin, limit = 3 * blur + width + 2, self.canvas.shape[1::-1]
        paths = [self.pixels(shape) for shape in shapes]
        points = np.concatenate(paths)
        x1, y1 = np.clip(points.min(axis=0) - margin, 0, limit).astype(int)
        x2, y2 = np.clip(points.max(axis=0) + margin, 0, limit).astype(int)
        if x1 >= x2 or y1 >= y2:  # outside of the picture
            return
        cover = np.zeros((y2 - y1, x2 - x1), np.uint8)
        # OpenCV takes fractions of a pixel as integers, here with 4 binary places.
        paths = [np.round((path - (x1, y1)) * 16).astype(np.int32) for path in paths]
        if width:
            cv2.polylines(cover, paths, False, 255, max(1, round(width)), cv2.LINE_AA, 4)
        else:
            cv2.fillPoly(cover, paths, 255, cv2.LINE_AA, 4)
        if blur > 0.6:  # less than that is done by the antialiasing
            cv2.GaussianBlur(cover, (0, 0), blur, dst=cover)
        if callable(colour):
            a, b, c = cv2.invertAffineTransform(self.matrix).astype(np.float32).T
            y, x = np.mgrid[y1:y2, x1:x2].astype(np.float32)
            colour = colour(x * a[0] + y * b[0] + c[0], x * a[1] + y * b[1] + c[1])
        window = self.canvas[y1:y2, x1:x2]
        alpha = cover[..., None] * np.float32(opacity / 255)
        window += alpha * (np.asarray(colour, np.float32) - window)
