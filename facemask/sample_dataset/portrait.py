"""Draws an illustrated portrait: a face of any skin and pose, with or without a mask.

Faces are drawn in face units: the origin is between the cheekbones, 1 is half the face's width, x
runs to the right and y down. All colours are BGR, 0 to 255.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from facemask.sample_dataset.mask import PATTERNS, SURGICAL_BLUE, MaskPoints, draw_mask
from facemask.sample_dataset.painter import Painter, curve, ellipse, mirrored, to_bytes

# From light to very dark; tones between are mixed.
SKINS = np.array([(208, 224, 250), (142, 178, 225), (78, 112, 164), (42, 60, 92), (32, 44, 66)])
# The first three are common with every skin.
HAIRS = np.array([
    (22, 20, 22), (30, 34, 44), (38, 52, 78), (48, 80, 124), (60, 78, 150), (110, 168, 208),
    (150, 150, 152), (214, 216, 218), (140, 60, 90),
])  # fmt: skip
# Of clothes and masks.
FABRICS = np.array([
    (240, 240, 238), (48, 46, 46), (52, 48, 176), (104, 140, 74), (150, 92, 48),
    (186, 160, 226), (90, 190, 226), (130, 128, 128), (150, 196, 176), (150, 110, 160),
])  # fmt: skip
BACK_HAIR = {
    "afro": ellipse(0, -0.75, 1.62, 1.4),
    "bun": ellipse(0, -1.85, 0.5, 0.42),
    "bob": mirrored([(0, -1.72), (0.95, -1.3), (1.28, -0.3), (1.25, 1.1), (0, 1.2)]),
    "long": mirrored([(0, -1.7), (0.95, -1.3), (1.25, 0), (1.4, 2.6), (0, 2.8)]),
}
FACE = mirrored([
    (0, -1.42), (0.58, -1.27), (0.95, -0.72), (1, -0.15), (0.96, 0.4), (0.82, 0.88), (0.5, 1.26),
    (0.2, 1.43), (0, 1.45),
])  # fmt: skip
NECK = mirrored([(0, 0.9), (0.6, 0.9), (0.6, 1.7), (0.75, 2.1), (0, 2.6)])
BEARD = mirrored([
    (0, 0.62), (0.42, 0.6), (0.75, 0.75), (0.97, 0.2), (0.92, 0.75), (0.6, 1.3), (0, 1.6),
])  # fmt: skip
HEADSCARF = mirrored([
    (0, -1.72), (0.9, -1.38), (1.24, -0.2), (1.15, 1), (1.3, 2), (1.1, 2.7), (0, 2.9),
])  # fmt: skip
OPENING = mirrored([(0, -1.08), (0.6, -0.95), (0.9, -0.4), (0.92, 0.4), (0.62, 1.15), (0, 1.5)])
STYLES = ("bald", "short", "fringe", "headscarf", "beanie", *BACK_HAIR)
BEARDED_STYLES = ("bald", "short", "fringe", "beanie", "afro")


@dataclass(frozen=True)
class _Look:
    """What the parts of one portrait share; colours are float (3,)."""

    skin: np.ndarray
    hair: np.ndarray
    cloth: np.ndarray
    scarf: np.ndarray  # or beanie
    style: str
    light: tuple[float, float]  # as draw_mask takes it


def draw_portrait(rng: np.random.Generator, with_mask: bool, size: int) -> np.ndarray:
    """An illustrated portrait, BGR uint8 (size, size, 3), of a face that wears a mask or doesn't.

    Skin, pose, hair, clothes and light come from rng, alike for both kinds.
    """
    canvas = _background(rng, max(size, 160))  # below that, thin lines would swallow the face
    look = _choose_look(rng)
    body, head, face = _painters(canvas, rng)
    if look.style in BACK_HAIR:
        head.paint(BACK_HAIR[look.style], colour=look.hair * 0.85, blur=0.03)
    _draw_body(body, look, rng)
    _draw_head(head, look)
    _draw_eyes(face, look, rng)
    _draw_nose(face, look, rng)
    _draw_mouth(face, look, rng)
    if look.style in BEARDED_STYLES and rng.random() < 0.4:
        lips = ellipse(0, 0.87, 0.36, 0.13)
        head.paint(BEARD, lips, colour=look.hair * 0.8, opacity=rng.uniform(0.5, 1), blur=0.035)
    if with_mask:
        _draw_mask(head, face, look, rng)
    if look.style == "headscarf":
        head.paint(HEADSCARF, OPENING, colour=look.scarf)
        head.paint(OPENING, colour=look.scarf * 0.6, width=0.08, blur=0.04)
    elif look.style != "bald":
        _draw_front_hair(head, look, rng)
    if rng.random() < 0.3:
        _draw_glasses(face, rng)
    return cv2.resize(_photograph(canvas, look, rng), (size, size), interpolation=cv2.INTER_AREA)


def _choose_look(rng: np.random.Generator) -> _Look:
    tone = rng.uniform(0, len(SKINS) - 1)
    skin = [np.interp(tone, range(len(SKINS)), channel) for channel in SKINS.T]
    return _Look(
        skin=np.array(skin) + rng.normal(0, 3, 3),
        hair=HAIRS[rng.choice(len(HAIRS) if tone < 2 else 3)] * rng.uniform(0.85, 1.15),
        cloth=rng.choice(FABRICS) * rng.uniform(0.7, 1.05),
        scarf=rng.choice(FABRICS) * rng.uniform(0.7, 1.05),
        style=str(rng.choice(STYLES)),
        light=(rng.uniform(-0.8, 0.8), rng.uniform(-0.7, 0.05)),
    )


def _painters(canvas: np.ndarray, rng: np.random.Generator) -> tuple[Painter, Painter, Painter]:
    """Painters for the body, for the head and for the front of the face, in face units."""
    side = len(canvas)
    unit = side * rng.uniform(0.165, 0.225)
    x, y = side * np.array([0.5, 0.47]) + unit * rng.uniform(-0.3, 0.3, 2)
    tilt, yaw = rng.normal(0, 0.09), rng.uniform(-0.34, 0.34)  # of the head, radians
    cos, sin = math.cos(tilt), math.sin(tilt)
    upright = np.array([(unit, 0, x), (0, unit, y), (0, 0, 1)])
    tilted = upright @ [(cos, -sin, 0), (sin, cos, 0), (0, 0, 1)]
    # A turned head leans towards its chin, and the front of the face moves to the side.
    head = tilted @ [(1, 0.3 * yaw, 0), (0, 1, 0), (0, 0, 1)]
    face = head @ [(math.cos(yaw), 0, yaw), (0, 1, 0), (0, 0, 1)]
    return Painter(canvas, upright[:2]), Painter(canvas, head[:2]), Painter(canvas, face[:2])


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A blurred wall, float32 (size, size, 3), between nine shades of one colour."""
    shades = rng.uniform(60, 235) + rng.normal(0, 16, 3) + rng.normal(0, 18, (3, 3, 1))
    shades += rng.normal(0, 6, (3, 3, 3))
    return cv2.resize(shades.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)


