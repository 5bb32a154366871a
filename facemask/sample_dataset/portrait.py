"""Draw an illustrated portrait: a face of any skin and pose, with or without a mask.

Faces are drawn in face units: the origin is between the cheekbones, 1 is half the face's width, x
runs to the right and y down. Canvases and shapes are those of drawn_mask.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from facemask.sample_dataset.canvas import (
    Pair,
    Part,
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
from facemask.sample_dataset.mask import PATTERNS, SURGICAL_BLUE, MaskPoints, draw_mask

# All colours are BGR, 0 to 255. Skin runs from light to very dark; tones between are mixed.
SKINS = np.array([
    (208, 224, 250), (176, 204, 240), (142, 178, 225), (108, 146, 200),
    (78, 112, 164), (56, 82, 126), (42, 60, 92), (32, 44, 66),
], np.float32)  # fmt: skip
HAIRS = np.array([
    (22, 20, 22), (30, 34, 44), (38, 52, 78), (48, 80, 124), (60, 78, 150), (110, 168, 208),
    (150, 150, 152), (214, 216, 218), (140, 60, 90),
], np.float32)  # fmt: skip
CLOTHS = np.array([
    (70, 60, 50), (150, 90, 50), (60, 60, 170), (90, 130, 80), (225, 225, 225), (40, 40, 42),
    (60, 160, 215), (150, 110, 160), (180, 170, 120), (90, 110, 150),
], np.float32)  # fmt: skip
MASKS = np.array([
    SURGICAL_BLUE, (240, 240, 238), (48, 46, 46), (52, 48, 176), (104, 140, 74), (150, 92, 48),
    (186, 160, 226), (90, 190, 226), (130, 128, 128), (150, 196, 176),
], np.float32)  # fmt: skip
HAIR_STYLES = (
    "bald", "crop", "short", "fringe", "bob", "long", "bun", "afro", "headscarf", "beanie",
)  # fmt: skip
BEARDLESS_STYLES = ("bob", "long", "bun", "headscarf")


def draw_portrait(rng: np.random.Generator, with_mask: bool, size: int) -> np.ndarray:
    """An illustrated portrait, BGR uint8 (size, size, 3), of a face that wears a mask or doesn't.

    Skin, pose, hair, clothes and light come from rng, alike for both kinds.
    """
    canvas = _background(rng, max(size, 160))  # below that, thin lines would swallow the face
    look = _Look.draw(rng)
    unit = canvas.shape[0] * rng.uniform(0.165, 0.225)
    centre = canvas.shape[0] * np.array([0.5, 0.47]) + unit * rng.uniform(-0.3, 0.3, 2)
    body = _Pen(canvas, centre, unit)
    head = _Pen(canvas, centre, unit, tilt=rng.normal(0, 0.09), yaw=look.yaw)
    _draw_back_hair(head, look)
    _draw_body(body, look, rng)
    _draw_ears(head, look)
    _draw_face(head, look)
    _draw_shading(head, look)
    _draw_eyes(head, look, rng)
    _draw_nose(head, look, rng)
    _draw_mouth(head, look, rng)
    if rng.random() < 0.4 and look.style not in BEARDLESS_STYLES:
        _draw_beard(head, look, rng)
    if with_mask:
        _put_on_mask(head, look, rng)
    if rng.random() < 0.2:
        _draw_neckscarf(body, look, rng)
    if look.style == "headscarf":
        _draw_headscarf(head, look)
    elif look.style != "bald":
        _draw_front_hair(head, look, rng)
    if rng.random() < 0.3:
        _draw_glasses(head, rng)
    image = _photograph(canvas, look, rng)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


def _mirrored(right_half) -> np.ndarray:
    """A closed curve, (N, 2), from the points of its right half, from the top to the bottom."""
    half = floats(right_half)
    return curve(np.concatenate([half, half[-2:0:-1] * (-1, 1)]))


def _oval(x: float, y: float, a: float, b: float) -> np.ndarray:
    """The ellipse about (x, y) that reaches a to each side, b up and down; (28, 2)."""
    t = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    return np.stack([x + a * np.cos(t), y + b * np.sin(t)], axis=1)


class _Pen:
    """Paints on a canvas in face units; colours are BGR, 0 to 255.

    centre: the origin, in pixels. unit: pixels. tilt and yaw: of the head, radians.
    """

    def __init__(self, canvas, centre, unit: float, tilt: float = 0.0, yaw: float = 0.0):
        self.canvas, self.centre, self.unit, self.yaw = canvas, centre, unit, yaw
        self.axes = np.array([
            (math.cos(tilt), math.sin(tilt)), (-math.sin(tilt), math.cos(tilt)),
        ])  # fmt: skip

    def turned(self, points) -> np.ndarray:
        """Points on the front of the face, moved along its roundness by the head's turn."""
        p = np.array(points, float)
        angle = np.arcsin(np.clip(p[..., 0] * 0.8, -1, 1)) + self.yaw
        p[..., 0] = np.sin(angle) / 0.8
        return p

    def pixels(self, points) -> np.ndarray:
        """Points in face units, (N, 2), as pixels of the canvas."""
        return np.asarray(points) @ self.axes * self.unit + self.centre

    def units(self, part: Part) -> np.ndarray:
        """The positions of a part's pixels in face units, float32 (h, w, 2), x and y."""
        return (grid(part) - floats(self.centre)) @ floats(self.axes.T / self.unit)

    def fill(self, *shapes, colour, opacity=1.0, blur=0.0) -> None:
        outlines = [self.pixels(shape) for shape in shapes]
        paint(self.canvas, outlines, colour, opacity, blur * self.unit)

    def line(self, *lines, colour, width, opacity=1.0, blur=0.0) -> None:
        paths = [self.pixels(line) for line in lines]
        paint(self.canvas, paths, colour, opacity, blur * self.unit, width * self.unit)


