"""The networks that a mask classifier can be built on, and how each wants its input scaled."""

import os
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemask.errors import FacemaskError
from facemask.files import find, reason
from facemask.keras_backend import HDF5_SIGNATURE, ZIP_SIGNATURE, load_keras

DEFAULT = "mobilenet_v2"
SIZE = (224, 224)  # height, width in pixels of the images that the ImageNet weights learnt from


@dataclass(frozen=True)
class Backbone:
    """A network of keras.applications, and the input that its ImageNet weights expect.

    The input is `scale` times RGB in [-1, 1], as images.model_input makes it, plus `offset`. With
    `bgr` the channels, and the offsets, are in the opposite order. Scale and offset are those of
    the network's own preprocess_input.
    """

    title: str
    function: str
    weights_file: str  # the name of the ImageNet weights without top in Keras's cache
    scale: float = 1.0
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bgr: bool = False

    @property
    def rescales_input(self) -> bool:
        """Whether its input differs from that of images.model_input."""
        return (self.scale, self.offset, self.bgr) != (1.0, (0.0, 0.0, 0.0), False)


# From [-1, 1] to [0, 255]. The networks that take this rescale it themselves.
_BYTES = {"scale": 127.5, "offset": (127.5, 127.5, 127.5)}

BACKBONES = {
    "mobilenet_v2": Backbone(
        "MobileNetV2",
        "MobileNetV2",
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    ),
    "mobilenet_v3_small": Backbone(
        "MobileNetV3-Small",
        "MobileNetV3Small",
        "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        **_BYTES,
    ),
    "mobilenet_v3_large": Backbone(
        "MobileNetV3-Large",
        "MobileNetV3Large",
        "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        **_BYTES,
    ),
    "efficientnet_v2_b0": Backbone(
        "EfficientNetV2-B0", "EfficientNetV2B0", "efficientnetv2-b0_notop.h5", **_BYTES
    ),
    "resnet50_v2": Backbone(
        "ResNet50V2", "ResNet50V2", "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5"
    ),
    # ImageNet's means in Caffe's order: blue, green, red.
    "vgg16": Backbone(
        "VGG-16",
        "VGG16",
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        127.5,
        (127.5 - 103.939, 127.5 - 116.779, 127.5 - 123.68),
        bgr=True,
    ),
}


def find_weights(weights: str, name: str = DEFAULT, download: bool = True) -> str:
    """The weights for load_backbone: "imagenet", "none" or the path of a file.

    download: whether Keras may fetch missing ImageNet weights later. Raises FacemaskError for a
    weights file that is missing or of no known kind.
    """
    if weights not in ("imagenet", "none"):
        weights = str(find(weights))
    check_weights(weights, name)
    if weights == "imagenet" and not download and not (path := imagenet_file(name)).is_file():
        raise FacemaskError(
            f"{path}: no such file; expected the ImageNet weights of {BACKBONES[name].title}, which"
            " a dry run does not fetch, but the training does"
        )
    return weights


def imagenet_file(name: str) -> Path:
    """Where Keras keeps the ImageNet weights of a backbone."""
    folder = Path(os.environ.get("KERAS_HOME", "~/.keras"), "models").expanduser()
    return folder / BACKBONES[name].weights_file


def check_weights(weights: str, name: str = DEFAULT) -> None:
    """Raise FacemaskError for a weights file that is missing or of no known kind."""
    if weights in ("imagenet", "none"):
        return
    title = BACKBONES[name].title
    expected = f"expected an HDF5 file of {title} weights, or a .keras model on {title}"
    try:
        with open(weights, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise FacemaskError(
            f"{weights}: can't be read: {reason(error)}; {expected}, imagenet or none"
        ) from error
    if start != HDF5_SIGNATURE and not start.startswith(ZIP_SIGNATURE):
        raise FacemaskError(f"{weights}: {expected}")


def load_backbone(weights: str, size: tuple[int, int] = SIZE, name: str = DEFAULT) -> Any:
    """A backbone without its top: a Keras model from (N, *size, 3) float32, scaled as it expects.

    weights: "imagenet", which Keras fetches unless it has them in KERAS_HOME; "none", which are
    random; or the path of an HDF5 file as Keras has for this backbone without its top, or of a
    `.keras` model that was trained here on this backbone.
    size: (height, width) in pixels. The weights do not depend on it, because no layer's shape does.
    Raises FacemaskError when the weights can't be loaded.
    """
    keras = load_keras()
    backbone = BACKBONES[name]
    make = getattr(keras.applications, backbone.function)
    check_weights(weights, name)
    try:
        if weights == "none":
            return make(input_shape=(*size, 3), include_top=False, weights=None)
        file = weights
        if weights == "imagenet":
            # For other sizes than SIZE Keras would fetch other weights, or warn.
            file = imagenet_file(name)
            if not file.is_file():
                make(input_shape=(*SIZE, 3), include_top=False, weights=weights)
        elif _is_archive(weights):
            network = make(input_shape=(*size, 3), include_top=False, weights=None)
            network.set_weights(_backbone_of_file(weights).get_weights())
            return network
        with warnings.catch_warnings():
            # Keras only warns of layers that the file lacks, and leaves them random.
            warnings.filterwarnings("error", message="Skipping nested container")
            return make(input_shape=(*size, 3), include_top=False, weights=str(file))
    except Exception as error:  # Keras raises plain Exception for a failed download
        problem = " ".join(str(error).split())[:300]
        if weights == "imagenet":
            raise FacemaskError(
                f"{imagenet_file(name)}: the ImageNet weights of {backbone.title} are not there and"
                f" can't be fetched ({problem}); put them there, or give --weights PATH"
            ) from error
        raise FacemaskError(
            f"{weights}: not weights of {backbone.title} without its top: {problem}"
        ) from error


def backbone_of(model: Any) -> Any:
    """The backbone in a classifier. Raises ValueError for a model without one."""
    keras = load_keras()
    backbone = next((layer for layer in model.layers if isinstance(layer, keras.Model)), None)
    if backbone is None:
        raise ValueError("Expected a model with a backbone. Received: one without")
    return backbone


def _is_archive(weights: str) -> bool:
    with open(weights, "rb") as file:
        return file.read(len(ZIP_SIGNATURE)) == ZIP_SIGNATURE


def _backbone_of_file(path: str) -> Any:
    """The backbone in a `.keras` file, whatever the file's suffix; no code in it is run."""
    with tempfile.TemporaryDirectory() as folder:  # Keras wants the suffix
        copy = shutil.copyfile(path, Path(folder, "model.keras"))
        return backbone_of(load_keras().models.load_model(copy, compile=False, safe_mode=True))


def input_rescaling(backbone: Backbone) -> Any:
    """The Keras layer that turns images.model_input's RGB in [-1, 1] into a backbone's input.

    With it all models take the same input, and nothing outside the model depends on its backbone.
    It is a 1x1 convolution that is never trained: every runtime has this kind of layer.
    """
    import numpy as np  # not at the top: the command line imports BACKBONES for --help

    keras = load_keras()
    layer = keras.layers.Conv2D(3, 1, trainable=False, name="input_rescaling")
    layer.build((None, None, None, 3))
    order = np.eye(3, dtype=np.float32)[:: -1 if backbone.bgr else 1]
    layer.set_weights([(backbone.scale * order)[None, None], np.array(backbone.offset, np.float32)])
    return layer
