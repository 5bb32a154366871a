"""Caffe's files; test_ssd.py compares the weights and the boxes with those of OpenCV's importer."""

from pathlib import Path

import numpy as np

from facemask.detect.caffe import parse_prototxt, read_weights


def field(number: int, content: bytes) -> bytes:
    """A field of fewer than 128 bytes in a protocol buffer."""
    key = number << 3 | 2
    return bytes([key & 127 | 128, key >> 7, len(content)]) + content


def test_weights_by_the_name_of_the_layer(tmp_path: Path) -> None:
    blobs = [field(7, field(5, np.array(values, "<f4").tobytes())) for values in ([1, 2.5], [-3])]
    layers = [field(1, b"conv") + b"".join(blobs), field(1, b"relu") + field(2, b"ReLU")]
    path = tmp_path / "net.caffemodel"
    path.write_bytes(field(1, b"the net") + b"".join(field(100, layer) for layer in layers))
    weights = read_weights(path)
    assert list(weights) == ["conv", "relu"]
    assert [array.tolist() for array in weights["conv"]] == [[1, 2.5], [-3]]
    assert weights["relu"] == []


def test_a_prototxt_is_nested_fields_of_which_some_are_lists() -> None:
    text = """
    name: "net"  # a comment
    layer { name: "a" param { pad: 1 rate: 0.5 } pool: MAX bias: false bottom: "x" bottom: "y" }
    layer { name: "b: {odd}" }
    """
    layer = {
        "name": "a", "param": {"pad": 1, "rate": 0.5}, "pool": "MAX", "bias": False,
        "bottom": ["x", "y"],
    }  # fmt: skip
    assert parse_prototxt(text) == {"name": "net", "layer": [layer, {"name": "b: {odd}"}]}