# --- the portrait's parts, in the order they are painted ---


@dataclass(frozen=True)
class _Look:
    """What the parts of one portrait share; colours are BGR, float (3,)."""

    skin: np.ndarray
    hair: np.ndarray
    cloth: np.ndarray
    extra: np.ndarray  # of scarf, headscarf or beanie
    style: str
    yaw: float  # of the head, radians; positive towards the picture's right
    jaw: float  # width, 1 for as wide as usual
    light: tuple[float, float]  # as draw_mask takes it

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "_Look":
        tone = rng.uniform(0, len(SKINS) - 1.001)
        return cls(
            skin=mix(SKINS[int(tone)], SKINS[int(tone) + 1], tone % 1) + rng.normal(0, 3, 3),
            hair=HAIRS[rng.choice(len(HAIRS) if tone < 4 else 3)] * rng.uniform(0.85, 1.15),
            cloth=rng.choice(CLOTHS) * rng.uniform(0.7, 1.1),
            extra=rng.choice(CLOTHS) * rng.uniform(0.7, 1.1),
            style=str(rng.choice(HAIR_STYLES)),
            yaw=rng.uniform(-0.34, 0.34),
            jaw=rng.uniform(0.9, 1.06),
            light=(rng.uniform(-0.8, 0.8), rng.uniform(-0.7, 0.05)),
        )

    def lean(self, points) -> np.ndarray:
        """Points on the head's outline; towards the chin they follow the turn."""
        p = np.array(points, np.float32)
        p[..., 0] += 0.35 * self.yaw * np.clip(p[..., 1], 0, 2)
        return p


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A blurred wall as a canvas, float32 (size, size, 3)."""
    shades = rng.uniform(60, 235) + rng.normal(0, 16, (2, 3)) + rng.normal(0, 18, (2, 1))
    blobs, angle = int(rng.integers(3)), rng.uniform(0, 2 * np.pi)
    across = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    share = 0.5 + across * math.cos(angle) + across[:, None] * math.sin(angle)
    if blobs:
        share += 0.2 * noise(rng, (size, size), 3 * blobs)
    share = np.clip(share, 0, 1)[..., None]
    return floats(shades[0]) + share * floats(shades[1] - shades[0])


def _draw_back_hair(head: _Pen, look: _Look) -> None:
    shapes = {
        "afro": _oval(0, -0.75, 1.62, 1.4),
        "bun": _oval(0, -1.85, 0.5, 0.42),
        "bob": _mirrored([(0, -1.72), (0.95, -1.3), (1.28, -0.3), (1.25, 1.1), (0, 1.2)]),
        "long": _mirrored([(0, -1.7), (0.95, -1.3), (1.25, 0), (1.4, 2.6), (0, 2.8)]),
    }
    if look.style in shapes:
        shade = 1.0 if look.style == "afro" else 0.72
        head.fill(shapes[look.style], colour=look.hair * shade, blur=0.03)


def _draw_body(body: _Pen, look: _Look, rng: np.random.Generator) -> None:
    neck = _mirrored([(0, 0.9), (0.6, 0.9), (0.6, 1.7), (0.75, 2.1), (0, 2.6)])
    body.fill(neck, colour=look.skin * 0.86)
    below_chin = _oval(0.2 * look.yaw, 1.4, 0.7, 0.45)
    body.fill(below_chin, colour=look.skin * 0.5, opacity=0.75, blur=0.12)
    wide, deep = rng.uniform(1.9, 2.5), rng.choice([1.95, 2.25, 2.6])
    edge = [(0, deep), (0.4, deep - 0.2), (0.68, 1.85)]
    sides = [(1.2, 2.1), (wide, 2.5), (wide + 0.35, 3.4), (wide + 0.4, 6), (0, 6.2)]
    body.fill(_mirrored(edge + sides), colour=look.cloth)
    collar = [floats(edge) * (s, 1) for s in (-1, 1)]
    body.line(*collar, colour=look.cloth * 0.6, width=0.09, blur=0.02)
    if rng.random() < 0.4:
        lapel = floats([(0.66, 1.7), (1, 2.2), (0.5, 2.8), (0.02, 2.35)])
        for shape in (lapel, lapel * (-1, 1)):
            body.fill(shape, colour=mix(look.cloth, (245, 245, 245), 0.35))


def _draw_ears(head: _Pen, look: _Look) -> None:
    for side in (-1, 1):
        x = side - 0.2 * look.yaw
        head.fill(_oval(x, 0.1, 0.16, 0.32), colour=look.skin * 0.9)
        head.fill(_oval(x, 0.1, 0.08, 0.2), colour=look.skin * 0.6, opacity=0.6, blur=0.04)


def _draw_face(head: _Pen, look: _Look) -> None:
    """The bare face, with the light on it."""
    j = look.jaw
    outline = look.lean(_mirrored([
        (0, -1.42), (0.62, -1.26), (0.95, -0.72), (1, -0.15), (0.96 * j, 0.4),
        (0.82 * j, 0.88), (0.5 * j, 1.26), (0.2, 1.43), (0, 1.45),
    ]))  # fmt: skip
    part, cover = coverage(head.canvas.shape, [head.pixels(outline)])
    x, y = np.moveaxis(head.units(part), -1, 0)
    edge = np.clip(x**2 + (y / 1.45) ** 2, 0, 1.2) ** 2
    level = 1.05 + 0.2 * (look.light[0] * x + look.light[1] * (y - 0.2)) - 0.24 * edge
    # Skin in shadow is redder, not only darker: blue falls off most.
    lit = floats(look.skin) * np.stack([level**1.25, level, level**0.9], axis=-1)
    blend(head.canvas, part, cover, lit)


def _draw_shading(head: _Pen, look: _Look) -> None:
    """Pink cheeks, shadows about the eyes, and the shine of brow and chin."""
    for side in (-1, 1):
        (x, y), socket = head.turned([(side * 0.58, 0.45), (side * 0.42, -0.12)])
        pink = mix(look.skin, (90, 80, 200), 0.35)
        head.fill(_oval(x, y, 0.26, 0.2), colour=pink, opacity=0.45, blur=0.14)
        shadow = _oval(socket[0], socket[1], 0.27, 0.16)
        head.fill(shadow, colour=look.skin * 0.55, opacity=0.4, blur=0.08)
    shine = np.clip(look.skin * 1.25 + 14, 0, 255)
    for x, y, a, b in ((0.35, -0.75, 0.4, 0.2), (0.08, 1.22, 0.16, 0.09)):  # brow and chin
        head.fill(_oval(x * look.light[0], y, a, b), colour=shine, opacity=0.35, blur=b * 0.9)


def _draw_eyes(head: _Pen, look: _Look, rng: np.random.Generator) -> None:
    """Eyes and brows, alike on both sides."""
    height, gaze = rng.uniform(0.065, 0.1), rng.normal(0, 0.03)
    irises = floats([(24, 30, 42), (30, 44, 70), (120, 96, 60), (70, 100, 80)])
    iris = rng.choice(irises[: 4 if look.skin[1] > 140 else 2])  # light ones with light skin
    lift, thick = rng.normal(0.45, 0.03), rng.uniform(0.05, 0.085)
    dark = mix(look.skin * 0.3, (16, 14, 18), 0.5)
    brow = floats([(0.17, -0.36), (0.4, -lift), (0.66, -0.36), (0.4, thick - lift), (0.18, -0.3)])
    brow_colour = mix(look.hair * 0.7, dark, 0.4)
    t = np.linspace(0, np.pi, 13)
    for side in (-1, 1):
        x = side * 0.42
        upper = np.stack([x - 0.2 * np.cos(t), -0.1 - 1.25 * height * np.sin(t) ** 0.8], axis=1)
        lower = np.stack([x - 0.2 * np.cos(t), -0.1 + 0.75 * height * np.sin(t)], axis=1)
        _draw_eyeball(head, upper, lower, x + gaze, iris)
        head.line(head.turned(upper), colour=dark, width=0.045, opacity=0.9)
        soft = [head.turned(lower), head.turned(upper - (0, 0.06))]  # lower lid, and crease above
        head.line(*soft, colour=look.skin * 0.5, width=0.025, opacity=0.7)
        hairs = head.turned(curve(brow * (side, 1)))
        head.fill(hairs, colour=brow_colour, opacity=0.85, blur=0.02)


def _draw_eyeball(
    head: _Pen, upper: np.ndarray, lower: np.ndarray, x: float, iris: np.ndarray
) -> None:
    """What shows between the lids' edges, (N, 2) each, of an eye that looks towards x."""
    head.fill(head.turned(np.concatenate([upper, lower[::-1]])), colour=(205, 208, 212))
    for radius, colour in ((0.098, iris), (0.045, (10, 10, 12))):
        ball = _oval(x, -0.12, radius, radius)
        # The lids hide what reaches past them.
        lids = (np.interp(ball[:, 0], lid[:, 0], lid[:, 1]) for lid in (upper, lower))
        ball[:, 1] = np.clip(ball[:, 1], *lids)
        head.fill(head.turned(ball), colour=colour)
    head.fill(head.turned(_oval(x - 0.03, -0.15, 0.02, 0.02)), colour=(250, 250, 250))


