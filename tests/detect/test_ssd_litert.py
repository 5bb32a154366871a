"""The parts of the conversion by hand-made cases; test_ssd.py compares its boxes."""

import numpy as np
import pytest

from facemask.detect.ssd import PROTOTXT
from facemask.detect.ssd_litert import parse_prototxt, prior_boxes


def test_a_prototxt_is_nested_fields_of_lists() -> None:
    text = """
    name: "net"  # a comment
    layer { name: "a" param { pad: 1 variance: 0.1 variance: 0.2 } pool: MAX bias: false }
    layer { name: "b: {odd}" }
    """
    network = parse_prototxt(text)
    assert network["name"] == ["net"]
    assert [layer["name"][0] for layer in network["layer"]] == ["a", "b: {odd}"]
    (first, _) = network["layer"]
    assert first["param"] == [{"pad": [1], "variance": [0.1, 0.2]}]
    assert (first["pool"], first["bias"]) == (["MAX"], [False])


def test_anchors_are_a_small_a_middle_and_two_long_ones_at_each_point() -> None:
    param = {
        "min_size": [30.0], "max_size": [120.0], "aspect_ratio": [4.0], "offset": [0.5],
        "step": [100.0],
    }  # fmt: skip
    anchors = prior_boxes(param, (1, 2), (100, 200))
    assert anchors.shape == (8, 4)
    assert anchors[:, 0].tolist() == [0.25] * 4 + [0.75] * 4
    assert anchors[:, 1].tolist() == [0.5] * 8
    pixels = anchors[:4, 2:] * (200, 100)
    assert pixels == pytest.approx(np.array([[30, 30], [60, 60], [60, 15], [15, 60]]))


def test_the_projects_prototxt_has_the_anchors_of_six_scales() -> None:
    layers = parse_prototxt(PROTOTXT.read_text())["layer"]
    anchors = [layer for layer in layers if layer["type"] == ["PriorBox"]]
    assert len(anchors) == 6
    assert all(layer["prior_box_param"][0]["variance"] == [0.1, 0.1, 0.2, 0.2] for layer in anchors)
