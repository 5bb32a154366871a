"""The photographs that the built-in face detector is trained, validated and tested on."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facemask.class_names import SPELLINGS, WITHOUT_MASK
from facemask.data.dataset import Progress
from facemask.data.near_duplicates import near_duplicate_groups
from facemask.data.scenes import Scene, load_scenes
from facemask.data.splits import PARTS, split_groups
from facemask.errors import FacemaskError
from facemask.files import file_digest, real_path
from facemask.images import list_files
from facemask.train_face_detector.pseudo_labels import (
    Annotator,
    Conventions,
    Labels,
    annotated,
    balanced,
    measure_conventions,
)
from facemask.train_face_detector.samples import AnnotatedImage

# The sizes of the split of scenes that no split file knows: a ratio of all scenes, and a ratio of
# the rest.
TEST_SIZE, VALIDATION_SIZE = 0.2, 0.1
# One in so many photographs with unmasked faces alone is also shown with masks drawn onto them.
DRAW_MASKS_EVERY_SCENE, DRAW_MASKS_EVERY_PORTRAIT = 3, 2

Images = dict[str, list[AnnotatedImage]]  # by the name of their part of the split


@dataclass(frozen=True)
class Sources:
    """Folders and files to train on."""

    scenes: Sequence[Path]  # folders of photographs with annotated faces
    detected: Sequence[Path] = ()  # the same, but a detector made the annotations
    portraits: Sequence[Path] = ()  # folders of photographs that a face fills
    videos: Sequence[Path] = ()


@dataclass(frozen=True)
class Loaded:
    """What the sources give: images by part, portraits to test on, the split, the conventions."""

    images: Images
    portraits: dict[str, list[Path]]  # those of the test part, by their folder's name
    split: dict[str, str]  # the part of each photograph, by its sha256
    conventions: Conventions


def load_images(
    sources: Sources,
    *,
    split_of: Mapping[str, str],
    labels: Labels,
    folder: Path,
    seed: int,
    progress: Progress,
    log: Callable[[str], None],
) -> Loaded:
    """The annotated images of each part of a split.

    Validation and test images are annotated scenes alone. The training images are scenes,
    portraits and frames of videos, with pseudo-labels; their boxes have the mean convention of
    the folders of scenes.

    split_of: a split, see read_split; photographs that it does not know get a part here. labels:
    see LabelStore. folder: an empty one for images made of others.
    Raises FacemaskError for input that can't be read, and without scenes to train or validate on.
    """
    scenes = {
        path: load_scenes(path, progress).in_terms_of(SPELLINGS).scenes
        for path in (*sources.scenes, *sources.detected)
    }
    portraits = [path for group in sources.portraits for path in list_files(group)]
    photographs = [scene.path for group in scenes.values() for scene in group] + portraits
    digest_of = {path: file_digest(path) for path in photographs}
    split = extended_split(digest_of, split_of, seed, progress)

    def of_part(part: str, folders: Sequence[Path]) -> list[tuple[Scene, str]]:
        return [
            (scene, real_path(path).name)
            for path in folders
            for scene in scenes[path]
            if split[digest_of[scene.path]] == part
        ]

    images = {
        part: [annotated(*scene) for scene in of_part(part, sources.scenes)] for part in PARTS
    }
    if not images["train"] or not images["validation"]:
        raise FacemaskError(
            f"{', '.join(map(str, sources.scenes))}: expected scenes for training and for"
            f" validation, found {len(images['train'])} and {len(images['validation'])}"
        )
    log("labelling faces with YuNet...")
    train = of_part("train", [*sources.scenes, *sources.detected])
    conventions = measure_conventions(progress(train, total=len(train)), labels)
    annotator = Annotator(labels, conventions, {real_path(path).name for path in sources.scenes})
    detected = {real_path(path).name for path in sources.detected}
    training = [path for path in portraits if split[digest_of[path]] == "train"]
    images["train"] = _training_images(
        annotator, train, detected, training, folder, seed=seed, progress=progress
    )
    for number, video in enumerate(sources.videos):
        frames = folder / f"video-{number}"
        frames.mkdir()
        images["train"] += annotator.frames(video, frames)
    images["train"] = balanced(images["train"])
    test_portraits = {
        real_path(group).name: [
            path
            for path in portraits
            if path.is_relative_to(group) and split[digest_of[path]] == "test"
        ]
        for group in sources.portraits
    }
    log("images: " + ", ".join(f"{len(images[name])} for {name}" for name in PARTS))
    return Loaded(images, test_portraits, split, conventions)


def _training_images(
    annotator: Annotator,
    scenes: Sequence[tuple[Scene, str]],
    detected: Collection[str],
    portraits: Sequence[Path],
    folder: Path,
    *,
    seed: int,
    progress: Progress,
) -> list[AnnotatedImage]:
    """Scenes and portraits, and copies of some unmasked ones with masks drawn onto the faces."""
    images = [annotator.scene(scene, source, source in detected) for scene, source in scenes]
    unmasked = [image for image in images if set(image.labels) == {WITHOUT_MASK}]
    to_mask = unmasked[::DRAW_MASKS_EVERY_SCENE]
    for path in progress(portraits, total=len(portraits)):
        kind = path.parent.name
        image = annotator.pseudo_labelled(path, True, kind, path.parent.parent.name)
        if image:
            images.append(image)
            to_mask += [image] if kind == WITHOUT_MASK else []
    every = DRAW_MASKS_EVERY_PORTRAIT
    scenes_to_mask = [image for image in to_mask if not image.portrait]
    to_mask = scenes_to_mask + [image for image in to_mask if image.portrait][::every]
    for number, image in enumerate(progress(to_mask, total=len(to_mask))):
        rng = np.random.default_rng((seed, number))
        masked = annotator.with_masks(image, folder / f"{number}.png", rng)
        images += [masked] if masked else []
    return images


def extended_split(
    digest_of: Mapping[Path, str], known: Mapping[str, str], seed: int, progress: Progress
) -> dict[str, str]:
    """The part of each photograph, by its digest: known ones keep theirs.

    A photograph that is no copy of a known one gets a part by the group of its copies. One that is
    a copy goes where that one is: into training if copies of it are in several parts, so that no
    copy of a training photograph is tested on.
    """
    paths = list(digest_of)
    digests = [digest_of[path] for path in paths]
    if all(digest in known for digest in digests):
        return {digest: known[digest] for digest in digests}
    groups = near_duplicate_groups(paths, digests, progress)
    names = np.array([known.get(digest, "") for digest in digests], object)
    for part in reversed(PARTS):
        members = np.isin(groups, groups[names == part])
        names[members & np.array([digest not in known for digest in digests])] = part
    rest = np.flatnonzero(names == "")
    if len(np.unique(groups[rest])) >= len(PARTS):
        names[rest] = split_groups(groups[rest], TEST_SIZE, VALIDATION_SIZE, seed)
    names[names == ""] = PARTS[0]  # one or two more photographs
    return dict(zip(digests, names.tolist(), strict=True))


def images_digest(images: Mapping[str, Sequence[AnnotatedImage]]) -> str:
    """sha256 over the contents and the boxes of images; the same for the same data.

    Boxes count in whole pixels: pseudo-labels differ in the last digits between machines.
    """
    summary = hashlib.sha256()
    for name, members in images.items():
        for image in members:
            boxes = np.rint(image.faces).tolist(), np.rint(image.ignore_boxes).tolist()
            summary.update(
                f"{name} {file_digest(image.path)} {boxes} {image.weight:.2f}\n".encode()
            )
    return summary.hexdigest()
