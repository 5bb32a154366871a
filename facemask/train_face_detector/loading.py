"""The photographs that the built-in face detector is trained, validated and tested on."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from facemask.class_names import SPELLINGS
from facemask.data.dataset import Progress
from facemask.data.near_duplicates import near_duplicate_groups
from facemask.data.scenes import Scene, load_scenes
from facemask.data.splits import PARTS, read_split, split_groups
from facemask.errors import FacemaskError
from facemask.files import file_digest
from facemask.images import list_files
from facemask.train_face_detector.pseudo_labels import UNMASKED, PseudoLabeler, annotated
from facemask.train_face_detector.samples import AnnotatedImage

# The sizes of the split of scenes that no split file knows: a ratio of all scenes, and a ratio of
# the rest.
TEST_SIZE, VALIDATION_SIZE = 0.2, 0.1
# One in this many unmasked portraits is also shown with a mask drawn onto it.
DRAW_MASK_EVERY = 2

Images = dict[str, list[AnnotatedImage]]  # by the name of their part of the split


def load_images(
    scenes: Sequence[Path],
    portraits: Sequence[Path],
    videos: Sequence[Path],
    *,
    split: Path,
    labeler: PseudoLabeler,
    folder: Path,
    seed: int,
    progress: Progress,
    log: Callable[[str], None],
) -> Images:
    """The annotated images of each part of a split.

    Validation and test images are scenes with annotated faces alone. The training images are
    scenes, portraits and frames of videos, with pseudo-labels.

    scenes, portraits: folders; split: the file that train_mask_detector.py writes. A folder of
    scenes of which it knows none is split here. folder: an empty one for images made of others.
    Raises FacemaskError for input that can't be read, and without scenes to train or validate on.
    """
    split_of = read_split(split)
    by_split, unknown = _split_scenes(scenes, split_of, seed, progress)
    if not by_split["train"] or not by_split["validation"]:
        raise FacemaskError(
            f"{split}: expected scenes for training and for validation, found"
            f" {len(by_split['train'])} and {len(by_split['validation'])}"
        )
    labeler.fit_offsets(scene for scene, _ in by_split["train"])
    images = {name: [annotated(*scene) for scene in by_split[name]] for name in PARTS}
    images["train"] = [labeler.scene(scene) for scene, _ in progress(by_split["train"])]
    files = [path for portrait_folder in portraits for path in list_files(portrait_folder)]
    training = [path for path in files if split_of.get(file_digest(path)) == "train"]
    labelled = [labeler.portrait(path) for path in progress(training)]
    unmasked = [path for path in training if path.parent.name == UNMASKED][::DRAW_MASK_EVERY]
    for number, path in enumerate(progress(unmasked)):
        rng = np.random.default_rng((seed, number))
        labelled.append(labeler.masked_portrait(path, folder / f"{number}.png", rng))
    images["train"] += [portrait for portrait in labelled if portrait]
    for number, video in enumerate(videos):
        frames = folder / f"video-{number}"
        frames.mkdir()
        images["train"] += labeler.frames(video, frames)
    counts = ", ".join(f"{len(images[name])} for {name}" for name in PARTS)
    log(f"images: {counts}; {unknown} scenes are not in the split")
    return images


def _split_scenes(
    folders: Sequence[Path], split_of: Mapping[str, str], seed: int, progress: Progress
) -> tuple[dict[str, list[tuple[Scene, str]]], int]:
    """The scenes of each part, with their folder's name; and how many the split does not know."""
    by_split: dict[str, list[tuple[Scene, str]]] = {name: [] for name in PARTS}
    unknown = 0
    for folder in folders:
        scenes = load_scenes(folder, progress).in_terms_of(SPELLINGS).scenes
        digests = [file_digest(scene.path) for scene in scenes]
        names = [split_of.get(digest, "") for digest in digests]
        if not any(names):
            groups = near_duplicate_groups([scene.path for scene in scenes], digests)
            names = split_groups(groups, TEST_SIZE, VALIDATION_SIZE, seed)
        unknown += names.count("")
        for scene, name in zip(scenes, names, strict=True):
            if name:
                by_split[name].append((scene, folder.resolve().name))
    return by_split, unknown


def images_digest(images: Mapping[str, Sequence[AnnotatedImage]]) -> str:
    """sha256 over the contents and the boxes of images; the same for the same data.

    Boxes count in whole pixels: pseudo-labels differ in the last digits between machines.
    """
    summary = hashlib.sha256()
    for name, members in images.items():
        for image in members:
            boxes = np.rint(image.faces).tolist(), np.rint(image.ignore_boxes).tolist()
            summary.update(f"{name} {file_digest(image.path)} {boxes} {image.repeat}\n".encode())
    return summary.hexdigest()
