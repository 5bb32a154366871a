"""The networks that a mask classifier can be built on, with what each takes for colours."""

import os
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemask.errors import FacemaskError
from facemask.files import reason
from facemask.keras_backend import HDF5_SIGNATURE, ZIP_SIGNATURE, load_keras

DEFAULT = "mobilenet_v2"
SIZE = (224, 224)  # pixels, of the photographs that all the ImageNet weights were trained on


@dataclass(frozen=True)
class Backbone:
    """A network of keras.applications, and the colours its ImageNet weights were trained with.

    Of red, green and blue in [-1, 1], as images.model_input makes them, it takes `scale` times
    each plus `offset`; where `bgr` is true, in the opposite order, of which the offsets are, too.
    Scale and offset are those of the network's own preprocess_input.
    """

    title: str
    function: str
    scale: float = 1.0
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bgr: bool = False

    @property
    def plain(self) -> bool:
        """Whether it takes colours as model_input makes them."""
        return (self.scale, self.offset, self.bgr) == (1.0, (0.0, 0.0, 0.0), False)


# From [-1, 1] to [0, 255]. Networks that say so of themselves do the rest within.
_BYTES = {"scale": 127.5, "offset": (127.5, 127.5, 127.5)}

BACKBONES = {
    "mobilenet_v2": Backbone("MobileNetV2", "MobileNetV2"),
    "mobilenet_v3_small": Backbone("MobileNetV3-Small", "MobileNetV3Small", **_BYTES),
    "mobilenet_v3_large": Backbone("MobileNetV3-Large", "MobileNetV3Large", **_BYTES),
    "efficientnet_v2_b0": Backbone("EfficientNetV2-B0", "EfficientNetV2B0", **_BYTES),
    "resnet50_v2": Backbone("ResNet50V2", "ResNet50V2"),
    # The means of ImageNet in Caffe's order: blue, green, red.
    "vgg16": Backbone(
        "VGG-16", "VGG16", 127.5, (127.5 - 103.939, 127.5 - 116.779, 127.5 - 123.68), bgr=True
    ),
}


def check_weights(weights: str, name: str = DEFAULT) -> None:
    """Raise FacemaskError for a weights file that is missing or of no known kind."""
    if weights in ("imagenet", "none"):
        return
    title = BACKBONES[name].title
    try:
        with open(weights, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise FacemaskError(
            f"{weights}: can't be read: {reason(error)}; expected imagenet, none, an HDF5 file of"
            f" {title} weights, or a .keras model on {title}"
        ) from error
    if start != HDF5_SIGNATURE and not start.startswith(ZIP_SIGNATURE):
        raise FacemaskError(
            f"{weights}: expected an HDF5 file of {title} weights, or a .keras model on {title}"
        )


def load_backbone(weights: str, size: tuple[int, int] = SIZE, name: str = DEFAULT) -> Any:
    """A base without its top: a Keras model from (N, *size, 3) float32 in its own colours.

    size: (height, width) of the images, pixels. The weights are those for 224x224 at any size: no
    layer's shape depends on it, and what they know carries over.
    weights: "imagenet" (fetched by Keras, or found in KERAS_HOME); the path of an HDF5 file in the
    layout of Keras's own for this base without its top, or of a `.keras` model that was trained
    here on this base; or "none": random ones.
    Raises FacemaskError when the weights can't be had.
    """
    keras = load_keras()
    base = BACKBONES[name]
    make = getattr(keras.applications, base.function)
    check_weights(weights, name)
    try:
        if weights == "none":
            return make(input_shape=(*size, 3), include_top=False, weights=None)
        if _is_archive(weights):
            values = _base_of(weights).get_weights()
        else:
            with warnings.catch_warnings():
                # Else Keras would leave layers random that it does not find in the file.
                warnings.filterwarnings("error", message="Skipping nested container")
                full = make(input_shape=(*SIZE, 3), include_top=False, weights=weights)
            if size == SIZE:
                return full
            values = full.get_weights()
        # Keras would fetch other weights for some sizes, and warn of the others.
        network = make(input_shape=(*size, 3), include_top=False, weights=None)
        network.set_weights(values)
        return network
    except Exception as error:  # Keras raises a bare Exception for a failed download
        what = " ".join(str(error).split())[:300]
        if weights == "imagenet":
            models = Path(os.environ.get("KERAS_HOME", "~/.keras"), "models").expanduser()
            raise FacemaskError(
                f"{models}: the ImageNet weights of {base.title} are not there and can't be"
                f" fetched ({what}); put them there by hand, or give --weights PATH"
            ) from error
        raise FacemaskError(
            f"{weights}: not weights of {base.title} without its top: {what}"
        ) from error


def backbone_of(model: Any) -> Any:
    """The base in a classifier. Raises ValueError where there is none."""
    keras = load_keras()
    found = next((layer for layer in model.layers if isinstance(layer, keras.Model)), None)
    if found is None:
        raise ValueError("Expected a model with a base. Received: one without")
    return found


def _is_archive(weights: str) -> bool:
    if weights == "imagenet":
        return False
    with open(weights, "rb") as file:
        return file.read(len(ZIP_SIGNATURE)) == ZIP_SIGNATURE


def _base_of(path: str) -> Any:
    """The base of a `.keras` file, under whatever name; nothing in it is run."""
    with tempfile.TemporaryDirectory() as folder:  # Keras goes by the suffix
        named = shutil.copyfile(path, Path(folder, "model.keras"))
        return backbone_of(load_keras().models.load_model(named, compile=False, safe_mode=True))


def colours(base: Backbone) -> Any:
    """The Keras layer that turns model_input's colours, RGB in [-1, 1], into those of a base.

    So a model takes the same input whatever its base is, and nothing beside it need know. It is a
    convolution of 1x1 pixel that never learns: a kind of layer that every runtime has.
    """
    import numpy as np  # only here, so that the names of the bases cost --help nothing

    keras = load_keras()
    layer = keras.layers.Conv2D(3, 1, trainable=False, name="colours")
    layer.build((None, None, None, 3))
    order = np.eye(3, dtype=np.float32)[::-1] if base.bgr else np.eye(3, dtype=np.float32)
    layer.set_weights([(base.scale * order)[None, None], np.array(base.offset, np.float32)])
    return layer
