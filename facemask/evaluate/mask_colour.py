"""Guess the colour of the mask in a face crop, for figures by colour."""

import math

import cv2
import numpy as np

from facemask.images import resize

# The region of a face's box that a mask covers, as fractions of the box's height and width.
ROWS = (0.55, 0.90)
COLUMNS = (0.25, 0.75)
# The region is shrunk to this many pixels a side: noise averages out, prints keep their colour.
SIDE = 16

# In CIE L*a*b*: lightness is 0 (black) to 100 (white), chroma the distance from grey, hue an angle
# in degrees (skin is at 35 to 75). A chroma below the least is the cast of the light on something
# grey. Light is more often warm than blue, and dark cloth takes on more of it. The first row that
# fits names a pixel.
DIM = 50.0  # lightness
HUES = (
    # hue from, to, least chroma, least chroma of the dim, name
    (0.0, 45.0, 45.0, 45.0, "red or pink"),  # too strong for skin
    (0.0, 28.0, 10.0, 18.0, "red or pink"),
    (28.0, 105.0, 14.0, 26.0, "yellow or brown"),
    (105.0, 188.0, 8.0, 13.0, "green"),
    (188.0, 255.0, 8.0, 10.0, "blue"),  # cyan to light blue: surgical masks
    (255.0, 292.0, 8.0, 16.0, "blue"),
    (292.0, 308.0, 35.0, 35.0, "blue"),  # too strong for lilac
    (292.0, 330.0, 13.0, 18.0, "purple"),
    (330.0, 360.0, 10.0, 18.0, "red or pink"),
)
# Lightness below which a pixel without hue is called so.
SHADES = ((28.0, "black"), (62.0, "grey"), (math.inf, "white"))

# All names, in the order of tables.
COLOURS = ("white", "grey", "black", "blue", "green", "yellow or brown", "red or pink", "purple")


def mask_colour(crop: np.ndarray) -> str:
    """The colour, one of COLOURS, of most pixels in the region of a face's box that a mask covers.

    crop: (H, W, 3) uint8, BGR, a masked face from forehead to chin, of any size but 0.

    A coarse guess from pixels, which knows neither the light nor where the mask is: a white mask
    in the shade is "grey", under a blue sky "blue"; a pale blue one in the sun is "white"; a navy
    one in the dark is "black". Where a turned or loosely boxed face shows skin instead, that is
    "yellow or brown", or in the dark "grey" or "black". Of a print the most frequent colour counts.
    """
    height, width = crop.shape[:2]
    (top, bottom), (left, right) = ROWS, COLUMNS
    region = crop[
        int(height * top) : math.ceil(height * bottom), int(width * left) : math.ceil(width * right)
    ]
    small = resize(region, (SIDE, SIDE)).astype(np.float32) / 255
    light, a, b = cv2.split(cv2.cvtColor(small, cv2.COLOR_BGR2Lab))
    chroma = np.hypot(a, b)
    hue = np.degrees(np.arctan2(b, a)) % 360
    fits = [
        (low <= hue) & (hue < high) & (chroma >= np.where(light < DIM, least_dim, least))
        for low, high, least, least_dim, _ in HUES
    ] + [light < below for below, _ in SHADES]
    names = [row[-1] for row in (*HUES, *SHADES)]
    colours, counts = np.unique(np.select(fits, names, ""), return_counts=True)
    return str(colours[counts.argmax()])