def _draw_nose(head: _Pen, look: _Look, rng: np.random.Generator) -> None:
    wide, tip = rng.uniform(0.16, 0.25), rng.uniform(0.42, 0.52)
    shade, side = look.skin * 0.6, -np.sign(look.light[0])
    flank = floats([(0.06, -0.15), (0.1, 0.1), (wide, tip - 0.08), (wide, tip), (0.05, tip)])
    head.fill(head.turned(flank * (side, 1)), colour=shade, opacity=0.5, blur=0.05)
    base = head.turned(_oval(0, tip + 0.02, wide, 0.06))
    head.fill(base, colour=shade, opacity=0.75, blur=0.035)
    wing = floats([(wide * 0.8, tip - 0.13), (wide * 1.1, tip - 0.03), (wide * 0.85, tip)])
    fold = floats([(wide + 0.06, tip + 0.03), (0.4, 0.68), (0.44, 0.8)])  # from nose to mouth
    for s in (-1, 1):
        nostril = head.turned(_oval(s * wide * 0.5, tip + 0.02, 0.05, 0.028))
        head.fill(nostril, colour=look.skin * 0.25, opacity=0.85)
        curves = [head.turned(curve(line * (s, 1), closed=False)) for line in (wing, fold)]
        head.line(*curves, colour=shade * 0.8, width=0.03, opacity=0.5, blur=0.018)
    ridge = head.turned([(-side * 0.03, -0.05), (-side * 0.03, tip - 0.1)])
    shine = np.clip(look.skin * 1.25 + 16, 0, 255)
    head.line(ridge, colour=shine, width=0.07, opacity=0.5, blur=0.03)


