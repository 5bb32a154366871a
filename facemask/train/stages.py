"""The stages of a training: the head on a frozen backbone, then the whole network."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from facemask.data.batches import inputs_of
from facemask.data.dataset import LabelledImages, Progress, balanced_weights, no_progress
from facemask.data.splits import Split, split_path, write_split
from facemask.detect.metadata import ModelMetadata, weights_digest
from facemask.files import check_writable
from facemask.keras_backend import load_keras
from facemask.train import fit
from facemask.train.checkpoint import Checkpoint, History, checkpoint_path
from facemask.train.distribution import ALONE, Processes
from facemask.train.export import export_tflite
from facemask.train.feature_cache import cached_head
from facemask.train.model import save_model, unfreeze

# Augmented views of each training image whose features are cached, besides those of the image. With
# more of them, and more epochs, the head that learnt from the classic set gave fewer right answers
# for 1,649 crops of another collection, and no more in its test images (seeds 42, 1 and 2).
VIEWS = 1
# Steps of the head on features that TensorFlow takes in one call: a call of its own for each would
# add half to the time. Ctrl-C waits for so many. PyTorch takes only one.
STEPS_AT_ONCE = 16
# Training images from which int8 quantization takes the ranges of its numbers.
CALIBRATION_IMAGES = 200

HEAD, FINE_TUNING = "head", "fine-tuning"  # the names of the stages in a checkpoint


@dataclass(frozen=True)
class Outputs:
    """The files of a training; some lie beside the model."""

    model: Path
    plot: Path
    report: Path | None = None
    tensorboard: Path | None = None  # a folder

    @property
    def tflite(self) -> Path:
        return self.model.with_suffix(".tflite")

    @property
    def split(self) -> Path:
        return split_path(self.model)

    @property
    def checkpoint(self) -> Path:
        return checkpoint_path(self.model)

    def save(self, training: "Training", record: dict[str, Any]) -> None:
        """Write the model, its TFLite export and the split, each whole or not at all.

        record: report.training_record of the training, whose settings count here.
        """
        settings = record["settings"]
        metadata = ModelMetadata(
            class_names=training.images.class_names,
            input_size=training.model.input_shape[1:3],
            margin=settings["margin"],
            training=record,
        )
        save_model(self.model, training.model, metadata)
        metadata = replace(metadata, twin_of=weights_digest(self.model))
        sample = training.sample(CALIBRATION_IMAGES)
        export_tflite(self.tflite, training.model, metadata, settings["quantize"], sample)
        write_split(self.split, training.images, training.split, settings["seed"])

    def check(self, processes: Processes, make_folders: bool) -> None:
        """Raise FacemaskError for what can't be written by the process that writes."""
        if self.tensorboard:
            fit.check_tensorboard()
        if not processes.chief:
            return
        paths = (self.model, self.plot, self.tflite, self.split, self.checkpoint, self.report)
        check_writable(*(path for path in paths if path), make_folders=make_folders)

    def __str__(self) -> str:
        others = ", ".join(str(path) for path in (self.plot, self.report) if path)
        return f"{self.model}, {self.tflite.name} and {self.split.name} beside it, and {others}"


def open_checkpoint(
    path: Path,
    images: LabelledImages,
    split: Split,
    settings: Mapping[str, Any],
    processes: Processes,
) -> Checkpoint:
    """The checkpoint of a training on these images with these settings.

    Raises FacemaskError when another process has other images or settings.
    """
    processes.check_same("images", images.digest + split.digest)
    # The path of weights may differ between machines.
    shared = {**settings, "weights": Path(settings["weights"]).name}
    processes.check_same("options", json.dumps(shared))
    run: dict[str, Any] = {"data": images.digest[:12], "parts": split.digest[:12]}
    for name, value in settings.items():
        option = "base" if name == "backbone" else name  # the name that older checkpoints have
        run[f"--{option.replace('_', '-')}"] = value
    return Checkpoint(path, run, writes=processes.chief)


