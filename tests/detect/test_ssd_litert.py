"""Reading a prototxt; test_ssd.py compares the boxes of the converted network."""

from facemask.detect.ssd_litert import parse_prototxt


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