def _draw_mouth(head: _Pen, look: _Look, rng: np.random.Generator) -> None:
    half, smile, y = rng.uniform(0.28, 0.38), rng.uniform(-0.02, 0.1), 0.86
    gap = max(0.0, rng.normal(0, 0.07))  # between the lips
    lips = mix(look.skin * 0.8, (80, 66, 176), rng.uniform(0.25, 0.6))
    left, right = (-half, y - smile), (half, y - smile)
    upper = [left, (-0.1, y - 0.075), (0, y - 0.055), (0.1, y - 0.075), right, (0, y + 0.01)]
    lower = [left, (0, y), right, (0.17, y + 0.09 + gap), (-0.17, y + 0.09 + gap)]
    inner = floats([left, (0, y), right, (0, y + 0.02 + gap)]) * (0.85, 1)
    head.fill(head.turned(curve(lower)), colour=np.clip(lips * 1.12, 0, 255))
    head.fill(head.turned(curve(upper)), colour=lips * 0.84)
    teeth = (224, 230, 234) if gap > 0.05 else lips * 0.35
    head.fill(head.turned(curve(inner)), colour=teeth)
    seam = head.turned(curve([left, (0, y), right], closed=False))
    head.line(seam, colour=lips * 0.35, width=0.03, opacity=0.8)
    below = head.turned(_oval(0, y + 0.19 + gap, 0.2, 0.035))
    head.fill(below, colour=look.skin * 0.6, opacity=0.5, blur=0.04)


