"""Element-wise layers."""

from __future__ import annotations

from math import prod

import numpy as np

from batchbrew.solver.kernels.reference.table import Array, kernel


@kernel
def relu_forward(x: Array, y: Array, slope: float) -> None:
    """Set y to max(x, 0) + slope * min(x, 0)."""
    y[...] = np.where(x > 0, x, slope * x)


@kernel
def relu_backward(x: Array, dy: Array, dx: Array, slope: float) -> None:
    """Set dx to dy where x > 0, to slope * dy elsewhere."""
    dx[...] = np.where(x > 0, dy, slope * dy)


@kernel
def sigmoid_forward(x: Array, y: Array) -> None:
    """Set y to 1 / (1 + e^-x)."""
    y[...] = 0.5 * np.tanh(0.5 * x) + 0.5


@kernel
def sigmoid_backward(y: Array, dy: Array, dx: Array) -> None:
    """Set dx to dy y (1 - y)."""
    dx[...] = dy * y * (1 - y)


@kernel
def tanh_forward(x: Array, y: Array) -> None:
    """Set y to tanh x."""
    y[...] = np.tanh(x)


@kernel
def tanh_backward(y: Array, dy: Array, dx: Array) -> None:
    """Set dx to dy (1 - y^2)."""
    dx[...] = dy * (1 - y * y)


def _mix64(z: Array) -> Array:
    """Return 64 well-mixed bits from counters: the last steps of splitmix64 (Steele, Lea and Flood 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


@kernel
def dropout_forward(x: Array, y: Array, mask: Array, keys: Array, salt: int, ratio: float) -> None:
    """Set y to x * mask, mask 0 with probability ratio, else 1 / (1 - ratio), drawn from keys (N), salt and place."""
    place = np.arange(1, prod(x.shape[1:]) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    salted = keys ^ _mix64(np.array([salt], np.uint64))
    draw = _mix64(salted[:, None] + place[None]) >> np.uint64(40)
    keep = (draw >= np.uint64(int(ratio * 16777216.0))).reshape(x.shape)
    mask[...] = keep * (1.0 / (1.0 - ratio))
    y[...] = x * mask


@kernel
def dropout_backward(mask: Array, dy: Array, dx: Array) -> None:
    """Set dx to mask * dy."""
    dx[...] = mask * dy
