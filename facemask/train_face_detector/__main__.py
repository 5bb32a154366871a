"""Train the built-in face detector on photographs with annotated faces, and on portraits.

    python -m facemask.train_face_detector --scenes scenes scenes2 --dataset dataset real_crops \\
        --video street.mp4 four_people.mp4

Writes the detector for LiteRT, a plot of the training and a card that says what it was made of and
how good it is. YuNet's weights must be at hand (--face): it finds the faces of portraits, and those
that nobody annotated, in videos too.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemask.console import info, run
from facemask.errors import FacemaskError
from facemask.files import PROJECT, check_writable, find, replacing
from facemask.options import ArgumentParser, file_with_suffix, number_above, whole_number

if TYPE_CHECKING:
    from facemask.train_face_detector.samples import AnnotatedImage

COMMAND = "facemask.train_face_detector"
EPOCHS = 64
STEPS = 100  # of an epoch
# Windows of a batch, and their size in pixels. Every fourth batch has fewer and larger ones, or
# faces that fill an image would never be seen.
BATCH_SIZE = 16
SIZE, LARGE_SIZE = 384, 640
LEARNING_RATE = 1e-3
SLIMMED_ON = 96  # windows that the base is slimmed to
VALIDATE_EVERY = 4  # epochs
# Of scenes that the split knows nothing of, so many are for the figures, and of the rest so many
# for validation and calibration.
TEST_SIZE, VALIDATION_SIZE = 0.2, 0.1
# Of so many portraits of bare faces one is shown with a mask drawn onto it, as well.
DRAW_EVERY = 2


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(
        prog=f"python -m {COMMAND}", description="Train the built-in face detector."
    )
    add = parser.add_argument
    add(
        "--scenes",
        required=True,
        nargs="+",
        metavar="DIR",
        help="folders of photographs with annotated faces (Pascal VOC XML)",
    )
    add(
        "-d",
        "--dataset",
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of portraits, whose faces YuNet finds",
    )
    add(
        "--video",
        nargs="+",
        default=[],
        metavar="FILE",
        help="videos, of which some frames are learnt from; YuNet finds their faces, too",
    )
    add(
        "--split",
        type=Path,
        default=Path("mask_detector.split.json"),
        metavar="FILE",
        help="which photographs are for training, for validation and for the figures, as"
        " train_mask_detector.py writes it (%(default)s); a folder of scenes of which it knows"
        " none is parted anew",
    )
    add(
        "-f",
        "--face",
        default="face_detector",
        metavar="DIR",
        help="folder with YuNet's weights (%(default)s)",
    )
    add(
        "-o",
        "--output",
        type=file_with_suffix(".tflite"),
        default=PROJECT / "face_detector" / "builtin.tflite",
        metavar="FILE",
        help="detector to write; its plot and card, and the checkpoint, lie beside it"
        " (face_detector/builtin.tflite)",
    )
    add("--epochs", type=whole_number(1), default=EPOCHS, help="(%(default)s)")
    add(
        "--stop-after",
        type=whole_number(1),
        metavar="EPOCHS",
        help="end after so many of them, though the learning rate falls as for all of them",
    )
    add("--steps", type=whole_number(1), default=STEPS, help="of an epoch (%(default)s)")
    add("--batch-size", type=whole_number(1), default=BATCH_SIZE, help="(%(default)s)")
    add("--learning-rate", type=number_above(0), default=LEARNING_RATE, help="(%(default)s)")
    add("--seed", type=whole_number(0), default=42, help="of all that is random (%(default)s)")
    add(
        "--weights",
        default="imagenet",
        metavar="{imagenet,none,PATH}",
        help="of the MobileNetV2 that the base is slimmed from (%(default)s)",
    )
    add(
        "--start",
        type=Path,
        metavar="FILE",
        help="begin with the weights that an earlier run's --keep-weights wrote, instead of a"
        " slimmed MobileNetV2: to learn more, of one's own scenes, say",
    )
    add(
        "--blend",
        type=number_above(0, below=1),
        metavar="SHARE",
        help="mix in the end so much of what was learnt with the rest of what --start had",
    )
    add(
        "--keep-weights",
        type=file_with_suffix(".weights.h5"),
        metavar="FILE",
        help="write the Keras weights of the trained network, a .weights.h5 file",
    )
    add("--resume", action="store_true", help="go on from the checkpoint of a run that ended early")
    args = parser.parse_args(argv)
    if args.blend and not args.start:
        parser.error("--blend mixes with the weights of --start, which is missing")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_arguments(argv)
    from facemask.train import backbones

    plot, card = args.output.with_suffix(".png"), args.output.with_suffix(".md")
    checkpoint, state = checkpoint_files(args.output)
    kept = [args.keep_weights] if args.keep_weights else []
    check_writable(args.output, plot, card, checkpoint, state, *kept)
    backbones.check_weights(args.weights)
    for option, path in (("--start", args.start), ("--keep-weights", args.keep_weights)):
        if path and find(path).resolve() == checkpoint.resolve():
            raise FacemaskError(
                f"{path}: is where this run's checkpoint grows, to be removed at its end; give"
                f" another {option}"
            )
    if args.start and not find(args.start).is_file():
        raise FacemaskError(f"{args.start}: no such file; expected weights of --keep-weights")
    if args.resume and not (checkpoint.is_file() and state.is_file()):
        raise FacemaskError(f"{checkpoint}: no such file; expected the checkpoint of a run")
    with tempfile.TemporaryDirectory(prefix="facemask-") as made:
        return train(args, load_photographs(args, Path(made)))


def train(args: argparse.Namespace, parts: "dict[str, list[AnnotatedImage]]") -> int:
    """Train, calibrate, measure and write the detector, or go on doing so."""
    from facemask.train import backbones, model
    from facemask.train_face_detector import trainer as trainer_module

    plot, card = args.output.with_suffix(".png"), args.output.with_suffix(".md")
    checkpoint, state = checkpoint_files(args.output)
    info("compiling model...")
    model.set_seed(args.seed)
    trainer = trainer_module.Trainer(
        parts["train"],
        shapes(args.batch_size),
        args.steps,
        args.epochs,
        args.learning_rate,
        args.seed,
        args.stop_after,
    )
    curves: dict[str, list[float]] = {name: [] for name in trainer_module.CURVES}
    start = trainer_module.read_weights(find(args.start)) if args.start else []
    if args.resume:
        curves = trainer_module.restore(trainer, checkpoint, state)
    elif args.start:
        trainer.network.set_weights(start)
    elif args.weights != "none":
        trainer.prune_channels(backbones.load_backbone(args.weights), SLIMMED_ON)

    info("training...")
    started = time.monotonic()

    def after_epoch(epoch: int, loss: float) -> None:
        curves["loss"].append(loss)
        line = f"epoch {epoch + 1} of {args.epochs}: loss {loss:.3f}"
        if (epoch + 1) % VALIDATE_EVERY == 0:
            with trainer.averaged():
                found = trainer_module.average_precision(trainer.network, parts["validation"])
            curves["epoch"].append(epoch + 1)
            curves["average_precision"].append(found)
            line += f", average precision on validation {found:.3f}"
        trainer_module.save(trainer, checkpoint, state, curves)
        info(f"{line}, {time.monotonic() - started:.0f} s")

    trainer.fit(first_epoch=len(curves["loss"]), after_epoch=after_epoch)
    trainer.finish()
    if args.blend:
        trainer.blend(start, args.blend)
    found = trainer_module.average_precision(trainer.network, parts["validation"])
    info(f"average precision on validation, in the end, {found:.3f}")

    info("calibrating confidences...")
    scale, offset = trainer_module.calibrate(trainer.network, parts["validation"])
    info("saving face detector...")
    trainer_module.export(args.output, trainer.network, scale, offset)
    if args.keep_weights:
        trainer_module.save_weights(trainer, args.keep_weights)
    figures = trainer_module.figures(args.output, parts)
    with replacing(card) as part:
        part.write_text(card_text(args, parts, figures, scale, offset), encoding="utf-8")
    trainer_module.plot(plot, curves)
    print(figures)
    info(f"wrote {args.output}, {card.name} and {plot.name} beside it")
    for leftover in (checkpoint, state):
        leftover.unlink(missing_ok=True)
    return 0


def checkpoint_files(output: Path) -> tuple[Path, Path]:
    """Where the weights and the curves of a run under way lie."""
    return output.with_suffix(".weights.h5"), output.with_suffix(".state.json")


def shapes(batch_size: int) -> list[tuple[int, int]]:
    """Sizes and windows of the batches in turn; the large ones have about as many pixels."""
    usual = (SIZE, batch_size)
    # Keras looks at the first two batches to learn which sides differ.
    return [usual, (LARGE_SIZE, max(1, round(batch_size * (SIZE / LARGE_SIZE) ** 2))), usual, usual]


def load_photographs(args: argparse.Namespace, made: Path) -> "dict[str, list[AnnotatedImage]]":
    """The photographs of each part; those of the parts not learnt from with annotations only.

    made: an empty folder for those that are made of others.
    """
    import numpy as np
    from tqdm import tqdm

    from facemask.data.dataset import file_digest
    from facemask.data.near_duplicates import near_duplicate_groups
    from facemask.data.pascal_voc import load_scenes
    from facemask.data.splits import PARTS, part_groups, read_split
    from facemask.detect.yunet import YuNetFaceDetector
    from facemask.images import list_files
    from facemask.train_face_detector.pseudo_labels import BARE, Teacher, annotated

    part_of = read_split(find(args.split))
    info("loading face detector model...")
    teacher = Teacher(YuNetFaceDetector.load(find(args.face)))
    progress: Callable[..., Any] = partial(tqdm, disable=None, unit=" images")
    info("loading images...")
    scenes: dict[str, list[Any]] = {part: [] for part in PARTS}
    unknown = 0
    for folder in map(find, args.scenes):
        found = load_scenes(folder, progress).scenes
        digests = [file_digest(scene.path) for scene in found]
        known = [part_of.get(digest) for digest in digests]
        if not any(known):  # photographs of one's own
            groups = near_duplicate_groups([scene.path for scene in found], digests)
            known = part_groups(groups, TEST_SIZE, VALIDATION_SIZE, args.seed)
        unknown += sum(part is None for part in known)
        for scene, part in zip(found, known, strict=True):
            if part:
                scenes[part].append(scene)
    if not scenes["train"] or not scenes["validation"]:
        raise FacemaskError(
            f"{args.split}: expected parts of the scenes for training and for validation, found"
            f" {len(scenes['train'])} and {len(scenes['validation'])} photographs"
        )
    teacher.learn(scenes["train"])
    photographs = {part: [annotated(scene) for scene in scenes[part]] for part in PARTS}
    photographs["train"] = [teacher.scene(scene) for scene in progress(scenes["train"])]
    files = [path for folder in map(find, args.dataset) for path in list_files(folder)]
    chosen = [path for path in files if part_of.get(file_digest(path)) == "train"]
    portraits = [teacher.portrait(path) for path in progress(chosen)]
    bare = [path for path in chosen if path.parent.name == BARE][::DRAW_EVERY]
    portraits += [
        teacher.masked(path, made / f"{number}.png", np.random.default_rng((args.seed, number)))
        for number, path in enumerate(progress(bare))
    ]
    photographs["train"] += [one for one in portraits if one]
    for number, video in enumerate(map(find, args.video)):
        frames = made / f"video-{number}"
        frames.mkdir()
        photographs["train"] += teacher.frames(video, frames)
    counts = ", ".join(f"{len(photographs[part])} for {part}" for part in PARTS)
    info(f"images: {counts}; {unknown} scenes are not in the split")
    return photographs


def card_text(
    args: argparse.Namespace,
    parts: "dict[str, list[AnnotatedImage]]",
    figures: str,
    scale: float,
    offset: float,
) -> str:
    """The card in Markdown. Folders appear by their names: a path would tell of the machine."""
    from facemask.train.model import versions
    from facemask.train_face_detector.trainer import F1_TOLERANCE

    sources = {"scenes": args.scenes, "dataset": args.dataset, "video": args.video}
    options = " ".join(
        f"--{option} {' '.join(find(path).resolve().name for path in paths)}"
        for option, paths in sources.items()
        if paths
    )
    settings = {
        name: getattr(args, name)
        for name in ("epochs", "steps", "batch_size", "learning_rate", "seed")
    }
    for name, value in (
        ("stop_after", args.stop_after),
        ("start", args.start),
        ("blend", args.blend),
    ):
        if value:
            settings[name] = value.name if isinstance(value, Path) else value
    learnt = parts["train"]
    scenes = [one for one in learnt if not one.portrait]
    portraits = [one for one in learnt if one.portrait]
    return f"""# The built-in face detector: {args.output.name}

Made by

    python -m {COMMAND} {options}

with the settings `{json.dumps(settings)}` and the versions `{json.dumps(versions())}`.

- Learnt from {len(scenes)} scenes and frames with {sum(len(one.faces) for one in scenes)} faces,
  annotated in scenes and YuNet's in frames; where YuNet alone sees a face in a scene, the detector
  may say what it likes.
- Learnt from {len(portraits)} portraits with {sum(len(one.faces) for one in portraits)} faces,
  whose boxes are YuNet's, brought to the annotators' shape. In some a mask was drawn onto the face.
- Calibrated on {len(parts["validation"])} other scenes: the logit times {scale:.2f} plus
  {offset:.2f}. On these, F1 is within {F1_TOLERANCE:g} of its greatest at a confidence of .5.

The photographs of the following figures were used for neither. Boxes count as found from an IoU of
.5 on, at confidence .5.

{figures}
"""


if __name__ == "__main__":
    run(main)