def _draw_beard(head: _Pen, look: _Look, rng: np.random.Generator) -> None:
    j, low = look.jaw, rng.uniform(1.45, 1.75)
    outer = [(0.97 * j, 0.2), (0.92 * j, 0.75), (0.6 * j, 1.3), (0.2, low), (0, low + 0.02)]
    inner = [(0, 1.02), (0.3, 1), (0.44, 0.8), (0.36, 0.66), (0, 0.67), (0, 0.6), (0.4, 0.56)]
    right = floats([*outer, *inner, (0.62, 0.75), (0.85 * j, 0.3)])
    dense = rng.uniform(0.45, 0.97)  # from stubble to full
    for half in (right, right * (-1, 1)):
        head.fill(look.lean(half), colour=look.hair * 0.8, opacity=dense, blur=0.035)


def _put_on_mask(head: _Pen, look: _Look, rng: np.random.Generator) -> None:
    low = rng.uniform(-0.03, 0.1)

    def pair(x: float, y: float) -> Pair:
        (x1, y1), (x2, y2) = head.pixels(look.lean([(-x, y), (x, y)]))
        return (x1, y1), (x2, y2)

    nose = head.pixels(head.turned([(0, 0.12 + low)]))[0]
    chin = head.pixels(look.lean([(0, 1.52)]))[0]
    points = MaskPoints(
        nose=(nose[0], nose[1]), chin=(chin[0], chin[1]), cheeks=pair(0.97, 0.22 + low),
        jaws=pair(0.87 * look.jaw, 0.86), ears=pair(1.04, 0.02), lobes=pair(1.01, 0.42),
    )  # fmt: skip
    colour = MASKS[0] if rng.random() < 0.35 else rng.choice(MASKS)  # surgical blue most often
    head.canvas[:] = draw_mask(
        to_bytes(head.canvas),
        points,
        colour * rng.uniform(0.88, 1.03),
        light=look.light,
        pleats=int(rng.choice([0, 2, 3, 3])),
        pattern=str(rng.choice(PATTERNS, p=[0.7, 0.1, 0.1, 0.1])),
        rng=rng,
    )


def _draw_neckscarf(body: _Pen, look: _Look, rng: np.random.Generator) -> None:
    top = rng.uniform(1.3, 1.5)
    shape = _mirrored([(0, top + 0.15), (0.55, top), (0.95, top + 0.15), (1.15, 2.3), (0, 2.6)])
    body.fill(shape, colour=look.extra)
    folds = [
        curve([(-0.92, h), (0.1 * k, h + 0.25), (0.92, h + 0.05 * k)], closed=False)
        for k, h in enumerate(np.arange(top + 0.25, 2.2, 0.2))
    ]
    body.line(*folds, colour=look.extra * 0.6, width=0.06, opacity=0.7, blur=0.03)


def _draw_headscarf(head: _Pen, look: _Look) -> None:
    outer = [(0, -1.72), (0.9, -1.38), (1.24, -0.2), (1.15, 1.0), (1.3, 2.0), (1.1, 2.7), (0, 2.9)]
    hole = [(0, -1.08), (0.6, -0.95), (0.9, -0.4), (0.92, 0.4), (0.62, 1.15), (0, 1.5)]
    hole = look.lean(_mirrored(hole))
    head.fill(_mirrored(outer), hole, colour=look.extra)
    head.line(hole, colour=look.extra * 0.45, width=0.08, opacity=0.6, blur=0.04)
    falls = ([(1.05, -0.6), (1.02, 0.6), (0.3, 1.9)], [(-1.1, 0), (-0.9, 1.3), (0.2, 2.3)])
    folds = [curve(fall, closed=False) for fall in falls]
    head.line(*folds, colour=look.extra * 0.6, width=0.07, opacity=0.5, blur=0.04)


