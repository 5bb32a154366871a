"""The classic way to train, for comparison: what tutorials on mask detection with Keras do.

    python benchmarks/classic_training.py --dataset dataset --model classic.keras --plot plot.png

All images are loaded first as float32, at 224x224 pixels. ImageDataGenerator augments them in each
epoch, and the frozen backbone computes all of them again. The test images are also used for
validation.
"""

import argparse

import matplotlib as mpl
import numpy as np
from imutils import paths
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelBinarizer
from tensorflow.keras.applications import MobileNetV2  # pyright: ignore[reportMissingImports]
from tensorflow.keras.applications.mobilenet_v2 import (  # pyright: ignore[reportMissingImports]
    preprocess_input,
)
from tensorflow.keras.layers import (  # pyright: ignore[reportMissingImports]
    AveragePooling2D,
    Dense,
    Dropout,
    Flatten,
    Input,
)
from tensorflow.keras.models import Model  # pyright: ignore[reportMissingImports]
from tensorflow.keras.optimizers import Adam  # pyright: ignore[reportMissingImports]
from tensorflow.keras.preprocessing.image import (  # pyright: ignore[reportMissingImports]
    ImageDataGenerator,
    img_to_array,
    load_img,
)
from tensorflow.keras.utils import (  # pyright: ignore[reportMissingImports]
    set_random_seed,
    to_categorical,
)

mpl.use("Agg")
RATE, EPOCHS, BATCH = 1e-4, 20, 32


def main() -> None:
    import matplotlib.pyplot as plt

    parser = argparse.ArgumentParser(description="Train in the classic way.")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--plot", required=True)
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    set_random_seed(args.seed)

    print("[INFO] loading images...", flush=True)
    data, labels = [], []
    for path in paths.list_images(args.dataset):
        data.append(preprocess_input(img_to_array(load_img(path, target_size=(224, 224)))))
        labels.append(path.split("/")[-2])
    binarizer = LabelBinarizer()
    targets = to_categorical(binarizer.fit_transform(np.array(labels)))
    train_x, test_x, train_y, test_y = map(
        np.asarray,
        train_test_split(
            np.array(data, dtype="float32"), targets,
            test_size=0.2, stratify=targets, random_state=args.seed,
        ),
    )  # fmt: skip
    del data  # otherwise the images would be in memory twice
    augmentation = ImageDataGenerator(
        rotation_range=20, zoom_range=0.15, width_shift_range=0.2, height_shift_range=0.2,
        shear_range=0.15, horizontal_flip=True, fill_mode="nearest",
    )  # fmt: skip

    backbone = MobileNetV2(include_top=False, input_tensor=Input((224, 224, 3)))
    head = AveragePooling2D((7, 7))(backbone.output)
    head = Dense(128, activation="relu")(Flatten()(head))
    head = Dense(2, activation="softmax")(Dropout(0.5)(head))
    model = Model(backbone.input, head)
    for layer in backbone.layers:
        layer.trainable = False
    print("[INFO] compiling model...", flush=True)
    model.compile(loss="binary_crossentropy", optimizer=Adam(RATE), metrics=["accuracy"])
    print("[INFO] training head...", flush=True)
    history = model.fit(
        augmentation.flow(train_x, train_y, batch_size=BATCH),
        validation_data=(test_x, test_y),
        epochs=EPOCHS,
        verbose=2,
    ).history

    print("[INFO] evaluating network...", flush=True)
    predicted = model.predict(test_x, batch_size=BATCH, verbose=0).argmax(axis=1)
    names = [str(name) for name in binarizer.classes_]
    print(classification_report(test_y.argmax(axis=1), predicted, target_names=names))
    print("[INFO] saving mask detector model...", flush=True)
    model.save(args.model)
    plt.figure()
    for name, curve in history.items():
        plt.plot(np.arange(EPOCHS), curve, label=name)
    plt.legend()
    plt.savefig(args.plot)
    accuracy = (predicted == test_y.argmax(axis=1)).mean()
    print(f"[INFO] test accuracy {accuracy:.4f} on {len(predicted)} images")


if __name__ == "__main__":
    main()
