"""Reading a prototxt; test_ssd.py compares the boxes of the converted network."""

from facemask.detect.ssd_litert import parse_prototxt


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