def _draw_body(body: Painter, look: _Look, rng: np.random.Generator) -> None:
    body.paint(NECK, colour=look.skin * 0.86)
    body.paint(ellipse(0, 1.4, 0.7, 0.45), colour=look.skin * 0.5, opacity=0.75, blur=0.12)
    wide, deep = rng.uniform(1.9, 2.5), rng.uniform(1.95, 2.6)
    collar = [(0, deep), (0.4, deep - 0.2), (0.68, 1.85)]
    sides = [(1.2, 2.1), (wide, 2.5), (wide + 0.35, 3.4), (wide + 0.4, 6), (0, 6.2)]
    body.paint(mirrored(collar + sides), colour=look.cloth)
    edges = [np.array(collar) * (side, 1) for side in (-1, 1)]
    body.paint(*edges, colour=look.cloth * 0.6, width=0.09, blur=0.02)


def _draw_head(head: Painter, look: _Look) -> None:
    """Ears, and the face with the light on it."""

    def lit_skin(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        edge = np.clip(x**2 + (y / 1.45) ** 2, 0, 1.2) ** 2
        level = 1.05 + 0.2 * (look.light[0] * x + look.light[1] * (y - 0.2)) - 0.24 * edge
        # Skin in shadow is redder, not only darker: blue falls off most.
        return look.skin * np.stack([level**1.25, level, level**0.9], axis=-1)

    ears = [ellipse(side, 0.1, 0.16, 0.32) for side in (-1, 1)]
    head.paint(*ears, colour=look.skin * 0.85)
    head.paint(FACE, colour=lit_skin)


def _draw_eyes(face: Painter, look: _Look, rng: np.random.Generator) -> None:
    """Eyes and brows, alike on both sides."""
    height, gaze, lift = rng.uniform(0.07, 0.11), rng.normal(0, 0.03), rng.normal(0.45, 0.03)
    irises = np.array([(24, 30, 42), (30, 44, 70), (120, 96, 60), (70, 100, 80)])
    iris = rng.choice(irises[: 4 if look.skin[1] > 140 else 2])  # light ones with light skin
    dark = look.skin * 0.15 + 8
    for side in (-1, 1):
        x, y = side * 0.42, -0.1
        face.paint(ellipse(x, y, 0.27, 0.17), colour=look.skin * 0.55, opacity=0.4, blur=0.08)
        face.paint(ellipse(x, y, 0.2, height), colour=(205, 208, 212))
        face.paint(ellipse(x + gaze, y, 0.09, min(0.09, height)), colour=iris)
        face.paint(ellipse(x + gaze, y, 0.045, 0.045), colour=(10, 10, 12))
        lid = curve([(x - 0.22, y + 0.01), (x, y - 1.5 * height), (x + 0.22, y + 0.01)], False)
        face.paint(lid, colour=dark, width=0.05, opacity=0.9)
        brow = curve([(side * 0.17, -0.34), (side * 0.42, -lift), (side * 0.66, -0.34)], False)
        face.paint(brow, colour=0.4 * (look.hair + dark), width=0.08, opacity=0.85, blur=0.02)


def _draw_nose(face: Painter, look: _Look, rng: np.random.Generator) -> None:
    wide, tip = rng.uniform(0.16, 0.25), rng.uniform(0.42, 0.52)
    away = -np.sign(look.light[0])  # the side that lies in shadow
    flank = np.array([(0.06, -0.15), (0.1, 0.1), (wide, tip - 0.08), (wide, tip), (0.05, tip)])
    face.paint(flank * (away, 1), colour=look.skin * 0.6, opacity=0.5, blur=0.05)
    tip_shadow = ellipse(0, tip + 0.02, wide, 0.06)
    face.paint(tip_shadow, colour=look.skin * 0.6, opacity=0.75, blur=0.035)
    nostrils = [ellipse(side * wide * 0.5, tip + 0.02, 0.05, 0.028) for side in (-1, 1)]
    face.paint(*nostrils, colour=look.skin * 0.25, opacity=0.85)


def _draw_mouth(face: Painter, look: _Look, rng: np.random.Generator) -> None:
    half, smile, y = rng.uniform(0.28, 0.38), rng.uniform(-0.02, 0.1), 0.86
    gap = max(0.0, rng.normal(0, 0.07))  # between the lips
    colour = look.skin * 0.48 + np.array((32, 26, 70)) * rng.uniform(0.6, 1.2)
    upper, seam, teeth, lower = (
        curve([(-half, y - smile), (0, y + depth), (half, y - smile)], False)
        for depth in (-0.08, 0.01, 0.01 + gap, 0.12 + gap)
    )
    face.paint(np.concatenate([upper, lower[::-1]]), colour=colour)
    if gap > 0.05:
        face.paint(np.concatenate([seam, teeth[::-1]]), colour=(224, 230, 234))
    face.paint(seam, colour=colour * 0.4, width=0.03, opacity=0.8)


def _draw_mask(head: Painter, face: Painter, look: _Look, rng: np.random.Generator) -> None:
    low = rng.uniform(-0.03, 0.1)

    def pair(x: float, y: float) -> np.ndarray:
        return head.pixels([(-x, y), (x, y)])

    points = MaskPoints(
        nose=face.pixels((0, 0.12 + low)),
        chin=head.pixels((0, 1.52)),
        cheeks=pair(0.97, 0.22 + low),
        jaws=pair(0.87, 0.86),
        ears=pair(1.04, 0.02),
        lobes=pair(1.01, 0.42),
    )
    head.canvas[:] = draw_mask(
        to_bytes(head.canvas),
        points,
        (np.array(SURGICAL_BLUE) if rng.random() < 0.4 else rng.choice(FABRICS))
        * rng.uniform(0.88, 1.03),
        light=look.light,
        pleats=int(rng.choice([0, 2, 3, 3])),
        pattern=str(rng.choice(PATTERNS, p=[0.7, 0.1, 0.1, 0.1])),
        rng=rng,
    )


def _draw_front_hair(head: Painter, look: _Look, rng: np.random.Generator) -> None:
    """The cap of hair, or a beanie, from the hairline to the crown, in strands."""
    line = {"fringe": -0.52, "bob": -0.6, "beanie": -0.72}.get(look.style, rng.uniform(-1.1, -0.9))
    low = 0.1 if look.style in ("bob", "long") else -0.3
    height = 1.85 if look.style == "beanie" else rng.uniform(1.55, 1.75)
    t = np.linspace(-np.pi / 2, np.pi / 2, 41)
    crown = np.stack([1.12 * np.sin(t), low - (height + low) * np.cos(t) ** 0.7], axis=1)
    hairline = np.stack([0.99 * np.sin(t), low + (line - low) * np.cos(t) ** 0.6], axis=1)
    colour = look.scarf if look.style == "beanie" else look.hair
    head.paint(np.concatenate([crown, hairline[::-1]]), colour=colour, blur=0.02)
    strands = rng.permutation(np.stack([crown * 0.97, hairline], axis=1)[1:-1])
    head.paint(*strands[:12], colour=colour * 1.2 + 22, width=0.03, opacity=0.4, blur=0.012)
    head.paint(*strands[12:30], colour=colour * 0.55, width=0.025, opacity=0.45, blur=0.012)


def _draw_glasses(face: Painter, rng: np.random.Generator) -> None:
    a, b = rng.uniform(0.3, 0.35), rng.uniform(0.22, 0.29)
    lenses = [ellipse(side * 0.42, -0.06, a, b) for side in (-1, 1)]
    bridge = curve([(a - 0.42, -0.1), (0, -0.15), (0.42 - a, -0.1)], False)
    temples = [np.array([(side * (0.42 + a), -0.12), (side * 1.02, -0.1)]) for side in (-1, 1)]
    colour = rng.choice(np.array([(20, 20, 22), (40, 60, 110), (150, 150, 155)]))
    face.paint(*lenses, bridge, *temples, colour=colour, width=rng.uniform(0.03, 0.07))


def _photograph(canvas: np.ndarray, look: _Look, rng: np.random.Generator) -> np.ndarray:
    """What a camera adds: direction and colour of the light, softness, grain; uint8 (H, W, 3)."""
    size = len(canvas)
    across = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    level = 1 + 0.22 * (look.light[0] * across + look.light[1] * across[:, None])
    warm = rng.normal(0, 0.07)
    gains = np.array([1 - warm, 1, 1 + warm], np.float32) * np.float32(rng.uniform(0.72, 1.12))
    canvas = cv2.GaussianBlur(canvas * level[..., None] * gains, (0, 0), rng.uniform(0.3, 0.9))
    grain = rng.standard_normal((size, size, 1), np.float32) * np.float32(rng.uniform(1, 5))
    return to_bytes(canvas + grain)
