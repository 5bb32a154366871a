"""What light and cameras do to photographs, for the training of the built-in face detector."""

import cv2
import numpy as np

from facemask.data.augmentation import photometric_jitter, random_noise

DARK = 0.1  # ratio of the samples that are darkened, as photographs of dark rooms
BACKLIT = 0.06  # ratio of the samples in which a face is dark before a bright background
# Standard deviations of the blur, in pixels, as of people before or behind whom a camera focuses.
# A face that is fewer of them wide can't be told from other things.
BLUR, BLURRED_FACE = (0.5, 6.0), 6.0
NOISE = 40.0  # the largest standard deviation, of 255

# (height, width, 3) uint8, BGR; boxes of faces; boxes to ignore: (N, 4) float32, xyxy in pixels.
Sample = tuple[np.ndarray, np.ndarray, np.ndarray]


def as_photographed(
    image: np.ndarray, faces: np.ndarray, ignored: np.ndarray, rng: np.random.Generator
) -> Sample:
    """The sample in other light and colours, and now and then dark, blurred, compressed or noisy.

    image, faces, ignored: of a Sample. Faces that are blurred too much become ignored ones.
    """
    image = photometric_jitter(image, rng)
    if len(faces) and rng.random() < BACKLIT:
        image = backlit(image, faces[int(rng.integers(len(faces)))], rng)
    if rng.random() < DARK:
        image = cv2.convertScaleAbs(image, alpha=rng.uniform(0.25, 0.6))
    chance = rng.random()
    if chance < 0.18:
        return out_of_focus(image, faces, ignored, float(np.exp(rng.uniform(*np.log(BLUR)))))
    if chance < 0.3:
        quality = int(rng.integers(30, 90))
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    elif chance < 0.45:
        image = random_noise(image, rng, NOISE, coloured=bool(rng.random() < 0.5))
    return image, faces, ignored


def out_of_focus(image: np.ndarray, faces: np.ndarray, ignored: np.ndarray, sigma: float) -> Sample:
    """The sample with a Gaussian blur; sigma: its standard deviation, in pixels."""
    clear = faces[:, 2] - faces[:, 0] >= BLURRED_FACE * sigma
    image = cv2.GaussianBlur(image, (0, 0), sigma)
    return image, faces[clear], np.concatenate([ignored, faces[~clear]])


def backlit(image: np.ndarray, face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image that is dark around a face, and brighter the further away."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    centre, sides = (face[:2] + face[2:]) / 2, np.maximum(face[2:] - face[:2], 1)
    distance = ((columns - centre[0]) / sides[0]) ** 2 + ((rows - centre[1]) / sides[1] / 1.5) ** 2
    shade = np.exp(-distance / 2)[..., None]
    dark, glare = rng.uniform(0.3, 0.8), rng.uniform(20, 110)
    lit = image * (1 - dark * shade) + glare * (1 - shade)
    return np.clip(lit, 0, 255).astype(np.uint8)
