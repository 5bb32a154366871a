from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from facemask.data import candidates, near_duplicates
from facemask.data.dataset import file_digest
from facemask.data.near_duplicates import DuplicateCounts, count_duplicates, near_duplicate_groups
from facemask.errors import FacemaskError
from facemask.sample_dataset.portrait import draw_portrait


def picture(seed: int, height: int = 200, width: int = 160) -> np.ndarray:
    """Coloured blobs of several sizes: what two seeds draw has nothing in common."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.normal(0, 30, (n, n, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
        for n in (4, 8, 16)
    ]
    return np.clip(sum(layers) + 128, 0, 255).astype(np.uint8)


def portrait(seed: int) -> np.ndarray:
    return draw_portrait(np.random.default_rng(seed + 9), with_mask=False, size=160)


def turned(image: np.ndarray, degrees: float, corners: int) -> np.ndarray:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(image, matrix, (width, height), borderValue=(corners,) * 3)


def noisy(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 40, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def compressed(image: np.ndarray) -> np.ndarray:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 15])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def masked(image: np.ndarray) -> np.ndarray:
    """With a light blue oval over the lower middle, as large as a mask in a close portrait."""
    height, width = image.shape[:2]
    centre, axes = (width // 2, int(0.68 * height)), (int(0.36 * width), int(0.2 * height))
    image = image.copy()
    cv2.ellipse(image, centre, axes, 0, 0, 360, (250, 240, 215), -1)
    return image


def written(folder: Path, *images: np.ndarray) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        cv2.imwrite(str(path), image)
    return paths


ALTERATIONS = {
    "turned, black corners": lambda image: turned(image, 12, 0),
    "turned far, white corners": lambda image: turned(image, -20, 255),
    "mirrored": lambda image: image[:, ::-1],
    "mirrored and turned": lambda image: turned(image[:, ::-1], 18, 0),
    "blurred": lambda image: cv2.GaussianBlur(image, (0, 0), 2.5),
    "noisy": noisy,
    "compressed": compressed,
    "half the size": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5),
    "stretched to a square": lambda image: cv2.resize(image, (224, 224)),
    "brighter": lambda image: np.clip(image * 0.8 + 50, 0, 255).astype(np.uint8),
    "grey": lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2GRAY),
    "cropped in the middle": lambda image: image[20:-20, 16:-16],
    "cropped to a corner": lambda image: image[25:, 20:],
    "masked": masked,
}


@pytest.mark.parametrize("draw", [picture, portrait])
@pytest.mark.parametrize("alter", ALTERATIONS.values(), ids=ALTERATIONS)
def test_an_altered_copy_is_in_the_group_of_its_picture_alone(
    alter: Callable[[np.ndarray], np.ndarray],
    draw: Callable[[int], np.ndarray],
    tmp_path: Path,
) -> None:
    paths = written(tmp_path, draw(1), draw(2), alter(draw(1)), draw(3))
    assert near_duplicate_groups(paths).tolist() == [0, 1, 0, 2]


def test_different_pictures_are_each_by_itself(tmp_path: Path) -> None:
    paths = written(tmp_path, *map(picture, range(40)))
    assert near_duplicate_groups(paths).tolist() == list(range(40))


def test_the_same_mask_over_different_pictures_makes_no_twins(tmp_path: Path) -> None:
    paths = written(tmp_path, *(masked(picture(seed)) for seed in range(20)))
    assert near_duplicate_groups(paths).tolist() == list(range(20))


def test_different_figures_before_the_same_wall_make_no_twins(tmp_path: Path) -> None:
    def before_wall(seed: int) -> np.ndarray:
        wall = np.full((200, 160, 3), 235, np.uint8)
        wall[::20], wall[:, ::20] = 205, 205
        rng = np.random.default_rng(seed)
        centre = int(rng.integers(70, 91)), int(rng.integers(90, 111))
        axes = int(rng.integers(40, 56)), int(rng.integers(60, 81))
        figure = cv2.ellipse(np.zeros((200, 160, 1), np.uint8), centre, axes, 0, 0, 360, 1, -1)
        return np.where(figure > 0, picture(seed), wall)

    paths = written(tmp_path, *map(before_wall, range(20)))
    assert near_duplicate_groups(paths).tolist() == list(range(20))


def test_a_copy_of_a_copy_is_in_the_group(tmp_path: Path) -> None:
    first = picture(1)
    far = turned(turned(turned(first, 24, 0), 24, 0), 24, 0)
    between = [turned(first, 24, 0), turned(turned(first, 24, 0), 24, 0)]
    assert near_duplicate_groups(written(tmp_path, first, far)).tolist() == [0, 1]
    assert near_duplicate_groups(written(tmp_path, first, far, *between)).tolist() == [0] * 4


def test_the_order_of_the_paths_only_changes_the_numbers(tmp_path: Path) -> None:
    images = [alter(picture(seed)) for seed in range(4) for alter in (noisy, masked, np.fliplr)]
    paths = written(tmp_path, *images)
    groups = near_duplicate_groups(paths)
    assert groups.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    order = np.random.default_rng(0).permutation(len(paths))
    shuffled = near_duplicate_groups([paths[i] for i in order])
    assert shuffled[0] == 0
    np.testing.assert_array_equal(
        shuffled[:, None] == shuffled, groups[order][:, None] == groups[order]
    )


def test_identical_files_are_one_group_and_read_once(tmp_path: Path) -> None:
    grey = np.full((30, 30, 3), 128, np.uint8)
    paths = written(tmp_path, grey, picture(1), grey, grey)
    digests = [file_digest(path) for path in paths]
    seen = []

    def progress(items, total: int):
        seen.append(total)
        return items

    groups = near_duplicate_groups(paths, digests, progress)
    assert groups.tolist() == [0, 1, 0, 0]
    assert groups.dtype == np.int64
    assert seen == [2, 1, 0]  # files of different contents; blocks; blocks of candidates


def test_pictures_without_texture_are_no_twins(tmp_path: Path) -> None:
    paths = written(tmp_path, *(np.full((40, 40, 3), level, np.uint8) for level in (0, 90, 91)))
    assert near_duplicate_groups(paths).tolist() == [0, 1, 2]


def test_more_images_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "_BLOCK", 3)
    images = [picture(seed) for seed in range(7)]
    paths = written(tmp_path, *images, *map(np.fliplr, images), images[0][25:, 20:])
    assert near_duplicate_groups(paths).tolist() == [*range(7), *range(7), 0]


def test_pictures_are_compared_with_a_few_clusters_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_CLUSTER", 4)
    monkeypatch.setattr(candidates, "_PROBES", 2)
    monkeypatch.setattr(candidates, "_MAX_SCORES", 8)
    compared = []
    of_cluster = candidates._best_of_cluster

    def counted(queries: np.ndarray, vectors: np.ndarray, most: int, least: float):
        compared.append(len(queries) * len(vectors))
        return of_cluster(queries, vectors, most, least)

    monkeypatch.setattr(candidates, "_best_of_cluster", counted)
    images = [picture(seed) for seed in range(40)]
    altered = [np.fliplr(images[0]), turned(images[1], 12, 0), masked(images[2]), images[3][25:]]
    groups = near_duplicate_groups(written(tmp_path, *images, *altered))
    assert groups.tolist() == [*range(40), *range(4)]
    views = 3 * 18 + 20  # of a picture, in three windows
    assert sum(compared) < 44 * 44 * views / 3


def test_more_copies_of_one_picture_than_candidates(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    copies = [np.clip(picture(1) + rng.normal(0, 8, (200, 160, 3)), 0, 255) for _ in range(60)]
    paths = written(tmp_path, *(image.astype(np.uint8) for image in copies), picture(2))
    assert near_duplicate_groups(paths).tolist() == [0] * 60 + [1]


def test_strangers_that_are_alike_coarsely_are_not_aligned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stranger(seed: int) -> np.ndarray:
        """Blobs that all have in common, and weaker ones that none else has."""
        return cv2.addWeighted(picture(0), 0.8, picture(seed), 0.5, -38)

    aligned = []

    def counted(*args: np.ndarray) -> bool:
        aligned.append(args)
        return False

    monkeypatch.setattr(near_duplicates, "same_picture", counted)
    near_duplicate_groups(written(tmp_path, *map(stranger, range(1, 21))))
    assert len(aligned) < 20  # of about 115 pairs with a high correlation


def test_the_numbers_of_twins() -> None:
    groups = np.array([0, 0, 0, 1, 1, 2])
    digests = ["a", "a", "b", "c", "c", "d"]
    assert count_duplicates(groups, digests) == DuplicateCounts(groups=3, identical=4, near=3)


def test_no_images_and_one(tmp_path: Path) -> None:
    assert near_duplicate_groups([]).tolist() == []
    assert count_duplicates(np.empty(0, np.int64), []) == DuplicateCounts(0, 0, 0)
    assert near_duplicate_groups(written(tmp_path, picture(1))).tolist() == [0]


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    paths = written(tmp_path, picture(1), picture(2))
    paths[1].write_bytes(b"no image")
    with pytest.raises(FacemaskError, match=r"1\.png: not an image"):
        near_duplicate_groups(paths)


@pytest.mark.assets
def test_real_copies_and_real_strangers(assets: Path) -> None:
    """Six people, bare and with the mask pasted over, and turned, mirrored and noisy copies."""
    people = {
        "106": ["106", "augmented_image_295", "augmented_image_296", "augmented_image_297"],
        "108": ["108", "augmented_image_121", "augmented_image_122", "augmented_image_123"],
        "158": ["158", "augmented_image_187", "augmented_image_188", "augmented_image_249"],
        "170": ["170", "augmented_image_150", "augmented_image_151", "augmented_image_152"],
        "160": ["160"],
        "32": ["32"],
    }
    dataset = assets / "dataset"
    paths = [
        path
        for number, names in people.items()
        for path in [
            dataset / "with_mask" / f"{number}-with-mask.jpg",
            *(dataset / "without_mask" / f"{name}.jpg" for name in names),
        ]
    ]
    sizes = [1 + len(names) for names in people.values()]
    assert near_duplicate_groups(paths).tolist() == np.repeat(range(6), sizes).tolist()
