"""Batch normalisation. Of 4 axes the channels are axis 1, of fewer the last; ``pixels`` is how many a sample has."""

from __future__ import annotations

import numpy as np

from batchbrew.solver.kernels.reference.table import Array, kernel


def _as_channels(a: Array, like: Array) -> Array:
    """Return a (C) shaped to broadcast over ``like``."""
    return a.reshape(-1, 1, 1) if like.ndim == 4 else a


def _pixels(x: Array) -> tuple[int, ...]:
    return (2, 3) if x.ndim == 4 else tuple(range(1, x.ndim - 1))


@kernel
def batch_norm_statistics(x: Array, statistics: Array) -> None:
    """Set statistics (N, 2, C) to the mean of each channel of each sample and the squared distances from it, summed."""
    mean = x.mean(axis=_pixels(x), dtype=np.float64, keepdims=True)
    statistics[:, 0] = mean.reshape(statistics[:, 0].shape)
    statistics[:, 1] = ((x - mean) ** 2).sum(axis=_pixels(x))


@kernel
def batch_norm_moments(
    statistics: Array,
    mean: Array,
    inv: Array,
    mean_sum: Array,
    var_sum: Array,
    weight: Array,
    pixels: int,
    eps: float,
    fraction: float,
) -> None:
    """Set mean and inv = 1 / sqrt(variance + eps) of all samples and move the running sums.

    With m_n the mean and s_n the squares of one of N samples, the variance is
    (sum s_n / pixels + sum (m_n - mean)^2) / N (Chan, Golub and LeVeque 1983); the unbiased one is summed up.
    """
    count = len(statistics) * pixels
    if not count:
        return  # the mean of nothing would spoil the running sums
    means, squares = statistics[:, 0], statistics[:, 1]
    total = means.mean(axis=0)
    var = (squares.mean(axis=0) / pixels) + ((means - total) ** 2).mean(axis=0)
    mean[...], inv[...] = total, 1 / np.sqrt(var + eps)
    weight[...] = weight * fraction + 1
    mean_sum[...] = mean_sum * fraction + total
    var_sum[...] = var_sum * fraction + var * (count / (count - 1) if count > 1 else 1.0)


@kernel
def batch_norm_running(mean: Array, inv: Array, mean_sum: Array, var_sum: Array, weight: Array, eps: float) -> None:
    """Set mean and inv from the running sums."""
    factor = 0.0 if weight[0] == 0 else 1 / weight[0]
    mean[...] = mean_sum * factor
    inv[...] = 1 / np.sqrt(var_sum * factor + eps)


@kernel
def batch_norm_forward(x: Array, y: Array, mean: Array, inv: Array) -> None:
    """Set y to (x - mean) * inv."""
    y[...] = (x - _as_channels(mean, x)) * _as_channels(inv, x)


@kernel
def batch_norm_sums(y: Array, dy: Array, sums: Array) -> None:
    """Set sums (N, 2, C) to those of dy and of dy y over the pixels of each sample."""
    sums[:, 0] = dy.sum(axis=_pixels(y), dtype=np.float64)
    sums[:, 1] = (dy * y).sum(axis=_pixels(y), dtype=np.float64)


@kernel
def batch_norm_means(sums: Array, means: Array, pixels: int) -> None:
    """Set means (2, C) to those of dy and dy y over all samples."""
    means[...] = sums.sum(axis=0) / (len(sums) * pixels)


@kernel
def batch_norm_backward(y: Array, dy: Array, dx: Array, inv: Array, means: Array) -> None:
    """Set dx to (dy - mean(dy) - mean(dy y) y) * inv."""
    mean, dot = (_as_channels(a, y) for a in means)
    dx[...] = (dy - mean - dot * y) * _as_channels(inv, y)