class Training:
    """A classifier, the images that it is trained on, and the result so far.

    network, validation, test: the model that predicts, and the batches of these images for it. They
    are the model and its images or, when features are cached, the head and its features.
    history: the curves of all stages, in order. best_epoch: the epoch among them, from 0, whose
    weights the model has. interrupted: whether Ctrl-C ended a stage.
    """

    def __init__(
        self,
        model: Any,
        images: LabelledImages,
        split: Split,
        batches: Callable[..., Any],
        checkpoint: Checkpoint,
        processes: Processes = ALONE,
        *,
        seed: int,
        classic: bool = False,
        feature_cache: bool = True,
        early_stopping: bool = True,
        mixed_precision: bool | None = None,
        tensorboard: Path | None = None,
    ):
        """batches: data.batches.batches for these images, with the sizes already given.

        classic: augment whole images as the tutorial does, and give all the same weight.
        feature_cache: train the head on features that are computed once. Several processes do not:
        they share batches of images. mixed_precision: None decides by the GPU.
        """
        self.model, self.images, self.split = model, images, split
        self._batches, self._checkpoint, self._shard = batches, checkpoint, processes.shard
        self._seed, self._early_stopping = seed, early_stopping
        self._feature_cache = feature_cache and processes.count == 1
        if mixed_precision is None:
            mixed_precision = fit.supports_mixed_precision()
        self._train_stage = partial(
            fit.train,
            checkpoint=checkpoint,
            early_stopping=early_stopping,
            mixed_precision=mixed_precision and processes.count == 1,
            tensorboard=tensorboard if processes.chief else None,
            processes=processes,
        )
        weights = None if classic else balanced_weights(images, split.train)
        self._plain = partial(batches, split.train, weights=weights)
        self._augmented = partial(self._plain, augmentation="classic" if classic else "face")
        self._head_batches: Any = None
        self.network, self.validation, self.test = self._on_images()
        self.history: History = {}
        self.best_epoch = 0
        self.interrupted = False

    def _on_images(self) -> tuple[Any, Any, Any]:
        """The model, with the validation and the test images."""
        return self.model, self._batches(self.split.validation), self._batches(self.split.test)

    def sample(self, count: int) -> Iterator[np.ndarray]:
        """About so many training inputs, (height, width, 3) float32, evenly spread, unaltered."""
        step = -(-len(self.split.train) // count)
        return inputs_of(self._batches(self.split.train[::step]))

    def train_one_batch(self) -> float:
        """Train on one batch; returns the seconds it took, with reading."""
        return fit.train_one_batch(self.model, self._augmented())

    @property
    def needs_features(self) -> bool:
        """Whether the head is to be trained on features that are not computed yet."""
        return self._feature_cache and self._checkpoint.stage != FINE_TUNING

    def cache_features(self, batch_size: int, progress: Progress = no_progress) -> None:
        """Compute the features that the head is trained, validated and tested on.

        Raises FacemaskError when an image can no longer be read.
        """
        views = [self._plain()]
        views += [self._augmented(seed=self._seed + view) for view in range(VIEWS)]
        others = [self.validation, self.test]
        self.network, self._head_batches, self.validation, self.test = cached_head(
            self.model, views, others, batch_size, self._seed, progress
        )

    def train_head(self, epochs: int, learning_rate: float) -> None:
        """Train the head, or take up its curves if the checkpoint is beyond this stage."""
        if self._checkpoint.stage == FINE_TUNING:
            self.history = self._checkpoint.stages[HEAD]
        else:
            batches, validation, steps = self._head_batches, self.validation, STEPS_AT_ONCE
            if batches is None:
                batches = self._augmented(seed=self._seed, shard=self._shard)
                validation, steps = self._batches(self.split.validation, shard=self._shard), 1
            self.history = self._train(
                self.network, batches, validation,
                stage=HEAD, epochs=epochs, learning_rate=learning_rate,
                steps_per_execution=steps if load_keras().backend.backend() == "tensorflow" else 1,
            )  # fmt: skip
        best = self._early_stopping or self.interrupted
        self.best_epoch = fit.best_epoch(self.history, best=best)

    def fine_tune(self, epochs: int, learning_rate: float) -> None:
        """Train the whole network. Its last weights are kept; if interrupted, the best."""
        unfreeze(self.model)
        self.network, self.validation, self.test = self._on_images()
        # Without cached features the head has seen the views of its own seed.
        seed = self._seed + (0 if self._feature_cache else VIEWS + 1)
        head_epochs = len(self.history["loss"])
        head_loss = self.history["val_loss"][self.best_epoch]
        history = self._train(
            self.model,
            self._augmented(seed=seed, shard=self._shard),
            self._batches(self.split.validation, shard=self._shard),
            stage=FINE_TUNING, epochs=epochs, learning_rate=learning_rate,
            decay=True, best_before=head_loss,
        )  # fmt: skip
        if not self.interrupted:
            self.best_epoch = head_epochs + len(history["loss"]) - 1
        elif min(history["val_loss"], default=math.inf) < head_loss:
            self.best_epoch = head_epochs + fit.best_epoch(history, best=True)
        self.history = {name: curve + history[name] for name, curve in self.history.items()}

    def _train(self, *networks: Any, **options: Any) -> History:
        """fit.train, whose interruption ends a stage but not the run."""
        try:
            return self._train_stage(*networks, **options)
        except fit.Interrupted as error:
            self.interrupted = True
            return error.history
