"""Storage of activations: pictures lie in memory as n, h, w, c with a zero border, everything else in C order."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from batchbrew.errors import UserError
from batchbrew.solver.memory import require

Array = NDArray[Any]
Shape = tuple[int, ...]
SLACK = 64  # elements behind each buffer that vector loads may touch


def aligned_zeros(count: int, dtype: DTypeLike) -> Array:
    """Return ``count`` zeros, 64-byte aligned and followed by slack that may be read; UserError if there is no room."""
    itemsize = np.dtype(dtype).itemsize
    require(count * itemsize, f"an array of {count:,} values")
    try:
        raw = np.zeros((count + SLACK) * itemsize + 64, np.uint8)
    except MemoryError:
        raise UserError(f"out of memory: no room for an array of {count:,} values") from None
    start = -raw.ctypes.data % 64
    return raw[start : start + (count + SLACK) * itemsize].view(dtype)[:count]


@dataclass(eq=False)
class Storage:
    """One buffer, grown on demand, that views of different batch sizes share.

    ``border`` (rows, columns) is the zero frame around each picture that a convolution may read.
    """

    dtype: DTypeLike
    border: tuple[int, int] = (0, 0)
    _buffer: Array | None = None
    _key: tuple[Any, ...] = field(default=())

    def widen(self, border: tuple[int, int]) -> None:
        """Ask for at least this border, before the view is made."""
        self.border = (max(self.border[0], border[0]), max(self.border[1], border[1]))

    def view(self, shape: Shape) -> Array:
        """Return a view of ``shape``, logical (n, c, h, w) for pictures; contents survive as long as the size fits."""
        frame = self.border if len(shape) == 4 else (0, 0)
        key = (shape[1:], frame, len(shape))
        lead = shape[0] if shape else 1
        if self._buffer is None or self._key != key or self._buffer.shape[0] < lead:
            inner = shape[1:]
            if len(shape) == 4:
                inner = (shape[2] + 2 * frame[0], shape[3] + 2 * frame[1], shape[1])
            count = lead * prod(inner)
            self._buffer = aligned_zeros(count, self.dtype).reshape(lead, *inner)
            self._key = key
        if not shape:
            return self._buffer.reshape(())
        part = self._buffer[:lead]
        if len(shape) == 4:
            rows, cols = frame
            part = part[:, rows : rows + shape[2], cols : cols + shape[3], :].transpose(0, 3, 1, 2)
        return part


@dataclass(frozen=True)
class Blob:
    """What layers and users see of one bottom or top: its data and its gradient (``diff``), views of one shape."""

    name: str
    data: Array
    diff: Array

    @property
    def shape(self) -> Shape:
        """The logical shape, (N, C, H, W) for pictures."""
        return self.data.shape
