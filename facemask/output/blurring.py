"""Hiding faces on a picture."""

from collections.abc import Iterable

import cv2
import numpy as np

from facemask.geometry import FaceBox

# Detectors' boxes end at the hairline and the ears, by which people are known as well.
BLUR_MARGIN = 0.25
# A hidden region keeps this many colours along its longer side, of which the face has four or five.
# With 7 x 6 colours a face, software still recognised more than half of 40 people whose other
# pictures it had learnt (McPherson, Shokri and Shmatikov, 2016).
COLOURS_A_SIDE = 6
# A small face has no more than one colour for this many pixels.
PIXELS_A_COLOUR = 6


def blur_faces(image: np.ndarray, faces: Iterable[FaceBox]) -> None:
    """Blur the faces of an image (H, W, 3) uint8, in place, so that nobody is recognised.

    Of each face, with BLUR_MARGIN around it, a few mean colours are left, and shades between them.
    """
    height, width = image.shape[:2]
    for face in faces:
        x1, y1, x2, y2 = face.expand(BLUR_MARGIN).clip(width, height).corners
        region = image[y1:y2, x1:x2]
        if not region.size:
            continue
        longer = max(region.shape[:2])
        colours = min(COLOURS_A_SIDE, max(1, longer // PIXELS_A_COLOUR))
        size = [max(1, round(side * colours / longer)) for side in (x2 - x1, y2 - y1)]
        mean = cv2.resize(region, size, interpolation=cv2.INTER_AREA)
        region[:] = cv2.resize(mean, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)
