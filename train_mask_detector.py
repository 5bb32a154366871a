"""Train a face mask detector on a folder of labelled images.

    python train_mask_detector.py --dataset dataset

The sub-folders of the data set are the classes (with_mask, without_mask). Writes the model, with
its class names inside it, and a plot of the training.
"""

import argparse
from functools import partial

from facemask.console import (
    ArgumentParser,
    file_with_suffix,
    info,
    number_above,
    run,
    warn,
    whole_number,
)
from facemask.files import PROJECT, check_writable, find

# The recipe of the classic tutorial; the network itself and its head are in facemask/training.py.
EPOCHS = 20
BATCH_SIZE = 32
LEARNING_RATE = 1e-4
TEST_SIZE = 0.2
SEED = 42
# Of the images that are left after the test part. The tutorial watched its test images while
# training; here the curves come from images that neither the training nor the report uses.
VALIDATION_SIZE = 0.1
# What a model file tells of its training; no path, which would tell of the machine.
SETTINGS = ("epochs", "fine_tune_epochs", "batch_size", "learning_rate", "test_size", "seed")
# The base learns at a tenth of the head's rate: more would undo what ImageNet taught it.
FINE_TUNE_RATE = 0.1


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description="Train a face mask detector on labelled images.")
    add = parser.add_argument
    add("-d", "--dataset", required=True, help="folder with a sub-folder of images for each class")
    add(
        "-p",
        "--plot",
        type=file_with_suffix(".png", ".jpg", ".svg", ".pdf"),
        default="plot.png",
        help="picture of the training to write (%(default)s)",
    )
    add(
        "-m",
        "--model",
        type=file_with_suffix(".keras"),
        default="mask_detector.keras",
        help="model to write, a .keras file (%(default)s)",
    )
    add(
        "--epochs",
        type=whole_number(1),
        default=EPOCHS,
        help="times that the head sees the images (%(default)s)",
    )
    add(
        "--fine-tune-epochs",
        type=whole_number(0),
        default=0,
        help="further epochs, in which all of MobileNetV2 learns (%(default)s)",
    )
    add(
        "--batch-size", type=whole_number(1), default=BATCH_SIZE, help="images a step (%(default)s)"
    )
    add(
        "--learning-rate",
        type=number_above(0),
        default=LEARNING_RATE,
        help="of the Adam optimizer (%(default)s)",
    )
    add(
        "--test-size",
        type=number_above(0, below=1),
        default=TEST_SIZE,
        help="fraction of the images that is kept for the report (%(default)s)",
    )
    add(
        "--seed",
        type=whole_number(0),
        default=SEED,
        help="the same seed gives the same split and figures (%(default)s)",
    )
    add(
        "--weights",
        default="imagenet",
        metavar="{imagenet,none,PATH}",
        help="what MobileNetV2 starts from (%(default)s)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    # Imported once the arguments are known to be good: --help and a typo answer at once.
    from sklearn.metrics import classification_report
    from tqdm import tqdm

    from facemask import training
    from facemask.dataset import load_labelled_images, split_images
    from facemask.downloads import ensure_dataset
    from facemask.facts import ModelFacts
    from facemask.sample_dataset import is_sample_dataset

    check_writable(args.model)
    check_writable(args.plot)
    training.check_weights(args.weights)
    dataset = find(args.dataset)
    if dataset.resolve() == PROJECT / "dataset":
        ensure_dataset(dataset, info)

    info("loading images...")
    images = load_labelled_images(dataset, progress=partial(tqdm, disable=None, unit=" images"))
    split = split_images(images, args.test_size, VALIDATION_SIZE, args.seed)
    if drawn := is_sample_dataset(dataset):
        warn(f"{dataset} is a drawn sample: the model will know the drawings, not faces")

    info("compiling model...")
    training.make_repeatable(args.seed)
    model = training.build_model(len(images.class_names), args.weights)

    info("training head...")
    settings = {"batch_size": args.batch_size, "seed": args.seed}
    history = training.train(
        model, images, split, epochs=args.epochs, learning_rate=args.learning_rate, **settings
    )
    if args.fine_tune_epochs:
        info("fine-tuning...")
        training.unfreeze(model)
        more = training.train(
            model,
            images,
            split,
            epochs=args.fine_tune_epochs,
            learning_rate=args.learning_rate * FINE_TUNE_RATE,
            **settings,
        )
        history = {name: curve + more[name] for name, curve in history.items()}

    info("evaluating network...")
    truth = images.labels[split.test]
    predicted = training.predict_labels(model, images, split.test, args.batch_size)
    accuracy = float((predicted == truth).mean())
    report = classification_report(
        truth,
        predicted,
        target_names=images.class_names,
        zero_division=0,  # pyright: ignore[reportArgumentType]
    )
    print(report)

    info("saving mask detector model...")
    facts = ModelFacts(
        class_names=images.class_names,
        input_size=training.INPUT_SIZE,
        training={
            "dataset_sha256": images.digest,
            "drawn_sample": drawn,
            "images": {
                "train": len(split.train),
                "validation": len(split.validation),
                "test": len(split.test),
            },
            "settings": {name: str(vars(args)[name]) for name in SETTINGS},
            "test_accuracy": round(accuracy, 4),
            "versions": training.versions(),
        },
    )
    training.save_model(args.model, model, facts)
    training.plot_history(args.plot, history)
    info(f"test accuracy {accuracy:.4f} on {len(truth)} images; wrote {args.model} and {args.plot}")
    if images.skipped:
        total = len(images.paths) + len(images.skipped)
        warn(f"skipped {len(images.skipped)} of {total} images: {'; '.join(images.skipped)}")
    return 0


if __name__ == "__main__":
    run(main)
