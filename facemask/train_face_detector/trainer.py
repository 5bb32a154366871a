"""Training, calibrating, measuring and writing the built-in face detector."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import cv2
import numpy as np

from facemask.detect.builtin import BuiltinFaceDetector, decode_predictions, input_size
from facemask.errors import FacemaskError
from facemask.files import replacing
from facemask.geometry import ious
from facemask.images import read_image
from facemask.keras_backend import load_keras
from facemask.train.export import convert
from facemask.train_face_detector.network import build_face_network, prune_channels
from facemask.train_face_detector.samples import AnnotatedImage, face_batches, of_kind, sample
from facemask.train_face_detector.targets import face_loss

WARMUP_STEPS = 200
LAST_RATE = 0.02  # of the learning rate, where its cosine ends and its warm-up begins
WEIGHT_DECAY = 1e-3
CLIP = 10.0  # of the gradient's norm
# The network that is kept is a mean of the last some hundred steps' networks.
AVERAGING = 0.998
LEAST_CONFIDENCE = 0.02  # of boxes that average precision looks at
FACE_IOU = 0.5
WIDE_FACE_PX = 32  # pixels across

# What is noted after each epoch; average precision, on validation, only after some.
CURVES = ("loss", "epoch", "average_precision")
# The default confidence is the lowest of those whose F1 is so near the greatest: on fifty
# photographs that is no difference, and a face that is not found is not labelled at all.
F1_TOLERANCE = 0.01


class Trainer:
    """The network, its optimizer and its stream of random windows."""

    def __init__(
        self,
        photographs: Sequence[AnnotatedImage],
        shapes: Sequence[tuple[int, int]],
        steps: int,
        epochs: int,
        rate: float,
        seed: int,
        stop_after: int | None = None,
    ):
        """epochs: of the learning rate's fall; stop_after: how many of them to train, or all."""
        keras = load_keras()
        self._photographs, self._shapes, self._seed = photographs, shapes, seed
        self._steps, self._epochs = steps, min(epochs, stop_after or epochs)
        self.network = build_face_network()
        schedule = keras.optimizers.schedules.CosineDecay(
            LAST_RATE * rate,
            max(1, steps * epochs - WARMUP_STEPS),
            alpha=LAST_RATE,
            warmup_target=rate,
            warmup_steps=WARMUP_STEPS,
        )
        self._optimizer = keras.optimizers.AdamW(
            schedule,
            weight_decay=WEIGHT_DECAY,
            clipnorm=CLIP,
            use_ema=True,
            ema_momentum=AVERAGING,
        )
        self.network.compile(self._optimizer, loss=face_loss)

    def prune_channels(self, base: Any, windows: int) -> None:
        """Start from a full MobileNetV2's knowledge; see face_network.prune_channels."""
        rng = np.random.default_rng(self._seed)
        kinds = of_kind(self._photographs)
        side = base.input_shape[1]
        size, _ = self._shapes[0]
        images = [sample(kinds, size, rng)[0] for _ in range(windows)]
        prune_channels(self.network, base, [cv2.resize(image, (side, side)) for image in images])

    def fit(self, first_epoch: int, after_epoch: Callable[[int, float], None]) -> None:
        """Train from an epoch on, and call after_epoch(epoch, loss) after each."""
        keras = load_keras()
        if first_epoch >= self._epochs:
            return
        stream = face_batches(self._photographs, self._shapes, self._steps, self._seed, first_epoch)
        told = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: after_epoch(epoch, float(logs["loss"]))
        )
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # the stream has threads of its own
        try:
            self.network.fit(
                stream,
                epochs=self._epochs,
                initial_epoch=first_epoch,
                shuffle=False,  # the stream is random
                callbacks=[told],
                verbose=0,
            )
        finally:
            cv2.setNumThreads(threads)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The network with the mean weights, for as long as the block lasts."""
        variables = self.network.trainable_variables
        kept = [np.asarray(variable) for variable in variables]
        self.finish()
        try:
            yield
        finally:
            for variable, value in zip(variables, kept, strict=True):
                variable.assign(value)

    def finish(self) -> None:
        """Give the network the mean weights for good."""
        self._optimizer.finalize_variable_values(self.network.trainable_variables)

    def blend(self, start: Sequence[np.ndarray], share: float) -> None:
        """Mix so much of what was learnt with the rest of the weights that were begun with.

        The mean of weights before and after further training may be better than both, the after
        being near enough to the before (Wortsman et al., Robust fine-tuning of zero-shot models,
        2022).
        """
        learnt = self.network.get_weights()
        pairs = zip(start, learnt, strict=True)
        self.network.set_weights([(1 - share) * before + share * now for before, now in pairs])


def save(trainer: Trainer, checkpoint: Path, state: Path, curves: dict[str, list[float]]) -> None:
    """Write weights, the optimizer's state and the curves, each whole or not at all."""
    _save_weights(trainer.network, checkpoint)
    with replacing(state) as part:
        part.write_text(json.dumps(curves) + "\n", encoding="utf-8")


