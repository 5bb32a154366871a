"""Find labelled images in class folders, and check that they can be read."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from facemask.class_names import same_class, same_meaning
from facemask.data.alignment import Thumbnail, thumbnail
from facemask.errors import FacemaskError
from facemask.files import encode, file_digest, real_path
from facemask.geometry import FaceBox
from facemask.images import list_files, read_image
from facemask.threads import with_own

# Relative to other images of the source. A network learns few images of much weight by heart.
MOST_WEIGHT = 5.0
MAX_SIDE = 2**15 - 2  # pixels; OpenCV warps nothing larger, and views of images are warps

Progress = Callable[..., Iterable[Any]]
FindFace = Callable[[np.ndarray], FaceBox | None]  # the face of an image, as read_image gives it


def no_progress(items: Iterable[Any], total: int) -> Iterable[Any]:
    """A `progress` that shows nothing; tqdm.tqdm is one that shows a bar."""
    return items


@dataclass(frozen=True)
class LabelledImages:
    """Readable images and their classes; an image is identified by its index."""

    paths: tuple[Path, ...]  # the file to decode
    boxes: tuple[FaceBox | None, ...]  # the face in it; None: the whole image is used
    labels: np.ndarray  # (N,) int64, indices into class_names
    sources: np.ndarray  # (N,) int64, indices into source_names
    originals: tuple[Path, ...]  # the photograph: the file itself, or the one it was cut from
    digests: tuple[str, ...]  # sha256 of the photograph's bytes
    class_names: tuple[str, ...]
    source_names: tuple[str, ...]  # of the folders
    skipped: tuple[str, ...] = ()  # a line for each file or face that can't be used
    thumbnails: Mapping[str, Thumbnail] = field(
        default_factory=dict
    )  # of some photographs, by digest

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def digest(self) -> str:
        """sha256 over file contents, boxes and classes, in order: equal for equal data."""
        summary = hashlib.sha256()
        for content, box, label in zip(self.digests, self.boxes, self.labels, strict=True):
            # Confidences differ in the last digits between machines, and change no crop.
            corners = box and box.corners
            summary.update(encode(f"{content} {corners} {self.class_names[label]}\n"))
        return summary.hexdigest()

    def with_boxes(self, boxes: Sequence[FaceBox | None]) -> "LabelledImages":
        return replace(self, boxes=tuple(boxes))


def concatenate(*sets: LabelledImages) -> LabelledImages:
    """Several sets as one. Raises ValueError unless their classes are the same."""
    class_names = sets[0].class_names
    if any(images.class_names != class_names for images in sets):
        raise ValueError(f"Expected sets of the classes {class_names}.")
    firsts = np.cumsum([0, *(len(images.source_names) for images in sets[:-1])])
    return LabelledImages(
        paths=tuple(path for images in sets for path in images.paths),
        boxes=tuple(box for images in sets for box in images.boxes),
        labels=np.concatenate([images.labels for images in sets]),
        sources=np.concatenate(
            [images.sources + first for images, first in zip(sets, firsts, strict=True)]
        ),
        originals=tuple(path for images in sets for path in images.originals),
        digests=tuple(digest for images in sets for digest in images.digests),
        class_names=class_names,
        source_names=tuple(name for images in sets for name in images.source_names),
        skipped=tuple(line for images in sets for line in images.skipped),
        thumbnails={sha: small for images in sets for sha, small in images.thumbnails.items()},
    )


def load_labelled_images(
    folders: Sequence[str | os.PathLike[str]],
    progress: Progress = no_progress,
    make_finder: Callable[[], FindFace] | None = None,
    thumbnails: bool = False,
) -> LabelledImages:
    """Find the images of folders of class folders, and decode each image once.

    That checks it, finds the face in it and makes its thumbnail; of identical files one is decoded.
    The sub-folders are the classes, sorted by name; all folders must have the same classes, in the
    spelling of the first or in one that means the same. No image is kept in memory.
    progress: wraps the iterable of checked files, and gets their number as `total` (tqdm, for
    example). make_finder: makes what finds faces, for each thread; None: images are used whole.
    thumbnails: whether to make them. Raises FacemaskError for a missing folder, fewer than two
    classes, an empty class, or folders of different classes.
    """
    folders = [Path(folder) for folder in folders]
    names_of = [[sub.name for sub in check_class_folders(folder)] for folder in folders]
    class_names = tuple(names_of[0])
    orders = []
    for folder, names in zip(folders, names_of, strict=True):
        same = [same_class(name, class_names) for name in names]
        if sorted(map(str, same)) != sorted(class_names):
            raise FacemaskError(
                f"{folder}: expected the classes of {folders[0]}, {', '.join(class_names)}; found"
                f" {', '.join(names)}"
            )
        orders.append(np.array([class_names.index(str(name)) for name in same]))
    examine = _Examination(thumbnails)
    sets = [_load_folder(folder, examine, make_finder, progress) for folder in folders]
    return concatenate(
        *(
            replace(images, labels=order[images.labels], class_names=class_names)
            for images, order in zip(sets, orders, strict=True)
        )
    )


def _load_folder(
    folder: Path,
    examine: "_Examination",
    make_finder: Callable[[], FindFace] | None,
    progress: Progress,
) -> LabelledImages:
    class_folders = check_class_folders(folder)
    files = [(path, label) for label, sub in enumerate(class_folders) for path in list_files(sub)]
    paths = [path for path, _ in files]
    with closing(with_own(examine, paths, make_finder or (lambda: lambda _: None))) as results:
        examined = list(progress(results, total=len(files)))

    skipped = tuple(result for result in examined if isinstance(result, str))
    usable = [
        (path, label, result)
        for (path, label), result in zip(files, examined, strict=True)
        if not isinstance(result, str)
    ]
    labels = np.array([label for _, label, _ in usable], dtype=np.int64)
    for label, sub in enumerate(class_folders):
        if not np.any(labels == label):
            raise FacemaskError(f"{sub}: expected images of the class {sub.name}, found none")
    paths = tuple(path for path, _, _ in usable)
    return LabelledImages(
        paths=paths,
        boxes=tuple(image.box for _, _, image in usable),
        labels=labels,
        sources=np.zeros(len(paths), np.int64),
        originals=paths,
        digests=tuple(image.sha256 for _, _, image in usable),
        class_names=tuple(sub.name for sub in class_folders),
        source_names=(real_path(folder).name,),
        skipped=skipped,
        thumbnails={image.sha256: image.small for _, _, image in usable if image.small},
    )


@dataclass(frozen=True)
class _Examined:
    sha256: str
    box: FaceBox | None
    small: Thumbnail | None


class _Examination:
    """Decodes each photograph once, for all that has to be known of it."""

    def __init__(self, thumbnails: bool):
        self._thumbnails = thumbnails
        self._known: dict[str, _Examined] = {}  # by digest

    def __call__(self, path: Path, find_face: FindFace) -> _Examined | str:
        """What the photograph at a path is or, if it can't be used, why not."""
        try:
            # What is no regular file, such as a pipe, has no digest, and read_image refuses it.
            sha256 = file_digest(path) if path.is_file() else ""
            if sha256 not in self._known:
                image = read_image(path)
                if max(image.shape) > MAX_SIDE:
                    size = "x".join(map(str, image.shape[1::-1]))
                    return f"{path}: expected at most {MAX_SIDE} pixels a side, found {size}"
                small = thumbnail(image) if self._thumbnails else None
                self._known[sha256] = _Examined(sha256, find_face(image), small)
            return self._known[sha256]
        except (FacemaskError, OSError) as error:
            return str(error)


