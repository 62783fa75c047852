"""Scale, local response normalisation and batch normalisation."""

from __future__ import annotations

import numpy as np

from batchbrew.solver.kernels.reference.table import Array, kernel


@kernel
def scale_forward(x: Array, y: Array, factor: Array | None, bias: Array | None) -> None:
    """Set y to x * factor + bias, both broadcast to the shape of x."""
    y[...] = x if factor is None else x * factor
    if bias is not None:
        y += bias


@kernel
def scale_backward_data(dy: Array, dx: Array, factor: Array) -> None:
    """Set dx to dy * factor."""
    dx[...] = dy * factor


@kernel
def scale_backward_factor(dy: Array, x: Array, dfactor: Array) -> None:
    """Add dy * x to dfactor, which is broadcast (stride 0) to the shape of x: sums over what was broadcast."""
    spread_axes = tuple(d for d in range(x.ndim) if dfactor.strides[d] == 0)
    own = dfactor[tuple(slice(0, 1) if d in spread_axes else slice(None) for d in range(x.ndim))]
    own += (dy * x).sum(axis=spread_axes, keepdims=True, dtype=np.float64)


@kernel
def scale_backward_bottom(dy: Array, x: Array, dfactor: Array) -> None:
    """As scale_backward_factor, for a factor that is a bottom."""
    scale_backward_factor(dy, x, dfactor)


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


def _per_channel(a: Array, like: Array, channels: int) -> Array:
    """Return a (channels) shaped to broadcast over `like`, whose channels lie in axis 1 or, of 3 axes, in the last."""
    return a.reshape(1, channels, 1, 1) if like.ndim == 4 else a


def _others(x: Array) -> tuple[int, ...]:
    return (0, 2, 3) if x.ndim == 4 else tuple(range(x.ndim - 1))


@kernel
def batch_norm_forward(
    x: Array,
    y: Array,
    mean: Array,
    inv: Array,
    mean_sum: Array,
    var_sum: Array,
    weight: Array,
    scratch: Array,
    channels: int,
    use_global: int,
    eps: float,
    fraction: float,
) -> None:
    """Set y to (x - mean) * inv per channel; without global statistics, also move the three running sums."""
    m = x.size // channels
    if not m:
        return  # the mean of nothing would spoil the running sums
    if use_global:
        factor = 0.0 if weight[0] == 0 else 1 / weight[0]
        mean[...] = mean_sum * factor
        var = var_sum * factor
    else:
        mean[...] = x.mean(axis=_others(x), dtype=np.float64)
        var = x.var(axis=_others(x), dtype=np.float64)
        weight[...] = weight * fraction + 1
        mean_sum[...] = mean_sum * fraction + mean
        var_sum[...] = var_sum * fraction + var * (m / (m - 1) if m > 1 else 1.0)
    inv[...] = 1 / np.sqrt(var + eps)
    y[...] = (x - _per_channel(mean, x, channels)) * _per_channel(inv, x, channels)


@kernel
def batch_norm_backward(
    y: Array, dy: Array, dx: Array, inv: Array, scratch: Array, channels: int, use_global: int
) -> None:
    """Set dx to (dy - mean(dy) - mean(dy y) y) * inv, or to dy * inv with global statistics."""
    if use_global or not y.size:
        dx[...] = dy * _per_channel(inv, y, channels)
        return
    mean, dot = dy.mean(axis=_others(y)), (dy * y).mean(axis=_others(y))
    dx[...] = (dy - _per_channel(mean, y, channels) - _per_channel(dot, y, channels) * y) * _per_channel(
        inv, y, channels
    )
