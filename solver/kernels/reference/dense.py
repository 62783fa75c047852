"""Matrix products, sums over a batch, and moving data."""

from __future__ import annotations

import numpy as np

from batchbrew.solver.kernels.reference.table import Array, kernel


@kernel
def dense_forward(x: Array, w: Array, bias: Array | None, y: Array) -> None:
    """Set y (M, K) to x (M, C) times w (K, C) transposed, plus bias (K)."""
    y[...] = x @ w.T if bias is None else x @ w.T + bias


@kernel
def dense_backward_weight(x: Array, dy: Array, dw: Array) -> None:
    """Add dy (M, K) transposed times x (M, C) to dw (K, C)."""
    dw += dy.T.astype(np.float64) @ x


@kernel
def bias_backward(dy: Array, db: Array) -> None:
    """Add to db (K) the sum of dy over all axes but the channels (axis 1)."""
    db += dy.sum(axis=tuple(d for d in range(dy.ndim) if d != 1), dtype=np.float64)


@kernel
def copy(x: Array, y: Array) -> None:
    """Set y to x."""
    y[...] = x


@kernel
def add(x: Array, y: Array) -> None:
    """Add x to y."""
    y += x


@kernel
def fill(y: Array, value: float) -> None:
    """Set all of y to value."""
    y[...] = value


@kernel
def move_gradient(mine: Array, theirs: Array) -> None:
    """Add a gradient to another, and set it to 0."""
    theirs += mine
    mine[...] = 0


@kernel
def merge_sums(copy: Array, sums: Array) -> None:
    """Add one lane's copy of sums to them, and set it to 0."""
    move_gradient(copy, sums)


@kernel
def move_gradient_axes(mine: Array, theirs: Array) -> None:
    """Do as move_gradient, for more than 4 axes in any order."""
    move_gradient(mine, theirs)


@kernel
def clear_sums(sums: Array) -> None:
    """Set all sums (K,) to 0."""
    sums[...] = 0
