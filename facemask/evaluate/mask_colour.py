"""Guess what colour the mask in a face crop has, so that figures can be told apart by it."""

import math

import cv2
import numpy as np

from facemask.images import resize

# Where a mask sits in the box of a face, as fractions of its height and of its width.
ROWS = (0.55, 0.90)
COLUMNS = (0.25, 0.75)
# That part is made so small, pixels a side: noise averages out, prints keep their main colour.
SIDE = 16

# In CIE L*a*b*: lightness is 0 (black) to 100 (white), chroma the distance from grey, hue an angle
# in degrees (skin is at 35 to 75). Less chroma is the light's cast on something grey, which is
# oftener warm than blue; dark cloth takes on more of it. The first line that fits names a pixel.
DIM = 50.0  # lightness
HUES = (
    # hue from, to, least chroma, least chroma of the dim, name
    (0.0, 45.0, 45.0, 45.0, "red or pink"),  # strong, and so no skin
    (0.0, 28.0, 10.0, 18.0, "red or pink"),
    (28.0, 105.0, 14.0, 26.0, "yellow or brown"),
    (105.0, 188.0, 8.0, 13.0, "green"),
    (188.0, 255.0, 8.0, 10.0, "blue"),  # cyan to light blue: surgical masks
    (255.0, 292.0, 8.0, 16.0, "blue"),
    (292.0, 308.0, 35.0, 35.0, "blue"),  # strong, and so no lilac
    (292.0, 330.0, 13.0, 18.0, "purple"),
    (330.0, 360.0, 10.0, 18.0, "red or pink"),
)
# Lightness below which a pixel without hue is called so.
SHADES = ((28.0, "black"), (62.0, "grey"), (math.inf, "white"))

# All names, in the order of tables.
COLOURS = ("white", "grey", "black", "blue", "green", "yellow or brown", "red or pink", "purple")


def mask_colour(crop: np.ndarray) -> str:
    """Name the colour, one of COLOURS, that most pixels have where a mask sits in a face's box.

    crop: (H, W, 3) uint8, BGR, a masked face from forehead to chin, of any size but 0.

    A coarse guess from pixels, which knows neither the light nor where the mask is: a white mask
    in the shade is "grey", under a blue sky "blue"; a pale blue one in the sun is "white"; navy is
    "black" in the dark. Where a turned or loosely boxed face shows skin instead, that is "yellow
    or brown", or in the dark "grey" or "black". Of a print the commonest colour counts.
    """
    height, width = crop.shape[:2]
    (top, bottom), (left, right) = ROWS, COLUMNS
    part = crop[
        int(height * top) : math.ceil(height * bottom), int(width * left) : math.ceil(width * right)
    ]
    small = resize(part, (SIDE, SIDE)).astype(np.float32) / 255
    light, a, b = cv2.split(cv2.cvtColor(small, cv2.COLOR_BGR2Lab))
    chroma = np.hypot(a, b)
    hue = np.degrees(np.arctan2(b, a)) % 360
    fits = [
        (low <= hue) & (hue < high) & (chroma >= np.where(light < DIM, least_dim, least))
        for low, high, least, least_dim, _ in HUES
    ] + [light < below for below, _ in SHADES]
    names = [line[-1] for line in (*HUES, *SHADES)]
    found, counts = np.unique(np.select(fits, names, ""), return_counts=True)
    return str(found[counts.argmax()])
