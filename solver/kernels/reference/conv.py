"""Convolution and its transpose, along any number of spatial axes.

``w`` is (K, C/group, taps...), ``turned`` (C, K/group, taps...) as ``conv_flip`` makes it; ``geometry`` is stride, pad
and dilation, one number an axis each, then the number of groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from batchbrew.solver.kernels.reference.table import Array, kernel
from batchbrew.solver.memory import require

Index = tuple[Any, ...]


@dataclass(frozen=True)
class _Plan:
    """The geometry of one call; the narrow side is the output of a convolution, the wide side its input."""

    numbers: tuple[int, ...]

    @property
    def group(self) -> int:
        return self.numbers[-1]

    def _each(self, which: int) -> tuple[int, ...]:
        axes = len(self.numbers) // 3
        return self.numbers[which * axes : (which + 1) * axes]

    def padded(self, wide: Array) -> tuple[Array, Array]:
        """Return zeros of the padded size of the wide side, and the part of them where it belongs."""
        sizes, pads = wide.shape[2:], self._each(1)
        shape = (*wide.shape[:2], *(s + 2 * p for s, p in zip(sizes, pads, strict=True)))
        require(prod(shape) * wide.dtype.itemsize, "the padded input of a convolution")
        zeros = np.zeros(shape, wide.dtype)
        inside: Index = (..., *(slice(p, p + s) for s, p in zip(sizes, pads, strict=True)))
        return zeros, zeros[inside]

    def taps(self, padded: Array, w: Array, narrow: Array) -> Iterator[tuple[Index, Array]]:
        """Yield (index of a tap, view of what it sees: N, C, as the narrow side)."""
        for tap in np.ndindex(w.shape[2:]):
            sides = zip(tap, self._each(0), self._each(2), narrow.shape[2:], strict=True)
            seen: Index = (..., *(slice(t * d, t * d + (out - 1) * s + 1, s) for t, s, d, out in sides))
            yield (..., *tap), padded[seen]

    def grouped(self, pictures: Array) -> Array:
        """Return pictures (N, C, spatial...) as matrices (N, group, C/group, places)."""
        n, c = pictures.shape[:2]
        return pictures.reshape(n, self.group, c // self.group, int(np.prod(pictures.shape[2:])))

    def stacked(self, filters: Array) -> Array:
        """Return filters (K, C/group, taps...) as (group, K/group, C/group, taps...)."""
        return filters.reshape(self.group, filters.shape[0] // self.group, *filters.shape[1:])


def _wide_bias(bias: Array, like: Array) -> Array:
    return bias.reshape(-1, *[1] * (like.ndim - 2))


@kernel
def conv_nd_forward(x: Array, w: Array, bias: Array | None, y: Array, *geometry: int) -> None:
    """Set y (N, K, out...) to the cross-correlation of x (N, C, in...) with w, plus bias (K)."""
    plan = _Plan(geometry)
    padded, inside = plan.padded(x)
    inside[...] = x
    filters, total = plan.stacked(w), np.zeros_like(plan.grouped(y))
    for tap, seen in plan.taps(padded, w, y):
        total += filters[tap] @ plan.grouped(seen)
    y[...] = total.reshape(y.shape)
    if bias is not None:
        y += _wide_bias(bias, y)


@kernel
def conv_nd_backward_data(dy: Array, turned: Array, bias: Array | None, dx: Array, *geometry: int) -> None:
    """Set dx (N, C, in...) to the transpose of the convolution applied to dy (N, K, out...), plus bias (C)."""
    plan = _Plan(geometry)
    padded, inside = plan.padded(dx)
    filters, given = plan.stacked(np.flip(turned, tuple(range(2, turned.ndim)))), plan.grouped(dy)
    for tap, seen in plan.taps(padded, turned, dy):
        seen[...] += (filters[tap] @ given).reshape(seen.shape)
    dx[...] = inside if bias is None else inside + _wide_bias(bias, dx)


@kernel
def conv_nd_backward_weight(x: Array, dy: Array, dw: Array, *geometry: int) -> None:
    """Add to dw (K, C/group, taps...) the gradient of the filters, in float64."""
    plan = _Plan(geometry)
    padded, inside = plan.padded(x)
    inside[...] = x
    given = plan.grouped(dy).astype(np.float64)
    for tap, seen in plan.taps(padded, dw, dy):
        each = given @ plan.grouped(seen).swapaxes(2, 3)
        dw[tap] += each.sum(axis=0).reshape(dw.shape[:2])


@kernel
def conv_nd_backward_bias(dy: Array, db: Array) -> None:
    """Add to db (K) the sum of dy (N, K, out...) over all axes but the channels, in float64."""
    db += dy.sum(axis=(0, *range(2, dy.ndim)), dtype=np.float64)


@kernel
def conv_nd_flip(w: Array, turned: Array, group: int) -> None:
    """Set turned (C, K/group, taps...) to w (K, C/group, taps...) turned round, channels exchanged in groups."""
    k, c = w.shape[0] // group, w.shape[1]
    back = np.flip(w, tuple(range(2, w.ndim)))
    for g in range(group):
        turned[g * c : (g + 1) * c] = back[g * k : (g + 1) * k].swapaxes(0, 1)


@kernel
def conv_forward(x: Array, w: Array, bias: Array | None, y: Array, *geometry: int) -> None:
    """Set y (N, K, R, Q) to the cross-correlation of pictures."""
    conv_nd_forward(x, w, bias, y, *geometry)


@kernel
def conv_backward_data(dy: Array, turned: Array, bias: Array | None, dx: Array, *geometry: int) -> None:
    """Set dx (N, C, H, W) to the transposed convolution of pictures."""
    conv_nd_backward_data(dy, turned, bias, dx, *geometry)


@kernel
def conv_backward_weight(x: Array, dy: Array, dw: Array, *geometry: int) -> None:
    """Add to dw (K, C/group, U, V) the gradient of the filters."""
    conv_nd_backward_weight(x, dy, dw, *geometry)


@kernel
def conv_flip(w: Array, turned: Array, group: int) -> None:
    """Set turned (C, K/group, U, V) to w (K, C/group, U, V) turned, channels exchanged in groups."""
    conv_nd_flip(w, turned, group)
