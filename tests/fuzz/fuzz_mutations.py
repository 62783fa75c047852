"""Ways to spoil a file: text by its words and numbers, anything by its bits and bytes.

``file_of`` is a function of its arguments: the same case is the same file everywhere.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.protos import schema, text

HUGE = (2_000_000_000, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**64, 10**30)
NUMBERS = ("0", "1", "2", "3", "7", "-1", "-2", "100", "65536", "0.5", "-0.0", "1e38", "-1e38", "1e-45", "inf", "-inf",
           "nan", "0x10", "010", "1e999", *map(str, HUGE), "-2147483648", "-9223372036854775808", "9" * 400)  # fmt: skip
JUNK = ("{", "}", "<", ">", "[", "]", ":", ",", ";", '"', "'", "\\", "#", "\0", "\x1b", "\ufeff", "\u2028", "é", "\n", "\\x",
        "\\777", "true", '""', '"\\0"')  # fmt: skip
NOT_UTF8 = (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\x80" * 40)
EXTREMES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80",
            b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"\xff" * 8, b"\xff" * 9 + b"\x01", b"\x80\xa8\xd6\xb9\x07")  # fmt: skip
NESTING = (
    "layer { " * 2000,
    "{" * 20000,
    "[" * 20000,
    "input_param { shape { " * 500,
    "(" * 5000,
    "layers { layer { " * 500,
)

_NUMBER = re.compile(rb"(?<![\w.])-?\d[\d.]*")
_WORD = re.compile(rb"[A-Za-z_]\w+")
_WORDS = sorted({field.name for message in schema.descriptors() for field in message.fields}) + sorted(
    {value.name for enum in schema.enums() for value in enum.values}
)

UNSPOILT = 12
Ways = tuple[Callable[[random.Random, bytes, Sequence[bytes]], bytes], ...]


def _place(rng: random.Random, data: bytes) -> int:
    return rng.randrange(len(data) + 1)


def _span(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = _place(rng, data)
    return start, min(len(data), start + rng.choice((1, 2, 8, 40, 200, len(data))))


def flip_bits(rng: random.Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Turn over 1 to 8 bits."""
    spoilt = bytearray(data)
    for _ in range(rng.randint(1, 8) if data else 0):
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def truncate(rng: random.Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Cut off the end, or the beginning."""
    cut = _place(rng, data)
    return data[:cut] if rng.random() < 0.8 else data[cut:]


def duplicate(rng: random.Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Repeat a piece, once or many times."""
    start, end = _span(rng, data)
    times = rng.choice((1, 1, 2, 50)) if end - start < 1000 else 1
    return data[:end] + data[start:end] * times + data[end:]


def delete(rng: random.Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Leave out a piece."""
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def splice(rng: random.Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Go on with the end of another file."""
    other = rng.choice(seeds)
    return data[: _place(rng, data)] + other[_place(rng, other) :]


def overwrite(rng: random.Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Write an extreme number, of 1 to 10 bytes, over some place."""
    start, extreme = _place(rng, data), rng.choice(EXTREMES)
    return data[:start] + extreme + data[start + len(extreme) :]


def insert_bytes(rng: random.Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Insert bytes that are no text."""
    at = _place(rng, data)
    return data[:at] + rng.choice((*NOT_UTF8, *EXTREMES)) + data[at:]


def nest_groups(rng: random.Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Insert thousands of nested blocks in binary: group starts, or fields in fields."""
    depth = rng.choice((50, 101, 5000))
    groups = bytes([rng.choice((0x0B, 0x13, 0x1B))]) * depth
    return rng.choice((data + groups, groups + data, data + b"\x12\x7f" * depth))


def inflate_number(rng: random.Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Put another number, often a huge one, in the place of one or of a few."""
    return _renumber(rng, data, NUMBERS)


def change_number(rng: random.Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Put another number, but one that could be meant, in the place of one or of a few."""
    return _renumber(rng, data, [str(number) for number in range(-2, 9)])


def _renumber(rng: random.Random, data: bytes, numbers: Sequence[str]) -> bytes:
    found = list(_NUMBER.finditer(data))
    for match in sorted(rng.sample(found, min(len(found), rng.choice((1, 1, 1, 2, 5)))), key=lambda m: -m.start()):
        data = data[: match.start()] + rng.choice(numbers).encode() + data[match.end() :]
    return data


def swap_word(rng: random.Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Put another word, of this or another file or of the schema, in the place of one."""
    found = list(_WORD.finditer(data))
    if not found:
        return data
    match = rng.choice(found)
    others = [m[0] for m in _WORD.finditer(rng.choice([data, *seeds]))]
    word = rng.choice(others) if others and rng.random() < 0.7 else rng.choice(_WORDS).encode()
    return data[: match.start()] + word + data[match.end() :]


def insert_junk(rng: random.Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Insert a sign that has a meaning, or none, in a prototxt."""
    at = _place(rng, data)
    return data[:at] + rng.choice(JUNK).encode() * rng.choice((1, 1, 3)) + data[at:]


def nest_text(rng: random.Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Insert thousands of opening braces, closed or not."""
    at, text = _place(rng, data), rng.choice(NESTING)
    return data[:at] + text.encode() + (b"}" * text.count("{") if rng.random() < 0.5 else b"") + data[at:]


def repeat_line(rng: random.Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Repeat, move or drop whole lines."""
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    line = rng.choice(lines)
    if rng.random() < 0.5:
        lines.remove(line)
    if rng.random() < 0.7:
        lines.insert(rng.randrange(len(lines) + 1), line)
    return b"".join(lines)


def change_field(rng: random.Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Set a field of a net, mostly of a layer's settings, to a value of its type."""
    try:
        net = text.parse(data.decode("utf-8", "replace"), pb.NetParameter)
    except UserError:
        return data
    layers = [layer for layer in net.layer if layer.type != "Input"]
    whole = rng.random() < 0.1 or not layers
    block = rng.choice([b for part in ([net] if whole else layers) for b in (part, *_blocks(part))])
    field = rng.choice(block.DESCRIPTOR.fields)
    if rng.random() < 0.1:
        block.ClearField(field.name)
    elif field.message_type:
        value = getattr(block, field.name)
        _ = value.add() if schema.is_repeated(field) else value.SetInParent()
    elif schema.is_repeated(field):
        old = list(getattr(block, field.name))
        new = [_value(rng, field, old) for _ in range(rng.randrange(4))]
        getattr(block, field.name)[:] = rng.choice((new, old + new, old[:-1], old[:-1] + new))
    else:
        setattr(block, field.name, _value(rng, field, [getattr(block, field.name)]))
    return text.dump(net).encode()


def _blocks(message: Message) -> Iterator[Message]:
    """Yield all messages in ``message``, and for layers the settings of their type, given or not."""
    given = {field.name for field, _ in message.ListFields()}
    for field in message.DESCRIPTOR.fields:
        if not field.message_type:
            continue
        value = getattr(message, field.name)
        if schema.is_repeated(field):
            for item in value:
                yield item
                yield from _blocks(item)
        elif field.name in given or field.message_type.name == f"{getattr(message, 'type', '')}Parameter":
            yield from [value] * 4
            yield from _blocks(value)


def _value(rng: random.Random, field: FieldDescriptor, old: list[Any]) -> Any:
    if field.enum_type:
        return rng.choice(list(field.enum_type.values_by_number))
    if field.type == field.TYPE_STRING:
        return rng.choice(
            ("x", "y", "z", "label", "", "xavier", "uniform", "w", "TanH", "bilinear", *filter(None, old))
        )
    if field.type == field.TYPE_BOOL:
        return rng.random() < 0.5
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return rng.choice((0.0, -0.0, 1.0, 0.5, -1.0, 2.0, 1e38, 1e-45, float("inf"), float("-inf"), float("nan")))
    low = 0 if field.type == field.TYPE_UINT32 else -2
    return rng.choice((low, low + 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 33, 1000, 65_536, 2_000_000_000, 2**31 - 1))


BINARY: Ways = (
    flip_bits, flip_bits, truncate, duplicate, delete, splice, overwrite, overwrite, insert_bytes, nest_groups,
)  # fmt: skip
TEXT: Ways = (
    inflate_number, inflate_number, inflate_number, swap_word, swap_word, repeat_line, insert_junk, nest_text, flip_bits,
    truncate, duplicate, delete, splice, insert_bytes,
)  # fmt: skip


def file_of(case: int, seeds: Sequence[bytes], ways: Ways, target: str) -> bytes:
    """Return the file of one case: first some of the ``seeds`` themselves, then one spoilt in one to three ways."""
    if case < min(len(seeds), UNSPOILT):
        return seeds[case]
    rng = random.Random(f"{target} {case}")
    data = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(ways)(rng, data, seeds)
    return data
