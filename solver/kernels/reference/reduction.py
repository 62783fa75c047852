"""Sums behind an axis, and normalisation by mean and variance."""

from __future__ import annotations

import numpy as np

from batchbrew.solver.kernels.reference.table import Array, kernel

ASUM, SUMSQ = 2, 3  # as in ReductionParameter; the others are plain sums


@kernel
def reduction_forward(x: Array, y: Array, operation: int, coeff: float) -> None:
    """Set y to coeff times the sum of x, |x| or x^2 over the axes of x that y has not."""
    terms = np.abs(x) if operation == ASUM else x * x if operation == SUMSQ else x
    y[...] = coeff * terms.sum(axis=tuple(range(y.ndim, x.ndim)), dtype=np.float64)


@kernel
def reduction_backward(x: Array, dy: Array, dx: Array, operation: int, coeff: float) -> None:
    """Set dx to coeff dy times 1, sign(x) or 2x."""
    slope = np.sign(x) if operation == ASUM else 2 * x if operation == SUMSQ else 1
    dx[...] = coeff * dy.reshape(dy.shape + (1,) * (x.ndim - dy.ndim)) * slope


@kernel
def mvn_forward(x: Array, y: Array, deviation: Array, size: int, variance: int, eps: float) -> None:
    """Set y to x minus its mean over each group of `size` elements, with variance over its deviation + eps."""
    rows = x.reshape(deviation.size, size)
    rows = rows - rows.mean(axis=1, keepdims=True, dtype=np.float64)
    if variance:
        deviation[...] = np.sqrt((rows * rows).mean(axis=1)) + eps
        rows = rows / deviation[:, None]
    y[...] = rows.reshape(y.shape)


@kernel
def mvn_backward(y: Array, dy: Array, dx: Array, deviation: Array, size: int, variance: int) -> None:
    """Set dx to dy - mean(dy), with variance to (dy - mean(dy) - y mean(y dy)) / deviation."""
    out, grad = (a.reshape(deviation.size, size).astype(np.float64) for a in (y, dy))
    rows = grad - grad.mean(axis=1, keepdims=True)
    if variance:
        rows = (rows - out * (out * grad).mean(axis=1, keepdims=True)) / deviation[:, None]
    dx[...] = rows.reshape(dx.shape)
