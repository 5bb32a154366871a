"""Labelled images from class folders: finding and checking them, splitting, streaming batches."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facemask.augmentation import augment
from facemask.errors import FacemaskError
from facemask.images import list_files, model_input, read_image, resize


@dataclass(frozen=True)
class LabelledImages:
    """Readable images and their classes; an image is known by its index."""

    folder: Path
    paths: tuple[Path, ...]
    labels: np.ndarray  # (N,) int64, indices into class_names
    class_names: tuple[str, ...]
    digest: str  # sha256 over names and contents: equal for equal data sets
    skipped: tuple[str, ...]  # why each other file can't be used, one line each


@dataclass(frozen=True)
class Split:
    """Indices of images, (N,) int64 each; no image is in two parts."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def load_labelled_images(
    folder: str | os.PathLike[str],
    progress: Callable[..., Iterable[Any]] = lambda checks, total: checks,
) -> LabelledImages:
    """Find the images of a folder of class folders, and decode each once to see that it can be.

    The sub-folders are the classes, in the order of their names. No image is kept in memory.
    progress: wraps the iterable of checked files, whose number it gets as `total` (tqdm, say).
    Raises FacemaskError for a missing folder, for fewer than two classes, for an empty class.
    """
    folder = Path(folder)
    class_folders = _class_folders(folder)
    if len(class_folders) < 2:
        found = f"only {class_folders[0].name}" if class_folders else "none"
        raise FacemaskError(
            f"{folder}: expected a sub-folder of images for each of two or more classes,"
            f" found {found}"
        )
    files = [(path, label) for label, one in enumerate(class_folders) for path in list_files(one)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        checks = list(progress(pool.map(_check, [path for path, _ in files]), total=len(files)))

    usable = [
        (path, label)
        for (path, label), check in zip(files, checks, strict=True)
        if not check.problem
    ]
    labels = np.array([label for _, label in usable], dtype=np.int64)
    for label, one in enumerate(class_folders):
        if not np.any(labels == label):
            raise FacemaskError(f"{one}: expected images of the class {one.name}, found none")
    summary = hashlib.sha256()
    for (path, _), check in zip(files, checks, strict=True):
        summary.update(f"{check.sha256}  {path.relative_to(folder).as_posix()}\n".encode())
    return LabelledImages(
        folder=folder,
        paths=tuple(path for path, _ in usable),
        labels=labels,
        class_names=tuple(one.name for one in class_folders),
        digest=summary.hexdigest(),
        skipped=tuple(check.problem for check in checks if check.problem),
    )


def _class_folders(folder: Path) -> list[Path]:
    """The visible sub-folders of a data set, by name. Raises FacemaskError if it is no folder."""
    if not folder.is_dir():
        raise FacemaskError(
            f"{folder}: no such folder; expected one with a sub-folder of images for each class"
        )
    return sorted(one for one in folder.iterdir() if one.is_dir() and one.name[0] not in "._")


@dataclass(frozen=True)
class _Check:
    sha256: str
    problem: str


def _check(path: Path) -> _Check:
    try:
        read_image(path)
        return _Check(hashlib.sha256(path.read_bytes()).hexdigest(), "")
    except (FacemaskError, OSError) as error:
        return _Check("", str(error))


def split_images(
    images: LabelledImages, test_size: float, validation_size: float, seed: int
) -> Split:
    """Part the images at random, each class in the same proportion; the same seed, the same split.

    test_size: fraction of all images; validation_size: fraction of what is left.
    Raises FacemaskError when a part would lack a class.
    """
    from sklearn.model_selection import train_test_split

    everything = np.arange(len(images.paths))
    try:
        rest, test = train_test_split(
            everything, test_size=test_size, stratify=images.labels, random_state=seed
        )
        train, validation = train_test_split(
            rest, test_size=validation_size, stratify=images.labels[rest], random_state=seed
        )
        parts = Split(np.sort(train), np.sort(validation), np.sort(test))
        complete = all(
            len(np.unique(images.labels[part])) == len(images.class_names)
            for part in (parts.train, parts.validation, parts.test)
        )
    except ValueError:  # scikit-learn's word for too few images
        complete = False
    if not complete:
        counts = np.bincount(images.labels)
        least = int(counts.argmin())
        raise FacemaskError(
            f"{images.folder}: too few images to have each class in training, validation and test"
            f" parts; the smallest class, {images.class_names[least]}, has {counts[least]}"
        )
    return parts


def batches(
    images: LabelledImages,
    indices: Sequence[int] | np.ndarray,
    size: tuple[int, int],
    batch_size: int,
    augment_seed: int | None = None,
) -> Any:
    """Stream images from disk as a tf.data.Dataset of (inputs, labels) batches.

    inputs: (B, height, width, 3) float32 as images.model_input makes them, for size =
    (height, width); labels: (B,) int64. With augment_seed the images are shuffled and augmented,
    each epoch anew and the same way for the same seed, whatever the threads do; without it they
    come as they are and in the order of indices. Memory holds a few batches, however many images.
    """
    import tensorflow as tf

    def load(index: np.ndarray, seed: np.ndarray) -> np.ndarray:
        image = resize(read_image(images.paths[int(index)]), size)
        if augment_seed is not None:
            image = augment(image, np.random.default_rng(int(seed)))
        return model_input(image, size)

    def load_tensor(index: Any, seed: Any) -> tuple[Any, Any]:
        # Not stateful: the result depends on index and seed alone, so that calls may run side by
        # side even where TensorFlow is held to determinism.
        loaded = tf.numpy_function(load, [index, seed], tf.float32, stateful=False)
        return tf.ensure_shape(loaded, (*size, 3)), tf.gather(labels, index)

    labels = tf.constant(images.labels)
    order = tf.data.Dataset.from_tensor_slices(np.asarray(indices, dtype=np.int64))
    seeds = tf.data.Dataset.random(seed=augment_seed or 0, rerandomize_each_iteration=True)
    if augment_seed is not None:
        order = order.shuffle(len(indices), seed=augment_seed)
    return (
        tf.data.Dataset.zip((order, seeds))
        .map(load_tensor, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size)
        .prefetch(1)
    )
