"""The built-in face detector of an earlier commit beside the present one.

    python benchmarks/earlier_face_network.py --commit 5d6bb42

Runs each with the code of its own commit, which searches in its own sizes, on the photographs of
builtin.split.json's test part. For each folder of annotated scenes it shows mAP@.5, the unmasked
faces found at a confidence of .5, and how many boxes are right. Needs the project's Git history.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from measure import ASSETS, PROJECT, leave_without, table

from facemask.data.scenes import Scene, load_scenes
from facemask.data.splits import read_split
from facemask.evaluate.detection import ImageBoxes, average_precision, detection_metrics
from facemask.files import file_digest
from facemask.geometry import as_array

SCENES = ("scenes", "scenes2", "scenes3")
# Takes the paths of photographs, and prints the boxes and confidences in each, as JSON.
DETECT = """
import json, sys
from pathlib import Path
from facemask.detect.builtin import BuiltinFaceDetector
from facemask.images import read_image
detector = BuiltinFaceDetector.load()
found = [detector.detect(read_image(Path(path)), 0.05) for path in json.load(sys.stdin)]
print(json.dumps([[[b.x1, b.y1, b.x2, b.y2, b.confidence] for b in boxes] for boxes in found]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="An earlier face detector beside the present one.")
    parser.add_argument("--assets", type=Path, default=ASSETS, metavar="DIR", help="photographs")
    parser.add_argument("--commit", default="5d6bb42", help="with the earlier one (%(default)s)")
    args = parser.parse_args()
    leave_without(args.assets)
    parts = read_split(PROJECT / "face_detector" / "builtin.split.json")
    scenes = {
        name: [
            scene
            for scene in load_scenes(args.assets / name).scenes
            if parts.get(file_digest(scene.path)) == "test"
        ]
        for name in SCENES
    }
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", args.commit], cwd=PROJECT, check=True, capture_output=True
        )
        subprocess.run(["tar", "-x", "-C", folder], check=True, input=archive.stdout)
        rows = []
        for version, code in ((args.commit, Path(folder)), ("present", PROJECT)):
            cells = [figures(images, code) for images in scenes.values()]
            rows.append([version, *cells])
    print(table(["AP@.5 / unmasked faces found / boxes right", *SCENES], rows))


def figures(scenes: list[Scene], code: Path) -> str:
    """What the face detector of the project in the folder `code` finds."""
    done = subprocess.run(
        [sys.executable, "-c", DETECT],
        cwd=code,
        input=json.dumps([str(scene.path.resolve()) for scene in scenes]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    images = []
    for scene, boxes in zip(scenes, json.loads(done.stdout), strict=True):
        found = np.array(boxes, np.float32).reshape(-1, 5)
        faces = as_array([face.box for face in scene.faces]).astype(np.float32)
        labels = [face.label for face in scene.faces]
        images.append(ImageBoxes(faces, found[:, :4], found[:, 4], labels))
    metrics = detection_metrics(images, 0.5, [])
    unmasked = metrics["by_label"]["without_mask"].fraction
    plain = [ImageBoxes(image.faces, image.boxes, image.scores) for image in images]
    right = metrics["precision"].fraction
    return f"{average_precision(plain).ap50:.3f} / {unmasked:.2f} / {right:.2f}"


if __name__ == "__main__":
    main()
