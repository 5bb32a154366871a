"""The networks that a mask classifier can be built on, with what each takes for colours."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemask.backend import HDF5_SIGNATURE, load_keras
from facemask.errors import FacemaskError
from facemask.files import reason

DEFAULT = "mobilenet_v2"
SIZE = (224, 224)  # pixels, of the photographs that all the ImageNet weights were trained on


@dataclass(frozen=True)
class Base:
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

BASES = {
    "mobilenet_v2": Base("MobileNetV2", "MobileNetV2"),
    "mobilenet_v3_small": Base("MobileNetV3-Small", "MobileNetV3Small", **_BYTES),
    "mobilenet_v3_large": Base("MobileNetV3-Large", "MobileNetV3Large", **_BYTES),
    "efficientnet_v2_b0": Base("EfficientNetV2-B0", "EfficientNetV2B0", **_BYTES),
    "resnet50_v2": Base("ResNet50V2", "ResNet50V2"),
    # The means of ImageNet in Caffe's order: blue, green, red.
    "vgg16": Base(
        "VGG-16", "VGG16", 127.5, (127.5 - 103.939, 127.5 - 116.779, 127.5 - 123.68), bgr=True
    ),
}


def check_weights(weights: str, name: str = DEFAULT) -> None:
    """Raise FacemaskError for a weights file that is missing or not HDF5; see load_base."""
    if weights in ("imagenet", "none"):
        return
    title = BASES[name].title
    try:
        with open(weights, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise FacemaskError(
            f"{weights}: can't be read: {reason(error)}; expected imagenet, none, or an HDF5"
            f" file of {title} weights"
        ) from error
    if start != HDF5_SIGNATURE:
        raise FacemaskError(f"{weights}: expected an HDF5 file of {title} weights")


def load_base(weights: str, size: tuple[int, int] = SIZE, name: str = DEFAULT) -> Any:
    """A base without its top: a Keras model from (N, *size, 3) float32 in its own colours.

    size: (height, width) of the images, pixels. The weights are those for 224x224 at any size: no
    layer's shape depends on it, and what they know carries over.
    weights: "imagenet" (fetched by Keras, or found in KERAS_HOME), the path of an HDF5 file in the
    layout of Keras's own for this base without its top, or "none": random ones.
    Raises FacemaskError when the weights can't be had.
    """
    keras = load_keras()
    base = BASES[name]
    make = getattr(keras.applications, base.function)
    check_weights(weights, name)
    try:
        full = make(
            input_shape=(*SIZE, 3),
            include_top=False,
            weights=None if weights == "none" else weights,
        )
        if size == SIZE:
            return full
        # Keras would fetch other weights for some sizes, and warn of the others.
        smaller = make(input_shape=(*size, 3), include_top=False, weights=None)
        smaller.set_weights(full.get_weights())
        return smaller
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


def colours(base: Base) -> Any:
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
