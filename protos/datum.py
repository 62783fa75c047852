"""Datum, the record of Caffe's databases, read and written on the wire: a generated class costs more than its picture.

Axes: C channels, H rows, W columns. Values are bytes or, in records without ``data``, floats; an *encoded* record holds
a JPEG or PNG file instead.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_CHANNELS, _HEIGHT, _WIDTH, _DATA, _LABEL, _FLOATS, _ENCODED = range(1, 8)  # field numbers
_FLOAT_TAG = _FLOATS << 3 | _FIXED32  # Caffe writes floats unpacked: this byte before each of them


class Datum(NamedTuple):
    """One record: its shape (C, H, W), label and content."""

    shape: tuple[int, int, int]
    label: int
    data: bytes
    floats: NDArray[np.float32] | None
    encoded: bool

    def picture(self) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Return the values (C, H, W): those of ``data`` if there are any, else the floats. ValueError if few or many.

        >>> parse(serialize(np.arange(4, dtype=np.uint8).reshape(1, 2, 2), 7)).picture()
        array([[[0, 1],
                [2, 3]]], dtype=uint8)
        """
        values: NDArray[Any] = np.frombuffer(self.data, np.uint8)
        if not self.data and self.floats is not None:
            values = self.floats
        if min(self.shape) < 1 or values.size != math.prod(self.shape):
            raise ValueError(f"{values.size} values for a shape {' x '.join(map(str, self.shape))}")
        return values.reshape(self.shape)


def parse(record: bytes) -> Datum:
    """Return the Datum in ``record``; fields of Caffe's forks are passed over. ValueError if it is none.

    >>> parse(b"")
    Datum(shape=(0, 0, 0), label=0, data=b'', floats=None, encoded=False)
    """
    numbers = [0] * 8
    data, floats = b"", []
    at, end = 0, len(record)
    try:
        while at < end:
            tag, at = _read_varint(record, at)
            field, wire = tag >> 3, tag & 7
            if wire == _VARINT:
                value, at = _read_varint(record, at)
                if field < len(numbers):
                    numbers[field] = value
            elif wire == _BYTES:
                length, at = _read_varint(record, at)
                content = record[at : at + length]
                at += length
                if field == _DATA:
                    data = content
                elif field == _FLOATS:
                    floats.append(np.frombuffer(content, "<f4"))
            elif tag == _FLOAT_TAG:
                floats.append(_unpacked(record, at - 1))
                at += 5 * len(floats[-1]) - 1
            elif wire in (_FIXED32, _FIXED64):
                at += 4 if wire == _FIXED32 else 8
            else:
                raise ValueError(f"wire type {wire}")
    except IndexError:
        at = end + 1
    if at != end:
        raise ValueError("cut short")
    shape = (_signed(numbers[_CHANNELS]), _signed(numbers[_HEIGHT]), _signed(numbers[_WIDTH]))
    joined = (floats[0] if len(floats) == 1 else np.concatenate(floats)) if floats else None
    return Datum(shape, _signed(numbers[_LABEL]), data, joined, numbers[_ENCODED] != 0)


def parse_alike(records: list[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int32]] | None:
    """Return pictures (n, C, H, W) and labels (n) of plain records alike in all but pixels and labels, None of others.

    That is many times faster than to parse each. Alike are records as Caffe writes them, of one size, with labels
    below 128.

    >>> parse_alike([serialize(np.array([[[5]]], np.uint8), 3), serialize(np.array([[[6]]], np.uint8), 4)])
    (array([[[[5]]],
    <BLANKLINE>
    <BLANKLINE>
           [[[6]]]], dtype=uint8), array([3, 4], dtype=int32))
    """
    first = records[0]
    try:
        model = parse(first)
    except ValueError:
        return None
    if any(len(record) != len(first) for record in records):
        return None
    if model.encoded or min(model.shape) < 1 or len(model.data) != math.prod(model.shape):
        return None
    head = _head(model.shape) + _prefixed(model.data)[: -len(model.data)]
    start, label = len(head), len(head) + len(model.data)
    tail = bytes([_LABEL << 3, model.label & 0x7F])
    rows = np.frombuffer(bytearray().join(records), np.uint8).reshape(len(records), len(first))
    ends = (tail, tail + bytes([_ENCODED << 3, 0]))
    same = np.ones(len(first), bool)
    same[start:label] = same[label + 1 : label + 2] = False
    if not first.startswith(head) or first[label:] not in ends or (rows[:, same] != rows[0, same]).any():
        return None
    labels = rows[:, label + 1].astype(np.int32)
    return None if labels.max() > 0x7F else (rows[:, start:label].reshape(-1, *model.shape), labels)


def serialize(picture: NDArray[np.uint8] | NDArray[np.float32], label: int) -> bytes:
    """Return the record of a picture (C, H, W) of bytes or floats, as Caffe writes it.

    >>> serialize(np.array([[[5]]], np.uint8), 3).hex(" ")
    '08 01 10 01 18 01 22 01 05 28 03'
    """
    head = _head(picture.shape)
    tail = bytes([_LABEL << 3]) + varint(label)
    if picture.dtype == np.uint8:
        return head + _prefixed(picture.tobytes()) + tail
    rows = np.empty((picture.size, 5), np.uint8)
    rows[:, 0] = _FLOAT_TAG
    rows[:, 1:] = np.ascontiguousarray(picture, "<f4").reshape(-1, 1).view(np.uint8)
    return head + tail + rows.tobytes()


def serialize_encoded(content: bytes, label: int) -> bytes:
    """Return the record of a picture file (JPEG, PNG)."""
    return _prefixed(content) + bytes([_LABEL << 3]) + varint(label) + bytes([_ENCODED << 3, 1])


def varint(number: int) -> bytes:
    """Return ``number`` in base 128, lowest digit first, the top bit set in all but the last; negative ones as 64 bits.

    >>> varint(300).hex(" "), len(varint(-1))
    ('ac 02', 10)
    """
    number &= (1 << 64) - 1
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _head(shape: tuple[int, ...]) -> bytes:
    return b"".join(bytes([number << 3]) + varint(size) for number, size in enumerate(shape, 1))


def _prefixed(content: bytes) -> bytes:
    return bytes([_DATA << 3 | _BYTES]) + varint(len(content)) + content


def _read_varint(record: bytes, at: int) -> tuple[int, int]:
    """Return the number at ``at`` and where it ends; IndexError behind the end of the record."""
    byte = record[at]
    if byte < 0x80:
        return byte, at + 1
    number, shift = byte & 0x7F, 7
    while byte >= 0x80:
        at += 1
        byte = record[at]
        number |= (byte & 0x7F) << shift
        shift += 7
        if shift > 70:
            raise ValueError("a number of more than ten bytes")
    return number, at + 1


def _signed(number: int) -> int:
    """Return the int32 that protobuf wrote as 64 bits."""
    number &= (1 << 32) - 1
    return number - (1 << 32) if number >> 31 else number


def _unpacked(record: bytes, at: int) -> NDArray[np.float32]:
    """Return the floats that follow each other from ``at``, each behind its tag."""
    rows = np.frombuffer(record, np.uint8, (len(record) - at) // 5 * 5, at).reshape(-1, 5)
    if not len(rows):
        raise ValueError("cut short")
    others = np.flatnonzero(rows[:, 0] != _FLOAT_TAG)
    run = rows[: others[0] if len(others) else len(rows), 1:]
    return np.ascontiguousarray(run).view("<f4").ravel()