def save_weights(trainer: Trainer, path: Path) -> None:
    """Write the network's weights, without the optimizer's state: whole, or not at all."""
    network = build_face_network()
    network.set_weights(trainer.network.get_weights())
    _save_weights(network, path)


def _save_weights(network: Any, path: Path) -> None:
    with replacing(path) as part:
        # Keras insists on the suffix.
        whole = part.with_name(f"{part.name}.weights.h5")
        network.save_weights(whole)
        whole.rename(part)


def read_weights(path: Path) -> list[np.ndarray]:
    """The network's weights that save_weights wrote, for Trainer.network.set_weights.

    Raises FacemaskError for a file that is damaged or of another network.
    """
    network = build_face_network()
    try:
        network.load_weights(path)
    except Exception as error:
        raise _refusal(path, error, "weights") from error
    return network.get_weights()


def restore(trainer: Trainer, checkpoint: Path, state: Path) -> dict[str, list[float]]:
    """Read what save wrote into a trainer of the same settings; returns the curves.

    Raises FacemaskError for files that are damaged or of another network.
    """
    try:
        trainer.network.optimizer.build(trainer.network.trainable_variables)
        trainer.network.load_weights(checkpoint)
        curves = json.loads(state.read_text(encoding="utf-8"))
        return {name: [float(value) for value in curves[name]] for name in CURVES}
    except Exception as error:
        raise _refusal(checkpoint, error, "a checkpoint") from error


def _refusal(path: Path, error: Exception, what: str) -> FacemaskError:
    # h5py and Keras raise a dozen kinds, of many lines.
    said = " ".join(str(error).split())[:300]
    return FacemaskError(f"{path}: expected {what} of this network: {said}")


Found = list[tuple[float, bool, float]]  # confidence, whether of a face, that face's width


def _found(
    detect: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    photographs: Sequence[AnnotatedImage],
) -> Found:
    """What a detector says of photographs; each face goes to the surest box that has it."""
    found: Found = []
    for one in photographs:
        boxes, confidences = detect(read_image(one.path))
        free = np.ones(len(one.faces), bool)
        for box, confidence in zip(boxes, confidences, strict=True):
            shares = ious(box, one.faces) * free if len(one.faces) else np.zeros(1)
            best = int(shares.argmax())
            right = bool(shares[best] >= FACE_IOU)
            if right:
                free[best] = False
            width = one.faces[best, 2] - one.faces[best, 0] if right else 0.0
            found.append((float(confidence), right, float(width)))
    return sorted(found, reverse=True)


