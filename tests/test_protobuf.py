"""Protocol buffers; the bytes are those of examples in the description of the encoding."""

import numpy as np
import pytest

from facemask.protobuf import floats, integers, read_fields, text


def test_each_kind_of_value() -> None:
    message = bytes.fromhex("089601 120774657374696e67 1a03089601 25 0000803f 29 0102030405060708")
    fields = read_fields(memoryview(message))
    assert fields[1] == [150]
    assert text(fields[2]) == "testing"
    assert read_fields(fields[3][0]) == {1: [150]}
    assert floats(fields[4]).tolist() == [1.0]
    assert fields[5] == [bytes(range(1, 9))]
    assert fields[6] == []
    assert text(fields[6]) == ""


def test_no_byte_is_no_field() -> None:
    assert not read_fields(memoryview(b""))
    assert floats([]).shape == (0,)


def test_numbers_are_written_one_by_one_or_together() -> None:
    together = memoryview(bytes.fromhex("03 8e02 9ea705"))
    assert integers([together]) == integers([3, 270, 86942]) == [3, 270, 86942]
    pair = np.array([0.5, -2], "<f4").tobytes()
    one_by_one = [memoryview(pair[:4]), memoryview(pair[4:])]
    assert floats(one_by_one).tolist() == floats([memoryview(pair)]).tolist() == [0.5, -2]


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("<html>", "byte 1 begins no field"),
        ("\x00\x01", "byte 1 begins no field"),
        ("\x08", "ends within a number"),
        ("\x08\x96", "ends within a number"),
        ("\x12\x07test", "ends 3 bytes too early"),
        ("\x1d\x01", "ends 3 bytes too early"),
        ("\x08" + "\x96" * 11, "more than 64 bits"),
    ],
)
def test_what_is_no_message_is_an_error(message: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_fields(memoryview(message.encode("latin-1")))


def test_a_number_where_bytes_are_expected_is_an_error() -> None:
    for read in (lambda: read_fields(150), lambda: floats([150]), lambda: text([150])):
        with pytest.raises(ValueError, match="a number where"):
            read()


def test_floats_of_part_of_a_number_are_an_error() -> None:
    with pytest.raises(ValueError, match="buffer size"):
        floats([memoryview(b"12345")])
