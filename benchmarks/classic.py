"""The classic way, to measure against: what tutorials on mask detection with Keras and OpenCV do.

    python benchmarks/classic.py image --image a.jpg b.jpg --output annotated/
    python benchmarks/classic.py video --source street.mp4

TensorFlow is imported up front, an image's faces go through `model.predict` one after the other,
a frame's together, and nothing overlaps. Video frames are shrunk to 400 pixels across first. Two
things are kinder to it than the tutorials are: several images share one start, and `predict` draws
no progress bar. It uses the project's description of the face detector, so that both ways find
the same faces. OpenCV 5 does not read that detector any more, so this needs OpenCV 4.
"""

import argparse
import sys
import time
from pathlib import Path

import cv2
import imutils
import numpy as np
from imutils.video import FPS
from tensorflow.keras.applications.mobilenet_v2 import (  # pyright: ignore[reportMissingImports]
    preprocess_input,
)
from tensorflow.keras.models import load_model  # pyright: ignore[reportMissingImports]
from tensorflow.keras.preprocessing.image import (  # pyright: ignore[reportMissingImports]
    img_to_array,
)

PROTOTXT = Path(__file__).resolve().parent.parent / "face_detector" / "deploy.prototxt"
WEIGHTS_NAME = "res10_300x300_ssd_iter_140000.caffemodel"


def main() -> None:
    parser = argparse.ArgumentParser(description="Detect face masks in the classic way.")
    parser.add_argument("what", choices=("image", "video"))
    parser.add_argument("--image", nargs="+", default=[], help="images (image)")
    parser.add_argument("--output", type=Path, help="folder of annotated images (image)")
    parser.add_argument("--source", help="video file (video)")
    parser.add_argument("--face", type=Path, required=True, help="folder of the SSD's weights")
    parser.add_argument("--model", required=True, help="a .keras model")
    parser.add_argument("--confidence", type=float, default=0.5)
    args = parser.parse_args()

    read_network = getattr(cv2.dnn, "readNetFromCaffe", None)
    if read_network is None:
        sys.exit("the classic way needs OpenCV 4: pip install 'opencv-python<5'")
    print("[INFO] loading face detector model...", flush=True)
    face_net = read_network(str(PROTOTXT), str(args.face / WEIGHTS_NAME))
    print("[INFO] loading face mask detector model...", flush=True)
    mask_net = load_model(args.model)
    if args.what == "image":
        label_images(args.image, args.output, face_net, mask_net, args.confidence)
    else:
        label_video(args.source, face_net, mask_net, args.confidence)


def find_faces(image, face_net, confidence):
    """Boxes (x1, y1, x2, y2), and crops as the mask model takes them."""
    height, width = image.shape[:2]
    face_net.setInput(cv2.dnn.blobFromImage(image, 1.0, (300, 300), (104.0, 177.0, 123.0)))
    found = face_net.forward()
    boxes, crops = [], []
    for i in range(found.shape[2]):
        if found[0, 0, i, 2] <= confidence:
            continue
        corners = found[0, 0, i, 3:7] * np.array([width, height, width, height])
        x1, y1, x2, y2 = corners.astype("int")
        x1, y1, x2, y2 = max(0, x1), max(0, y1), min(width - 1, x2), min(height - 1, y2)
        crop = image[y1:y2, x1:x2]
        if crop.size == 0:
            continue
        crop = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB), (224, 224))
        boxes.append((x1, y1, x2, y2))
        crops.append(preprocess_input(img_to_array(crop)))
    return boxes, crops


def draw(image, box, prediction):
    x1, y1, x2, y2 = box
    masked, bare = prediction
    word, colour = ("Mask", (0, 255, 0)) if masked > bare else ("No Mask", (0, 0, 255))
    text = f"{word}: {max(masked, bare) * 100:.2f}%"
    cv2.putText(image, text, (x1, y1 - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 2)
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, 2)


def label_images(paths, folder, face_net, mask_net, confidence):
    start = time.perf_counter()
    for path in paths:
        image = cv2.imread(path)
        assert image is not None, path
        boxes, crops = find_faces(image, face_net, confidence)
        for box, crop in zip(boxes, crops, strict=True):
            draw(image, box, mask_net.predict(np.expand_dims(crop, axis=0), verbose=0)[0])
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / Path(path).name), image)
    seconds = time.perf_counter() - start
    print(f"[INFO] {len(paths)} images in {seconds:.2f} seconds")


def label_video(source, face_net, mask_net, confidence):
    capture = cv2.VideoCapture(source)
    fps = FPS().start()
    frames = faces = 0
    while True:
        read, frame = capture.read()
        if not read:
            break
        frame = imutils.resize(frame, width=400)
        boxes, crops = find_faces(frame, face_net, confidence)
        faces += len(crops)
        if crops:
            batch = np.array(crops, dtype="float32")
            predictions = mask_net.predict(batch, batch_size=32, verbose=0)
            for box, prediction in zip(boxes, predictions, strict=True):
                draw(frame, box, prediction)
        fps.update()
        frames += 1
    fps.stop()
    print(f"[INFO] {frames} frames in {fps.elapsed():.1f} seconds, {fps.fps():.1f} FPS")
    print(f"[INFO] {faces} faces")


if __name__ == "__main__":
    main()
