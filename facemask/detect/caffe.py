"""Reading Caffe's files: a prototxt, which describes a network, and a caffemodel, its weights.

OpenCV 5 does not read them any more.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from facemask.protobuf import floats, read_fields, text

Message = dict[str, Any]  # a message of a prototxt: the value of each field
# The fields whose values are a list, in order.
REPEATED = ("layer", "bottom", "dim", "aspect_ratio", "variance")

# The numbers of fields: of a network its layers, of a layer its name and its blobs, of a blob its
# numbers. Source: caffe.proto in github.com/BVLC/caffe.
LAYERS, NAME, BLOBS, NUMBERS = 100, 1, 7, 5


def read_weights(path: Path) -> dict[str, list[np.ndarray]]:
    """The weights of each layer of a caffemodel, by the layer's name: flat arrays (N,) float32.

    Raises ValueError for a file that is no caffemodel, or a truncated one.
    """
    layers = [read_fields(layer) for layer in read_fields(memoryview(path.read_bytes()))[LAYERS]]
    if not layers:
        raise ValueError("it has no layers")
    return {
        text(layer[NAME]): [floats(read_fields(blob)[NUMBERS]) for blob in layer[BLOBS]]
        for layer in layers
    }


def parse_prototxt(text: str) -> Message:
    """A prototxt as nested dictionaries. Of a field that is not REPEATED, the last value counts."""
    tokens = iter(re.findall(r'"[^"]*"|[{}]|[^\s{}:"]+', re.sub(r"#.*", "", text)))

    def value(token: str) -> Any:
        try:
            return json.loads(token)
        except ValueError:  # a name, such as MAX
            return token

    def message() -> Message:
        fields: Message = {}
        for name in tokens:
            if name == "}":
                break
            token = next(tokens)
            content = message() if token == "{" else value(token)
            fields[name] = [*fields.get(name, []), content] if name in REPEATED else content
        return fields

    return message()