def raw_detector(
    network: Any, confidence: float = LEAST_CONFIDENCE
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """What finds boxes and uncalibrated confidences in an image by the Keras network itself."""

    def detect(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = image.shape[:2]
        rows, columns = input_size(height, width)
        shown = cv2.resize(image, (columns, rows)).astype(np.float32)[None]
        answers = np.array(network(shown, training=False))[0]
        answers[:, 0] = 1 / (1 + np.exp(-answers[:, 0]))
        answers[:, 1:] = np.exp(np.clip(answers[:, 1:], -4.0, 4.0))
        boxes, confidences = decode_predictions(answers, rows, columns, confidence)
        return boxes * np.tile([width / columns, height / rows], 2), confidences

    return detect


def average_precision(network: Any, photographs: Sequence[AnnotatedImage]) -> float:
    """The area under precision over recall, at an IoU of .5, as Pascal VOC has it since 2010."""
    found = _found(raw_detector(network), photographs)
    right = np.array([one[1] for one in found], float)
    total = sum(len(one.faces) for one in photographs)
    if not len(found) or not total:
        return 0.0
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((best * right).sum() / total)


def calibrate(network: Any, photographs: Sequence[AnnotatedImage]) -> tuple[float, float]:
    """Scale and offset of the logit, from boxes in photographs that were not learnt from.

    The scale is that of a logistic regression of boxes being right (Platt, Probabilistic Outputs
    for Support Vector Machines, 1999). The offset puts a confidence of .5, which is the default,
    to where F1 is all but greatest: half of all boxes being right would be a bad place to stop.
    """
    from sklearn.linear_model import LogisticRegression

    found = _found(raw_detector(network), photographs)
    right = np.array([one[1] for one in found])
    if right.all() or not right.any():
        return 1.0, 0.0  # nothing to tell apart, as after a first try-out
    sure = np.clip([one[0] for one in found], 1e-6, 1 - 1e-6)
    logits = np.log(sure / (1 - sure))
    scale = float(LogisticRegression(C=1e6).fit(logits[:, None], right).coef_[0, 0])
    if scale <= 0:
        return 1.0, 0.0
    count = np.arange(1, len(found))  # of boxes that are taken, the surest first
    f1 = 2 * np.cumsum(right)[:-1] / (count + sum(len(one.faces) for one in photographs))
    best = int(np.flatnonzero(f1 >= f1.max() - F1_TOLERANCE)[-1])
    return scale, -scale * float(logits[best] + logits[best + 1]) / 2


def export(path: Path, network: Any, scale: float, offset: float) -> None:
    """Write the network for LiteRT, for builtin.decode_predictions, the calibration worked in."""
    ops = load_keras().ops

    def forward(batch: Any) -> Any:
        answers = network(batch, training=False)
        face = ops.sigmoid(answers[..., :1] * scale + offset)
        return ops.concatenate([face, ops.exp(ops.clip(answers[..., 1:], -4.0, 4.0))], axis=-1)

    content = convert(path, forward, (1, None, None, 3))
    with replacing(path) as part:
        part.write_bytes(content)


def figures(path: Path, parts: dict[str, list[AnnotatedImage]]) -> str:
    """A table of what the written detector finds in the photographs that are for the figures."""
    detector = BuiltinFaceDetector.load(path)

    def detect(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        faces = detector.detect(image)
        boxes = np.array([(one.x1, one.y1, one.x2, one.y2) for one in faces], np.float32)
        return boxes.reshape(-1, 4), np.array([one.confidence for one in faces])

    lines = [
        "| scenes | photographs | faces | found | of 32 pixels or more | precision |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in sorted({one.path.parent.parent.name for one in parts["test"]}):
        photographs = [one for one in parts["test"] if one.path.parent.parent.name == name]
        found = _found(detect, photographs)
        widths = np.concatenate([one.faces[:, 2] - one.faces[:, 0] for one in photographs])
        right = sum(one[1] for one in found)
        large = sum(one[1] and one[2] >= WIDE_FACE_PX for one in found)
        lines.append(
            f"| {name} | {len(photographs)} | {len(widths)} | {_share(right, len(widths))} |"
            f" {_share(large, int((widths >= WIDE_FACE_PX).sum()))} | {_share(right, len(found))} |"
        )
    frame = np.full((480, 640, 3), 127, np.uint8)
    times = []
    for _ in range(40):
        start = perf_counter()
        detector.detect(frame)
        times.append(perf_counter() - start)
    return "\n".join([*lines, "", f"{median(times) * 1e3:.1f} ms for an image of 640x480 pixels."])


def _share(count: int, total: int) -> str:
    return f"{count / total:.3f}" if total else "-"


def plot(path: Path, curves: dict[str, list[float]]) -> None:
    """Draw the loss and, beside it, the average precision; the suffix decides the format."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(range(1, len(curves["loss"]) + 1), curves["loss"])
    left.set(xlabel="Epoch", title="Training loss")
    right.plot(curves["epoch"], curves["average_precision"], marker=".")
    right.set(xlabel="Epoch", title="Average precision on validation, mean weights")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    with replacing(path) as part:
        figure.savefig(part, dpi=120)
