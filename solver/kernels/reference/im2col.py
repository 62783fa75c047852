"""Patches as channels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np

from batchbrew.solver.kernels.reference.table import Array, kernel
from batchbrew.solver.memory import require

Index = tuple[Any, ...]


def _taps(x: Array, y: Array, axis: int, geometry: tuple[int, ...]) -> Iterator[tuple[Index, Index]]:
    """Yield for each tap of a patch where its numbers lie in the patches and in the padded input."""
    every = (slice(None), slice(None))
    count = x.ndim - axis - 1
    sizes, strides, _, dilations = (geometry[i * count : (i + 1) * count] for i in range(4))
    for place in product(*map(range, sizes)):
        seen = [
            slice(at * dilation, at * dilation + (out - 1) * stride + 1, stride)
            for at, dilation, stride, out in zip(place, dilations, strides, y.shape[axis + 1 :], strict=True)
        ]
        yield (*every, *place), (*every, *seen)


def _padded(x: Array, axis: int, geometry: tuple[int, ...]) -> tuple[Array, Array]:
    """Return zeros of the padded size (lead, C, in...), and the part of them where x belongs."""
    count = x.ndim - axis - 1
    pads, spatial = geometry[2 * count : 3 * count], x.shape[axis + 1 :]
    lead = (prod(x.shape[:axis]), x.shape[axis])
    shape = (*lead, *(size + 2 * pad for size, pad in zip(spatial, pads, strict=True)))
    require(prod(shape) * x.dtype.itemsize, "the padded input of Im2col")
    wide = np.zeros(shape, x.dtype)
    inside: Index = (..., *(slice(pad, pad + size) for size, pad in zip(spatial, pads, strict=True)))
    return wide, wide[inside]


def _patches(x: Array, y: Array, axis: int, geometry: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of y with lead, channels and taps apart."""
    return (prod(x.shape[:axis]), x.shape[axis], *geometry[: x.ndim - axis - 1], *y.shape[axis + 1 :])


@kernel
def im2col_forward(x: Array, y: Array, axis: int, *geometry: int) -> None:
    """Set y (..., C taps, out...) to the patches of x (..., C, in...); geometry: kernel, stride, pad, dilation."""
    wide, inside = _padded(x, axis, geometry)
    inside[...] = x.reshape(inside.shape)
    out = np.empty(_patches(x, y, axis, geometry), x.dtype)
    for place, seen in _taps(x, y, axis, geometry):
        out[place] = wide[seen]
    y[...] = out.reshape(y.shape)


@kernel
def im2col_backward(dy: Array, dx: Array, axis: int, *geometry: int) -> None:
    """Set dx to the sums of what the patches dy hold of each place."""
    wide, inside = _padded(dx, axis, geometry)
    patches = dy.reshape(_patches(dx, dy, axis, geometry))
    for place, seen in _taps(dx, dy, axis, geometry):
        wide[seen] += patches[place]
    dx[...] = inside.reshape(dx.shape)
