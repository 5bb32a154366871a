"""Protocol buffers: the numbered fields of a message, read without a description of them.

Files of weights are such messages (Caffe's, ONNX's). The package protobuf would read them too, but
importing it takes 50 ms, a tenth of the time that labelling one image takes.
Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

# An integer, or the bytes of what has a length: a text, a message, floats, several integers.
Value = int | memoryview
Fields = dict[int, list[Value]]

VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5  # how a value is written
SIZES = {FIXED_64: 8, FIXED_32: 4}
VARINT_BITS = 64


def read_fields(message: Value) -> Fields:
    """The values of each field of a message, by the field's number; a missing one is empty.

    Raises ValueError for bytes that are no message or end within one.
    """
    if isinstance(message, int):
        raise ValueError("a number where a message was expected")
    fields: Fields = defaultdict(list)
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if not number or kind not in (VARINT, BYTES, *SIZES):
            raise ValueError(f"byte {position} begins no field of a protocol buffer")
        if kind == VARINT:
            value, position = _varint(message, position)
        else:
            size = SIZES.get(kind)
            if size is None:
                size, position = _varint(message, position)
            value = message[position : position + size]
            position += size
        if position > len(message):
            raise ValueError(f"it ends {position - len(message)} bytes too early")
        fields[number].append(value)
    return fields


def floats(values: Iterable[Value]) -> np.ndarray:
    """The numbers of a field of floats, (N,) float32."""
    return np.frombuffer(b"".join(map(_bytes, values)), "<f4")


def integers(values: Iterable[Value]) -> list[int]:
    """The numbers of a field of integers, which are written one by one or several together."""
    numbers = []
    for value in values:
        if isinstance(value, int):
            numbers.append(value)
            continue
        position = 0
        while position < len(value):
            number, position = _varint(value, position)
            numbers.append(number)
    return numbers


def text(values: Iterable[Value]) -> str:
    """The text of a field; "" for a missing one."""
    return b"".join(map(_bytes, values)).decode()


def _bytes(value: Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where bytes were expected")
    return value


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """An integer of 7 bits a byte, the lowest first, and the position behind it."""
    number = 0
    for shift in range(0, VARINT_BITS, 7):
        if position == len(message):
            raise ValueError("it ends within a number")
        number |= (message[position] & 127) << shift
        position += 1
        if message[position - 1] < 128:
            return number, position
    raise ValueError(f"byte {position} belongs to a number of more than {VARINT_BITS} bits")
