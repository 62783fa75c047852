"""Local response normalisation."""

from __future__ import annotations

import numpy as np

from batchbrew.solver.kernels.reference.table import Array, kernel


def _across(a: Array, size: int) -> Array:
    """Return the sum of a (N,C,H,W) over the `size` channels around each."""
    half = (size - 1) // 2
    padded = np.pad(a, ((0, 0), (half, half), (0, 0), (0, 0)))
    return np.asarray(sum(padded[:, j : j + a.shape[1]] for j in range(size)))


def _within(a: Array, size: int) -> Array:
    """Return the sum of a (N,C,H,W) over the size x size pixels around each."""
    half = (size - 1) // 2
    padded = np.pad(a, ((0, 0), (0, 0), (half, half), (half, half)))
    return np.asarray(
        sum(padded[:, :, u : u + a.shape[2], v : v + a.shape[3]] for u in range(size) for v in range(size))
    )


@kernel
def lrn_across_forward(x: Array, y: Array, scale: Array, size: int, alpha: float, beta: float, k: float) -> None:
    """Set scale to k + alpha/size * sum of x^2 over near channels, and y to x scale^-beta."""
    scale[...] = k + alpha / size * _across(x * x, size)
    y[...] = x * scale**-beta


@kernel
def lrn_across_backward(
    x: Array, y: Array, scale: Array, dy: Array, dx: Array, ratio: Array, size: int, alpha: float, beta: float
) -> None:
    """Set dx to dy scale^-beta - 2 alpha beta / size * x * (sum over near channels of dy y / scale)."""
    ratio[...] = dy * y / scale
    dx[...] = dy * scale**-beta - 2 * alpha * beta / size * x * _across(ratio, size)


@kernel
def lrn_within_forward(x: Array, y: Array, scale: Array, size: int, alpha: float, beta: float) -> None:
    """Set scale to 1 + alpha/size^2 * sum of x^2 over near pixels, and y to x scale^-beta."""
    scale[...] = 1 + alpha / size**2 * _within(x * x, size)
    y[...] = x * scale**-beta


@kernel
def lrn_within_backward(
    x: Array, y: Array, scale: Array, dy: Array, dx: Array, ratio: Array, size: int, alpha: float, beta: float
) -> None:
    """As lrn_across_backward, over near pixels and size^2."""
    ratio[...] = dy * y / scale
    dx[...] = dy * scale**-beta - 2 * alpha * beta / size**2 * x * _within(ratio, size)
