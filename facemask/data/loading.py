"""Load the images of a training with the faces in them, and split them into parts."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from facemask.class_names import INCORRECT, same_class
from facemask.data import splits
from facemask.data.dataset import (
    LabelledImages,
    Progress,
    check_class_folders,
    concatenate,
    load_labelled_images,
    no_progress,
)
from facemask.data.drawn_copies import add_drawn_copies
from facemask.data.face_crops import MIN_WIDTH, cut_faces, face_finder
from facemask.data.near_duplicates import count_duplicates, near_duplicate_groups
from facemask.data.scenes import annotated_folder, load_scenes
from facemask.data.splits import Split
from facemask.detect import registry
from facemask.detect.types import Detector
from facemask.detect.yunet import YuNetFaceDetector
from facemask.downloads import fetch
from facemask.downloads.resources import DATASET
from facemask.errors import FacemaskError
from facemask.files import PROJECT, find, real_path
from facemask.sample_dataset.writer import is_sample_dataset

# Ratio of the images that remain after the test part. The tutorial validated on its test images.
# Here the curves, the best epoch and the temperature come from images that neither the training
# nor the report uses.
VALIDATION_SIZE = 0.1


def detector_loader(
    name: str, folder: str, announce: Callable[[str], None]
) -> Callable[..., Detector]:
    """What makes a face detector for each thread that looks for faces; it takes `portraits`.

    name: "auto", or as registry.load_detector takes it; folder: of its weights. The detector is
    loaded once here, so that unusable weights raise FacemaskError before any image is read.
    """
    announce("loading face detector model...")
    path = find(folder)
    name = registry.resolve(name, path, announce)
    load = partial(registry.load_detector, name, path, threads=1, int8=True)
    load()
    return load


def load_images(
    folders: Sequence[str],
    scene_folders: Sequence[str],
    split: str,
    crops: Path,
    load_detector: Callable[..., Detector] | None,
    announce: Callable[[str], None],
    progress: Progress = no_progress,
    download: bool = True,
    incorrect: bool = False,
) -> LabelledImages:
    """The images of class folders and the annotated faces of scenes, as one set.

    Each image of the class folders is decoded once, for its face and for what split_images needs
    to know. split: the method that split_images is going to be given. crops: an empty folder that
    the faces of scenes are cut into. load_detector: makes a face detector, one for each thread;
    None: images are used whole. download: fetch the classic photographs if the project's own
    folder is named and empty. incorrect: whether the class of masks worn incorrectly is learnt
    from the scenes, if the folders do not have it.
    Raises FacemaskError for folders without usable images.
    """
    paths = [find(folder) for folder in folders]
    for path in paths:
        _ensure_photographs(path, announce, download)
    if load_detector:
        announce("finding faces...")
    make_finder = face_finder(partial(load_detector, portraits=True)) if load_detector else None
    images = load_labelled_images(paths, progress, make_finder, split == splits.GROUPED)
    if incorrect and same_class(INCORRECT, images.class_names) is None:
        images = replace(images, class_names=(*images.class_names, INCORRECT))
    if load_detector:
        detected = sum(box is not None for box in images.boxes)
        announce(f"found one face in {detected} of {len(images)} images; the others are used whole")
    for number, path in enumerate(map(find, scene_folders)):
        scenes = load_scenes(path, progress)
        folder = crops / str(number)
        faces = cut_faces(scenes, images.class_names, load_detector, folder, progress)
        if not len(faces):
            raise FacemaskError(
                f"{path}: expected annotated faces of the classes {', '.join(images.class_names)},"
                f" {MIN_WIDTH} or more pixels wide; found none; its faces are of the"
                f" classes {', '.join(scenes.labels)}"
            )
        announce(f"{path}: {len(faces)} crops of the faces in {len(scenes.scenes)} scenes")
        images = concatenate(images, faces)
    return images


def check_inputs(
    folders: Sequence[str], scene_folders: Sequence[str], method: str, download: bool
) -> None:
    """Raise FacemaskError for what load_images and split_images will miss, before any work."""
    for path in map(find, folders):
        if real_path(path) != PROJECT / "dataset":
            check_class_folders(path)
        elif not download:
            _ensure_photographs(path, lambda _: None, download)
    for path in map(find, scene_folders):
        annotated_folder(path)
    if method not in splits.METHODS:
        splits.read_split(find(method))


def is_drawn(folders: Sequence[str]) -> bool:
    """Whether one of the folders is a drawn sample, from which a model learns no real faces."""
    return any(is_sample_dataset(find(folder)) for folder in folders)


def is_classic(images: LabelledImages) -> bool:
    """Whether all images are of the classic photographs, by their content, in whatever folder."""
    return set(images.digests) <= set(DATASET.sha256_by_name().values())


def warnings_about(images: LabelledImages, folders: Sequence[str]) -> list[str]:
    """What a user should know about the images before a model is trained on them, a line each."""
    lines = []
    if is_drawn(folders):
        lines.append("drawn sample: the model will know the drawings, not faces")
    count = len(images.skipped)
    for number, line in enumerate(images.skipped, start=1):
        lines.append(f"skipped or repaired, {number} of {count}: {line}")
    return lines


def _ensure_photographs(folder: Path, announce: Callable[[str], None], download: bool) -> None:
    if real_path(folder) != PROJECT / "dataset":
        return
    if download:
        fetch.ensure_dataset(folder, announce)
    elif not any(path.is_dir() for path in folder.glob("[!.]*")):
        raise FacemaskError(
            f"{folder}: expected class folders, found none; a dry run does not fetch the classic"
            " photographs, `python -m facemask.downloads dataset` does"
        )


def split_images(
    images: LabelledImages,
    method: str,
    test_size: float,
    seed: int,
    announce: Callable[[str], None],
    progress: Progress = no_progress,
) -> Split:
    """Training, validation and test parts.

    method: "grouped" keeps near-duplicates in one part; "random" keeps only the faces of one
    photograph and identical files together; anything else is the path of a recorded split, of
    photographs under whatever file names. Images that it does not know are split by its method.
    test_size: fraction of all images. Raises FacemaskError when a part would lack a class, and for
    a file that is no record of a split, or of none of these images.
    """
    known: dict[str, str] = {}
    if method not in splits.METHODS:
        path = find(method)
        known, method = splits.read_split(path), splits.read_method(path)
        unknown = sum(digest not in known for digest in images.digests)
        if unknown == len(images):
            raise FacemaskError(
                f"{path}: expected a split of these images, found one of {len(known)} others"
            )
        rest = f"; {unknown} are not in it, and are split anew" if unknown else ""
        announce(
            f"{path}: {len(images) - unknown} of {len(images)} images stay in their parts{rest}"
        )
    _, groups = np.unique(images.digests, return_inverse=True)
    if method == splits.GROUPED and not known.keys() >= set(images.digests):
        announce("looking for near-duplicates...")
        groups = near_duplicate_groups(
            images.originals, images.digests, progress, images.thumbnails
        )
        # The faces of a scene are one photograph.
        photographs = list({path: index for index, path in enumerate(images.originals)}.values())
        counts = count_duplicates(groups[photographs], [images.digests[i] for i in photographs])
        announce(
            f"{len(photographs)} images make {counts.groups} groups: {counts.identical} are byte"
            f" for byte like another one, {counts.near} have a near-duplicate"
        )
    split = splits.split_images(images, groups, test_size, VALIDATION_SIZE, seed, method, known)
    sizes = [f"{len(getattr(split, name))} for {name}" for name in splits.PARTS]
    announce(f"images: {', '.join(sizes)}")
    return split


def draw_masks(
    images: LabelledImages,
    split: Split,
    weights: str,
    crops: Path,
    seed: int,
    announce: Callable[[str], None],
    progress: Progress = no_progress,
) -> tuple[LabelledImages, Split]:
    """The images and the split with drawn copies in the training part; see add_drawn_copies.

    weights: the folder that has YuNet's; crops: as for load_images.
    """
    announce("drawing masks...")
    load = partial(YuNetFaceDetector.load, find(weights))
    drawn, split = add_drawn_copies(images, split, load, crops / "drawn", seed, progress)
    announce(f"drew masks onto {len(drawn) - len(images)} copies of training images")
    return drawn, split
