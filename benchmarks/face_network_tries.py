"""What changes of the built-in face detector do to the validation photographs.

    python benchmarks/face_network_tries.py

The shipped network (whole numbers, 800 pixels) and others: weights nearer to YuNet's, which the
training began with, or further from them (WiSE-FT), other sizes of the input, float32 for some or
all layers, boxes that end elsewhere, and boxes that are no mean of several. For each folder of
annotated scenes it shows mAP@.5, and the unmasked faces that are found at the confidence which the
calibration would move to .5; and of the crops of real_crops, how many get one box. Takes some
minutes.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from measure import ASSETS, PROJECT, leave_without, table

from facemask.data.scenes import load_scenes
from facemask.data.splits import read_split
from facemask.detect import builtin
from facemask.detect.litert import LiteRTModel
from facemask.evaluate.detection import ImageBoxes, average_precision, detection_metrics
from facemask.files import file_digest
from facemask.geometry import nms, weighted_nms
from facemask.images import list_files, read_image
from facemask.train_face_detector.export import quantized
from facemask.train_face_detector.network import OUTPUT_LAYERS, build_face_network, load_yunet
from facemask.train_face_detector.pseudo_labels import annotated
from facemask.train_face_detector.samples import AnnotatedImage
from facemask.train_face_detector.trainer import read_weights
from facemask.train_face_detector.validation import calibration, network_detector

SCENES = ("scenes", "scenes2", "scenes3")
CROPS = "real_crops"
SHIPPED = PROJECT / "face_detector" / "builtin-start.weights.h5"
PYRAMID = ("neck_", "shared_")
WIDTHS = builtin.COARSE_FROM, builtin.FINE_BELOW


@dataclass(frozen=True)
class Try:
    ratio: float = 1.0  # of the way from YuNet's weights to the shipped ones, or beyond
    size: int = builtin.LONGER_SIDE
    float_layers: tuple[str, ...] | None = None  # the others in int8; None for all in float32
    equalize: bool = True  # see export.equalized
    top: float = 0.0  # how much higher boxes begin, in ratios of their height
    enlargement: float = builtin.MAX_ENLARGEMENT
    coarse: bool = True  # whether large faces are searched in a smaller input as well
    blend: bool = True  # whether a face's box is the mean of all of its boxes


TRIES = {
    "float32": Try(),
    "further from YuNet, 1.2": Try(ratio=1.2),
    "nearer to YuNet, .9": Try(ratio=0.9),
    "YuNet": Try(ratio=0.0),
    "640 pixels": Try(size=640),
    "960 pixels": Try(size=960),
    "int8, as shipped": Try(float_layers=OUTPUT_LAYERS),
    "int8, channels as trained": Try(float_layers=OUTPUT_LAYERS, equalize=False),
    "int8, pyramid in float32": Try(float_layers=(*OUTPUT_LAYERS, *PYRAMID)),
    "boxes .04 higher": Try(top=0.04),
    "boxes .08 higher": Try(top=0.08),
    "enlarged without limit": Try(enlargement=np.inf),
    "without the coarse search": Try(coarse=False),
    "the best box alone": Try(blend=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Changes of the built-in face detector.")
    parser.add_argument("--assets", type=Path, default=ASSETS, metavar="DIR", help="photographs")
    parser.add_argument(
        "--tries", nargs="+", choices=TRIES, default=list(TRIES), metavar="NAME", help="(all)"
    )
    args = parser.parse_args()
    leave_without(args.assets)
    parts = read_split(PROJECT / "face_detector" / "builtin.split.json")

    def in_validation(path: Path) -> bool:
        return parts.get(file_digest(path)) == "validation"

    scenes = {
        name: [
            annotated(scene, name)
            for scene in load_scenes(args.assets / name).scenes
            if in_validation(scene.path)
        ]
        for name in SCENES
    }
    crops = [path for path in list_files(args.assets / CROPS) if in_validation(path)]
    network = build_face_network()
    load_yunet(network, args.assets / "face_detector" / "yunet_n_640_640.onnx")
    yunet, shipped = network.get_weights(), read_weights(SHIPPED)
    rows = []
    for name in args.tries:
        ratio = TRIES[name].ratio
        network.set_weights(
            [(1 - ratio) * a + ratio * b for a, b in zip(yunet, shipped, strict=True)]
        )
        rows.append([name, *figures(TRIES[name], network, scenes, crops)])
        print(table([""], rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(["", *SCENES, f"one box, {CROPS}"], rows))


def figures(
    change: Try, network: Any, scenes: dict[str, list[AnnotatedImage]], crops: Sequence[Path]
) -> list[str]:
    """Of each folder of scenes mAP@.5 and the unmasked faces found; then the crops with one box."""
    builtin.LONGER_SIDE, builtin.MAX_ENLARGEMENT = change.size, change.enlargement
    builtin.weighted_nms = weighted_nms if change.blend else unweighted_nms
    builtin.COARSE_FROM, builtin.FINE_BELOW = WIDTHS if change.coarse else (np.inf, np.inf)
    if change.float_layers is not None:
        network = in_int8(network, [*chain(*scenes.values())], change.float_layers, change.equalize)
    detect = network_detector(network)

    def boxes(image: AnnotatedImage) -> ImageBoxes:
        found, scores = detect(read_image(image.path))
        found[:, 1] -= change.top * (found[:, 3] - found[:, 1])
        return ImageBoxes(image.faces, found, scores, image.labels)

    found = {name: [boxes(image) for image in images] for name, images in scenes.items()}
    scale, offset = calibration([*chain(*found.values())])
    confidence = 1 / (1 + np.exp(offset / scale))
    cells = []
    for images in found.values():
        unmasked = detection_metrics(images, confidence, [])["by_label"]["without_mask"]
        plain = [ImageBoxes(image.faces, image.boxes, image.scores) for image in images]
        cells.append(f"{average_precision(plain).ap50:.3f} / {unmasked.fraction:.2f}")
    counts = [np.sum(detect(read_image(path))[1] > confidence) for path in crops]
    return [*cells, f"{counts.count(1)} of {len(counts)}"]


def unweighted_nms(
    boxes: np.ndarray, scores: np.ndarray, min_score: float, max_iou: float, max_ios: float
) -> tuple[np.ndarray, np.ndarray]:
    """As weighted_nms, with the highest-scoring box of each face as it is."""
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    kept = nms(boxes[scores > min_score], max_iou, max_ios)
    return boxes[kept], scores[kept]


def in_int8(
    network: Any, images: Sequence[AnnotatedImage], float_layers: Sequence[str], equalize: bool
) -> Any:
    """A network in whole numbers, but for layers whose names begin so; called as the network."""
    path = Path("network.tflite")  # for messages; nothing is written
    content = quantized(path, network, images, float_layers, equalize)
    model = LiteRTModel.from_bytes(path, content)
    return lambda batch, training: model(batch)


if __name__ == "__main__":
    main()
