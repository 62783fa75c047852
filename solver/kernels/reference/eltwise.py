"""Several blobs of one shape, element by element, two at a time; y may be x."""

from __future__ import annotations

import numpy as np

from batchbrew.solver.kernels.reference.table import Array, kernel


@kernel
def scaled(x: Array, y: Array, factor: float) -> None:
    """Set y to factor x."""
    y[...] = factor * x


@kernel
def eltwise_sum(x: Array, z: Array, y: Array, a: float, b: float) -> None:
    """Set y to a x + b z."""
    y[...] = a * x + b * z


@kernel
def eltwise_product(x: Array, z: Array, y: Array) -> None:
    """Set y to x z."""
    y[...] = x * z


@kernel
def eltwise_quotient(x: Array, z: Array, y: Array) -> None:
    """Set y to x / z."""
    y[...] = x / z


@kernel
def eltwise_max(x: Array, z: Array, y: Array, winner: Array, number: int) -> None:
    """Set y to the larger of x and z, and winner to `number` where it is z; the second blob (1) wins ties."""
    takes = ~(x > z) if number == 1 else z > x
    winner[...] = np.where(takes, number, 0 if number == 1 else winner)
    y[...] = np.where(takes, z, x)


@kernel
def eltwise_max_backward(winner: Array, dy: Array, dx: Array, number: int) -> None:
    """Set dx to dy where winner is number, to 0 elsewhere."""
    dx[...] = np.where(winner == number, dy, 0)
