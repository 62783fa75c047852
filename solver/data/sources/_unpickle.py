"""Read the pickles of CIFAR-10's Python version without letting them run anything.

A pickle is a program that calls what it names. This reader hands out stand-ins for the four names that an array of
bytes needs and refuses every other name; the stand-ins only keep their arguments, so no code of a library, not even
NumPy's own reconstruction, runs on what a stranger wrote.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchbrew.errors import UserError


class Array:
    """Hold a pickled array of bytes: what its ``__setstate__`` was given, checked."""

    __slots__ = ("content", "shape")

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.content = b""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, _Bytes) or fortran or not isinstance(content, bytes):
            raise pickle.UnpicklingError("an array that is not of bytes in C order")
        if not all(type(axis) is int and axis >= 0 for axis in shape) or math.prod(shape) != len(content):
            raise pickle.UnpicklingError(f"an array of shape {tuple(shape)} with {len(content)} bytes")
        self.shape, self.content = tuple(shape), content

    def to_numpy(self) -> NDArray[np.uint8]:
        """Return the array, uint8 of ``shape``, read-only."""
        return np.frombuffer(self.content, np.uint8).reshape(self.shape)


class _Bytes:
    """Stand in for ``dtype('u1')``; its state (byte order and the like) says nothing about single bytes."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        pass


# Instances without attributes, not functions or classes: a pickle can set attributes on whatever it is given.
class _ArrayType:
    __slots__ = ()


class _Reconstruct:
    __slots__ = ()

    def __call__(self, kind: object, shape: object, code: object) -> Array:
        if not isinstance(kind, _ArrayType):
            raise pickle.UnpicklingError("an array of an unknown kind")
        return Array()


class _DType:
    __slots__ = ()

    def __call__(self, code: object, *flags: object) -> _Bytes:
        if code not in (b"u1", "u1"):
            raise pickle.UnpicklingError(f"an array of type {code!r}, expected bytes")
        return _Bytes()


class _Encode:
    """Stand in for the call by which Python 3 writes bytes into a protocol-2 pickle."""

    __slots__ = ()

    def __call__(self, text: str, encoding: object) -> bytes:
        return text.encode("latin-1")


_KNOWN: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy", "ndarray"): _ArrayType(),
    ("numpy", "dtype"): _DType(),
    ("_codecs", "encode"): _Encode(),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise UserError(f"refused to load '{module}.{name}'")
        return _KNOWN[module, name]


def unpickle(content: bytes, where: str) -> Any:
    """Return the pickled value in ``content``, made of plain Python values and `Array`; Python 2 strings become bytes.

    Raises UserError, beginning with ``where``, for any global but NumPy's array and dtype, and for a damaged pickle.
    """
    try:
        return _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except UserError as error:
        raise UserError(
            f"{where}: {error}: a CIFAR-10 batch holds only arrays, lists and text - do not use this file"
        ) from None
    # Whatever a damaged or hostile pickle raises (there is no fixed list), it is the file's fault.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"{where}: not a CIFAR-10 batch, or damaged or cut short ({reason}) - get it again") from None
