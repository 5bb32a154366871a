"""Cuts between scenes: on pictures made by hand, and on real clips and photographs."""

import random
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from facemask.images import read_image
from facemask.video.cuts import CutDetector
from facemask.video.sources import FileSource


def cuts(frames: Sequence[np.ndarray]) -> list[int]:
    """The numbers of the frames that begin a scene."""
    detector = CutDetector()
    return [number for number, frame in enumerate(frames) if detector.is_cut(frame)]


def scene(seed: int, width: int = 320, height: int = 240) -> np.ndarray:
    """Coloured patches of about a quarter of the height, as walls, clothes and sky are."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)


def covered(image: np.ndarray, start: float, end: float) -> np.ndarray:
    """The image with a dark coat from the left to the right ratio of its width."""
    image, width = image.copy(), image.shape[1]
    image[20:, round(start * width) : round(end * width)] = (40, 30, 30)
    return image


def test_each_change_of_scene_is_a_cut() -> None:
    assert cuts([scene(n // 5) for n in range(20)]) == [5, 10, 15]


def test_another_size_is_no_cut_and_does_not_hide_one() -> None:
    assert cuts([scene(1), scene(1, 640, 480), scene(2, 64, 48)]) == [2]
    assert cuts([np.full((1, 1, 3), n, np.uint8) for n in (0, 200)]) == []


def test_nothing_is_no_scene() -> None:
    """Black frames, as between scenes and before a camera wakes up."""
    black = np.zeros((240, 320, 3), np.uint8)
    assert cuts([black, black]) == []
    assert cuts([scene(1), black, black, scene(2), scene(2)]) in ([1], [1, 3])


def test_a_camera_that_shakes_makes_no_cut() -> None:
    generator = random.Random(1)
    large = scene(1, 400, 300)
    frames = []
    for _ in range(50):
        x, y = generator.randrange(0, 32), generator.randrange(0, 24)  # 10 % of the frame
        frames.append(large[y : y + 240, x : x + 320])
    assert cuts(frames) == []


def test_light_that_flickers_makes_no_cut() -> None:
    lights = (1.0, 0.4, 1.3, 0.2, 0.9)
    frames = [np.clip(scene(1) * light, 0, 255).astype(np.uint8) for light in lights]
    assert cuts(frames) == []


def test_somebody_who_walks_past_close_to_the_camera_makes_no_cut() -> None:
    starts = np.arange(-0.6, 1.0, 0.15).tolist()
    assert cuts([covered(scene(1), max(0, x), max(0, x + 0.6)) for x in starts]) == []
    assert cuts([scene(1), covered(scene(1), 0.2, 0.8), scene(1)]) == []


def test_a_noisy_picture_makes_no_cut() -> None:
    noise = np.random.default_rng(1)
    frames = [scene(1) + noise.normal(0, 25, (240, 320, 3)) for _ in range(9)]
    assert cuts([np.clip(frame, 0, 255).astype(np.uint8) for frame in frames]) == []


def frames_of(path: Path) -> list[np.ndarray]:
    with FileSource(path.name, path) as source:
        return [frame for _, frame in source.frames()]


@pytest.mark.assets
@pytest.mark.parametrize("every", [1, 3, 5])
def test_the_cuts_of_the_street_are_found_and_no_others(assets: Path, every: int) -> None:
    """It has people who walk towards the camera, crowds, and a camera that turns (150 to 165)."""
    frames = frames_of(assets / "video" / "street.mp4")[::every]
    assert cuts(frames) == [-(-n // every) for n in (41, 292, 350, 410, 432, 481, 535)]


@pytest.mark.assets
def test_clips_of_one_scene_have_no_cut(assets: Path) -> None:
    clips = [assets / "video" / "four_people.mp4", *(assets / "video" / "gestures").iterdir()]
    for clip in clips:
        frames = frames_of(clip)
        assert [cuts(frames[::every]) for every in (1, 5, 10)] == [[]] * 3, clip


@pytest.mark.assets
def test_photographs_of_other_places_are_other_scenes(assets: Path) -> None:
    paths = sorted((assets / "scenes2").rglob("*.jpg"))
    images = [read_image(path) for path in random.Random(1).sample(paths, 100)]
    assert len(cuts(images)) >= 97