def check_class_folders(folder: Path) -> list[Path]:
    """find_class_folders; raises FacemaskError for fewer than two, too."""
    class_folders = find_class_folders(folder)
    if len(class_folders) < 2:
        names = f"only {class_folders[0].name}" if class_folders else "none"
        raise FacemaskError(
            f"{folder}: expected a sub-folder of images for each of two or more classes,"
            f" found {names}"
        )
    return class_folders


def find_class_folders(folder: Path) -> list[Path]:
    """The visible sub-folders, sorted by name.

    Raises FacemaskError for a missing folder, and for two sub-folders of one class.
    """
    if not folder.is_dir():
        raise FacemaskError(
            f"{folder}: no such folder; expected one with a sub-folder of images for each class"
        )
    folders = sorted(sub for sub in folder.iterdir() if sub.is_dir() and sub.name[0] not in "._")
    if twice := same_meaning(sub.name for sub in folders):
        raise FacemaskError(
            f"{folder}: expected one sub-folder for each class, found {' and '.join(twice)}, which"
            " mean the same"
        )
    return folders


def balanced_weights(images: LabelledImages, indices: np.ndarray) -> np.ndarray:
    """Sample weights, (N,) float64, mean 1: in each source all classes have the same total weight.

    So a class with fewer images is not neglected, and the model can't learn the class from the look
    of a source. For one source these are scikit-learn's "balanced" class weights, up to MOST_WEIGHT
    before they are divided by their mean.
    """
    from sklearn.utils.class_weight import compute_sample_weight

    weights = np.ones(len(indices))
    for source in np.unique(images.sources[indices]):
        of_source = images.sources[indices] == source
        weights[of_source] = compute_sample_weight("balanced", images.labels[indices][of_source])
    weights = np.minimum(weights, MOST_WEIGHT)
    return weights / weights.mean()