def _draw_front_hair(head: _Pen, look: _Look, rng: np.random.Generator) -> None:
    """The cap of hair, or a beanie, from the line above the brow to the crown, in strands."""
    line = {"fringe": -0.52, "bob": -0.6, "beanie": -0.72, "crop": -1.1}.get(look.style, -0.95)
    high = {"crop": -1.52, "afro": -1.75, "beanie": -1.85}.get(look.style, -1.68)
    low = 0.1 if look.style in ("bob", "long") else -0.25
    part = rng.uniform(-0.5, 0.5)
    hairline = [(-1.02, low), (-0.93, -0.5), (-0.62, line), (part, line - 0.12), (0.62, line),
                (0.93, -0.5), (1.02, low)]  # fmt: skip
    crown = [(1.12, -0.3), (1.1, -0.9), (0.66, high + 0.12), (0, high), (-0.66, high + 0.12),
             (-1.1, -0.9), (-1.12, -0.3)]  # fmt: skip
    colour = look.extra if look.style == "beanie" else look.hair
    light = np.clip(colour * 1.3 + 22, 0, 255)
    head.fill(curve(hairline + crown), colour=colour, blur=0.02)
    if look.style == "afro":  # curls, not strands
        return
    strands = _strands(crown, hairline, part, rng)
    head.line(*strands[:14], colour=light, width=0.03, opacity=0.4, blur=0.012)
    head.line(*strands[14:], colour=colour * 0.55, width=0.025, opacity=0.45, blur=0.012)
    gloss = _oval(0.5 * look.light[0], (line + high) / 2, 0.5, 0.14)
    head.fill(gloss, colour=light, opacity=0.35, blur=0.12)


def _strands(crown, hairline, part: float, rng: np.random.Generator) -> list[np.ndarray]:
    """40 lines, (N, 2), from the crown to the hairline, bowed away from the parting.

    crown and hairline: 7 points each, the crown's from right to left, the hairline's from left to
    right. part: x of the parting.
    """
    strands = []
    for at in rng.uniform(0, 4, 40):
        i, share = int(at), at % 1
        root = mix(crown[1 + i], crown[2 + i], share)
        end = mix(hairline[5 - i], hairline[4 - i], share)
        bow = (root + end) / 2 + floats([0.12 * np.sign(root[0] - part), -0.05])
        points = [mix(root, end, 0.08), bow, mix(root, end, 0.95)]
        strands.append(curve(points, closed=False, steps=5))
    return strands


def _draw_glasses(head: _Pen, rng: np.random.Generator) -> None:
    colour = rng.choice(floats([(20, 20, 22), (40, 60, 110), (150, 150, 155)]))
    a, b, width = rng.uniform(0.3, 0.35), rng.uniform(0.22, 0.29), rng.uniform(0.03, 0.07)
    unit = _oval(0, 0, 1, 1)
    rim = np.sign(unit) * np.abs(unit) ** rng.uniform(0.55, 1) * (a, b)  # squarish to round
    lines = [head.turned(curve([(a - 0.42, -0.1), (0, -0.15), (0.42 - a, -0.1)], closed=False))]
    for side in (-1, 1):
        lens = head.turned(rim[np.r_[0 : len(rim), 0]] + (side * 0.42, -0.06))
        head.fill(lens, colour=(250, 246, 240), opacity=0.08)
        hinge = head.turned([(side * (0.42 + a), -0.12)])[0]
        lines += [lens, floats([hinge, (side * 1.02, -0.1)])]
    head.line(*lines, colour=colour, width=width, opacity=0.95)


def _photograph(canvas: np.ndarray, look: _Look, rng: np.random.Generator) -> np.ndarray:
    """The camera's part: direction and colour of the light, softness, grain; uint8 (H, W, 3)."""
    size = canvas.shape[0]
    across = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    level = 1 + 0.22 * (look.light[0] * across + look.light[1] * across[:, None])
    warm = rng.normal(0, 0.07)
    gains = floats([1 - warm, 1, 1 + warm]) * np.float32(rng.uniform(0.72, 1.12))
    canvas = cv2.GaussianBlur(canvas * level[..., None] * gains, (0, 0), rng.uniform(0.3, 0.9))
    grain = rng.standard_normal((size, size, 1), np.float32) * np.float32(rng.uniform(1, 5))
    return to_bytes(canvas + grain)
