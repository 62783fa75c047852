"""Binary messages (caffemodel, solverstate, binaryproto) and the arrays in them.

Unknown fields, such as those of Caffe's forks, survive reading and writing. Texts in another encoding than UTF-8 are
read with the replacement character for what cannot be read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.protos.encoding import has_foreign_text, readable
from batchbrew.protos.files import is_text, read_bytes, write_bytes
from batchbrew.protos.schema import descriptor

M = TypeVar("M", bound=Message)
Floats = npt.NDArray[np.float32]

LIMIT = 2**31 - 1  # bytes; protobuf reads no longer message
_HDF5 = b"\x89HDF\r\n\x1a\n"
_LENGTH_DELIMITED = 2  # wire type of packed numbers


def read(path: Path | str, cls: type[M]) -> M:
    """Return the message of class ``cls`` in the binary file at ``path``.

    Raises UserError for a file that is missing, empty, damaged, or of another kind.
    """
    path = Path(path)
    content = read_bytes(path)
    kind = cls.DESCRIPTOR.name
    if not content:
        raise UserError(f"{path}: the file is empty, expected a binary {kind}")
    if content.startswith(_HDF5):
        raise UserError(f"{path}: is an HDF5 file, expected a binary {kind}")
    if len(content) > LIMIT:
        raise UserError(f"{path}: is larger than 2 GiB, the limit of binary files - use HDF5 instead")
    message = cls()
    if not _fill(message, content):
        raise UserError(f"{path}: {_foreign(content)}, expected a binary {kind}")
    if not message.IsInitialized():
        raise UserError(f"{path}: {kind} lacks {_lacking(message)}")
    return message


def write(path: Path | str, message: Message) -> None:
    """Put ``message`` at ``path``, whole or not at all; UserError if a required field is missing."""
    path = Path(path)
    kind = message.DESCRIPTOR.name
    if not message.IsInitialized():
        raise UserError(f"{path}: cannot write: {kind} lacks {_lacking(message)}")
    if message.ByteSize() > LIMIT:
        raise UserError(f"{path}: cannot write: {kind} is larger than 2 GiB - use HDF5 instead")
    write_bytes(path, message.SerializeToString())


def blob_shape(blob: pb.BlobProto) -> tuple[int, ...]:
    """Return the shape of ``blob``: four axes if any legacy extent is set, else that of ``shape``.

    >>> blob_shape(pb.BlobProto(num=2, height=3))
    (2, 0, 3, 0)
    >>> blob_shape(pb.BlobProto(shape={"dim": [5, 2]}))
    (5, 2)
    """
    if is_legacy(blob):
        return blob.num, blob.channels, blob.height, blob.width
    return tuple(blob.shape.dim)


def is_legacy(blob: pb.BlobProto) -> bool:
    """Tell whether ``blob`` gives its shape by num, channels, height, width."""
    return any(blob.HasField(axis) for axis in ("num", "channels", "height", "width"))


def fits(blob: pb.BlobProto, shape: Sequence[int]) -> bool:
    """Tell whether ``blob`` may fill an array of ``shape``.

    A legacy shape is compared from the last axis, its leading extents must then be 1: (1, 1, a, b) fits (a, b),
    but (a, b, 1, 1) does not.
    """
    found = blob_shape(blob)
    wanted = tuple(shape)
    if is_legacy(blob) and len(wanted) <= len(found):
        wanted = (1,) * (len(found) - len(wanted)) + wanted
    return found == wanted


def blob_to_array(blob: pb.BlobProto, where: str = "") -> Floats:
    """Return the values of ``blob`` as a new array of its shape; ``double_data`` wins over ``data``.

    Raises UserError, beginning with ``where``, if the number of values is not that of the shape.
    """
    return _array(blob, blob.double_data or blob.data, "values", where)


def diff_to_array(blob: pb.BlobProto, where: str = "") -> Floats | None:
    """Return the gradients of ``blob`` as a new array of its shape, or None if it holds none."""
    gradients = blob.double_diff or blob.diff
    return _array(blob, gradients, "gradients", where) if gradients else None


def array_to_blob(array: npt.ArrayLike, diff: npt.ArrayLike | None = None) -> pb.BlobProto:
    """Return a blob with the shape of ``array``, its values as float32 and, if given, the gradients ``diff``."""
    values = np.asarray(array)
    blob = pb.BlobProto()
    if values.ndim:
        blob.shape.dim.extend(values.shape)
    _append(blob, pb.BlobProto.DESCRIPTOR.fields_by_name["data"].number, values)
    if diff is not None:
        _append(blob, pb.BlobProto.DESCRIPTOR.fields_by_name["diff"].number, np.asarray(diff))
    return blob


def _fill(message: Message, content: bytes) -> bool:
    """Parse ``content`` into ``message``; tell whether it is such a message.

    The wire format names no types, so most files parse as most messages. Those of another kind show: nothing in
    them is known, or a known number carries a value of another type.
    """
    try:
        message.ParseFromString(content)
    except DecodeError:
        return False
    if has_foreign_text(message):
        message.ParseFromString(readable(content, type(message)))
    fields = descriptor(type(message)).fields_by_number
    unknown = UnknownFieldSet(message)
    mismatched = [fields.get(unknown[index].field_number) for index in range(len(unknown))]
    # An enum value that is new to us is no mismatch.
    return bool(message.ListFields()) and all(field is None or field.enum_type for field in mismatched)


def _foreign(content: bytes) -> str:
    """Return what ``content``, which is not what was asked for, seems to be."""
    if is_text(content):
        return "is a text file"
    for cls, what in ((pb.NetParameter, "weights"), (pb.SolverState, "a solver state"), (pb.BlobProto, "one array")):
        message: Message = cls()
        if _fill(message, content) and not len(UnknownFieldSet(message)):
            return f"is a {cls.DESCRIPTOR.name} ({what})"
    return "is damaged or of another kind"


def _lacking(message: Message) -> str:
    names: list[str] = cast("Any", message).FindInitializationErrors()
    return ", ".join(names)


def _array(blob: pb.BlobProto, numbers: Sequence[float], what: str, where: str) -> Floats:
    shape = blob_shape(blob)
    extents = " x ".join(map(str, shape)) or "()"
    if min(shape, default=0) < 0:
        raise UserError(f"{where}blob has the shape {extents} with a negative extent - the file is damaged")
    if math.prod(shape) != len(numbers):
        raise UserError(
            f"{where}blob of shape {extents} should hold {math.prod(shape)} {what} but holds {len(numbers)}"
            " - the file is damaged"
        )
    return np.array(numbers, dtype=np.float32).reshape(shape)


def _append(blob: pb.BlobProto, field: int, values: npt.NDArray[np.generic]) -> None:
    """Append packed floats to ``blob`` through the wire format.

    10 million values take 0.05 s; ``extend(array)`` takes 1.7 s.
    """
    packed = np.ascontiguousarray(values, dtype="<f4").tobytes()
    if len(packed) > LIMIT:
        raise UserError(f"an array of {values.size} values is larger than 2 GiB, the limit of a blob")
    blob.MergeFromString(bytes([field << 3 | _LENGTH_DELIMITED]) + _varint(len(packed)) + packed)


def _varint(number: int) -> bytes:
    """Return ``number`` in base 128, lowest digit first, the top bit set in all but the last."""
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)
