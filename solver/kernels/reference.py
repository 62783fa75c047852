"""NumPy reference of every compiled kernel: the same names and arguments, written to be read, for any float type.

Axis letters: N samples, C input channels, K output channels, H and W height and width, R and Q rows and columns of an
output, U and V rows and columns of a filter or window. ``x``, ``y``, ``w`` are data, ``dx``, ``dy``, ``dw`` gradients.
Pictures are (N, C, H, W) views; memory layout is of no concern here.
"""

# ruff: noqa: PLR0917 - kernels are called by position, as the compiled ones are

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
KERNELS: dict[str, Callable[..., None]] = {}


def kernel(function: Callable[..., None]) -> Callable[..., None]:
    """Enter a function under its own name."""
    KERNELS[function.__name__] = function
    return function


def _patches(
    x: Array,
    rows: int,
    cols: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int],
    dilation: tuple[int, int],
) -> Iterator[tuple[int, int, Array]]:
    """Yield (u, v, what tap (u, v) sees: N, C, rows, cols), zeros outside the picture."""
    n, c = x.shape[:2]
    need_h = (rows - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1
    need_w = (cols - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1
    padded = np.zeros((n, c, need_h, need_w), x.dtype)
    top, left = max(0, -pad[0]), max(0, -pad[1])
    part = x[:, :, top : max(top, need_h - pad[0]), left : max(left, need_w - pad[1])]
    padded[:, :, top + pad[0] : top + pad[0] + part.shape[2], left + pad[1] : left + pad[1] + part.shape[3]] = part
    for u in range(kernel[0]):
        for v in range(kernel[1]):
            r, q = u * dilation[0], v * dilation[1]
            yield (
                u,
                v,
                padded[
                    :, :, r : r + (rows - 1) * stride[0] + 1 : stride[0], q : q + (cols - 1) * stride[1] + 1 : stride[1]
                ],
            )


@kernel
def conv_forward(
    x: Array, w: Array, bias: Array | None, y: Array, sh: int, sw: int, ph: int, pw: int, dh: int, dw: int, group: int
) -> None:
    """Set y (N,K,R,Q) to the cross-correlation of x with w (K, C/group, U, V)."""
    k, c = w.shape[0] // group, w.shape[1]
    out = np.zeros(y.shape, y.dtype)
    for u, v, seen in _patches(x, y.shape[2], y.shape[3], w.shape[2:], (sh, sw), (ph, pw), (dh, dw)):
        for g in range(group):
            out[:, g * k : (g + 1) * k] += np.einsum(
                "kc,ncrq->nkrq", w[g * k : (g + 1) * k, :, u, v], seen[:, g * c : (g + 1) * c], optimize=True
            )
    y[...] = out if bias is None else out + bias[:, None, None]


@kernel
def conv_backward_weight(
    x: Array, dy: Array, dw: Array, sh: int, sw: int, ph: int, pw: int, dh: int, dw_: int, group: int
) -> None:
    """Add to dw (K, C/group, U, V) the gradient of the filters."""
    k, c = dw.shape[0] // group, dw.shape[1]
    for u, v, seen in _patches(x, dy.shape[2], dy.shape[3], dw.shape[2:], (sh, sw), (ph, pw), (dh, dw_)):
        for g in range(group):
            dw[g * k : (g + 1) * k, :, u, v] += np.einsum(
                "nkrq,ncrq->kc", dy[:, g * k : (g + 1) * k], seen[:, g * c : (g + 1) * c], optimize=True
            )


@kernel
def conv_flip(w: Array, wt: Array, group: int) -> None:
    """Set wt (C, K/group, U, V) to w (K, C/group, U, V) turned by 180 degrees, channels exchanged within groups."""
    k, c = w.shape[0] // group, w.shape[1]
    for g in range(group):
        wt[g * c : (g + 1) * c] = w[g * k : (g + 1) * k, :, ::-1, ::-1].transpose(1, 0, 2, 3)


@kernel
def spread(x: Array, y: Array, sh: int, sw: int) -> None:
    """Write x into every sh-th row and sw-th column of y."""
    y[:, :, : (x.shape[2] - 1) * sh + 1 : sh, : (x.shape[3] - 1) * sw + 1 : sw] = x


@kernel
def dense_forward(x: Array, w: Array, bias: Array | None, y: Array) -> None:
    """Set y (M, K) to x (M, C) times w (K, C) transposed, plus bias (K)."""
    y[...] = x @ w.T if bias is None else x @ w.T + bias


@kernel
def dense_backward_weight(x: Array, dy: Array, dw: Array) -> None:
    """Add dy (M, K) transposed times x (M, C) to dw (K, C)."""
    dw += dy.T @ x


@kernel
def bias_backward(dy: Array, db: Array) -> None:
    """Add to db (K) the sum of dy over all axes but the channels (axis 1)."""
    db += dy.sum(axis=tuple(d for d in range(dy.ndim) if d != 1))


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


def _windows(x: Array, y: Array, geometry: tuple[int, ...]) -> Iterator[tuple[int, int, slice, slice, int]]:
    """Yield (r, q, rows, cols, size with padding) of every pooling window, clipped to the picture."""
    kh, kw, sh, sw, ph, pw = geometry
    for r in range(y.shape[2]):
        for q in range(y.shape[3]):
            top, left = r * sh - ph, q * sw - pw
            bottom, right = min(top + kh, x.shape[2] + ph), min(left + kw, x.shape[3] + pw)
            yield (
                r,
                q,
                slice(max(top, 0), min(bottom, x.shape[2])),
                slice(max(left, 0), min(right, x.shape[3])),
                (bottom - top) * (right - left),
            )


@kernel
def pool_max_forward(x: Array, y: Array, mask: Array, *geometry: int) -> None:
    """Set y to the first maximum of each window and mask to its place h*W + w (-1 where nothing exceeds -FLT_MAX)."""
    lowest = -float(np.finfo(np.float32).max)
    for r, q, rows, cols, _ in _windows(x, y, geometry):
        window = x[:, :, rows, cols]
        flat = np.where(np.isnan(window), -np.inf, window).reshape(*window.shape[:2], -1)
        at = flat.argmax(axis=2)
        best = np.take_along_axis(flat, at[..., None], axis=2)[..., 0]
        found = best > lowest
        y[:, :, r, q] = np.where(found, best, lowest)
        u, v = at // window.shape[3] + rows.start, at % window.shape[3] + cols.start
        mask[:, :, r, q] = np.where(found, u * x.shape[3] + v, -1)


@kernel
def pool_max_backward(dx: Array, dy: Array, mask: Array, *geometry: int) -> None:
    """Set dx to dy sent back to where the maxima were."""
    n, c, height, width = dx.shape
    flat = np.zeros((n, c, height * width), dx.dtype)
    i, j = np.ogrid[:n, :c]
    for r in range(dy.shape[2]):
        for q in range(dy.shape[3]):
            at = mask[:, :, r, q]
            flat[i, j, np.maximum(at, 0)] += np.where(at >= 0, dy[:, :, r, q], 0)
    dx[...] = flat.reshape(dx.shape)


@kernel
def pool_ave_forward(x: Array, y: Array, *geometry: int) -> None:
    """Set y to window sums over window sizes, padding counted as Caffe counts it."""
    for r, q, rows, cols, size in _windows(x, y, geometry):
        y[:, :, r, q] = x[:, :, rows, cols].sum(axis=(2, 3)) / size


@kernel
def pool_ave_backward(dx: Array, dy: Array, *geometry: int) -> None:
    """Set dx to dy spread evenly over each window."""
    dx[...] = 0
    for r, q, rows, cols, size in _windows(dx, dy, geometry):
        dx[:, :, rows, cols] += dy[:, :, r, q][:, :, None, None] / size


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
    place = np.arange(1, x[0].size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    salted = keys ^ _mix64(np.array([salt], np.uint64))
    draw = _mix64(salted[:, None] + place[None]) >> np.uint64(40)
    keep = (draw >= np.uint64(int(ratio * 16777216.0))).reshape(x.shape)
    mask[...] = keep * (1.0 / (1.0 - ratio))
    y[...] = x * mask


@kernel
def dropout_backward(mask: Array, dy: Array, dx: Array) -> None:
    """Set dx to mask * dy."""
    dx[...] = mask * dy


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
    own += (dy * x).sum(axis=spread_axes, keepdims=True)


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
    if use_global:
        dx[...] = dy * _per_channel(inv, y, channels)
        return
    mean, dot = dy.mean(axis=_others(y)), (dy * y).mean(axis=_others(y))
    dx[...] = (dy - _per_channel(mean, y, channels) - _per_channel(dot, y, channels) * y) * _per_channel(
        inv, y, channels
    )


@kernel
def softmax_forward(x: Array, y: Array, axis: int) -> None:
    """Set y to e^x over its sum along axis."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    y[...] = e / e.sum(axis=axis, keepdims=True)


@kernel
def softmax_backward(y: Array, dx: Array, dy: Array, axis: int) -> None:
    """Set dx to y (dy - sum of y dy along axis)."""
    dx[...] = y * (dy - (y * dy).sum(axis=axis, keepdims=True))


def _class_rows(x: Array, axis: int) -> Array:
    """Return x as (positions, classes), positions in logical order."""
    return np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])


@kernel
def softmax_loss_forward(
    x: Array,
    prob: Array,
    label: Array,
    top: Array,
    norm: Array,
    stat: Array,
    axis: int,
    normalization: int,
    ignores: int,
    ignored: int,
    sums: int,
) -> None:
    """Set prob to softmax(x) and top to the mean of -log prob[label]; with sums, to the sum, stat growing likewise."""
    softmax_forward(x, prob, axis)
    at = label.reshape(-1).astype(np.int64)
    valid = at != ignored if ignores else np.ones(at.shape, bool)
    rows = _class_rows(prob, axis)
    inside = (at >= 0) & (at < rows.shape[1])
    picked = rows[np.arange(at.size), np.where(inside, at, 0)]
    terms = np.where(inside, -np.log(np.maximum(picked, np.finfo(np.float32).tiny)), np.nan)
    total = terms[valid].sum(dtype=np.float64)
    divisor = float((at.size, valid.sum(), x.shape[0], 1)[normalization])
    norm[0] = max(divisor, 1.0)
    top.reshape(-1)[0] = total if sums else total / max(divisor, 1.0)
    if sums:
        stat += (total, 0.0 if normalization == 3 else divisor)


@kernel
def softmax_loss_backward(
    prob: Array,
    dx: Array,
    label: Array,
    dtop: Array,
    norm: Array,
    axis: int,
    ignores: int,
    ignored: int,
    sums: int,
    factor: float,
) -> None:
    """Set dx to (prob - [label]) times dtop over the divisor, zero where the label is ignored."""
    at = label.reshape(-1).astype(np.int64)
    rows = _class_rows(prob, axis).copy()
    inside = (at >= 0) & (at < rows.shape[1])
    rows[np.arange(at.size)[inside], at[inside]] -= 1
    if ignores:
        rows[at == ignored] = 0
    scale = dtop.reshape(-1)[0] * (factor if sums else 1 / norm[0])
    shape = np.moveaxis(prob, axis, -1).shape
    dx[...] = np.moveaxis(rows.reshape(shape), -1, axis) * scale


@kernel
def euclidean_forward(x: Array, z: Array, top: Array, stat: Array, sums: int) -> None:
    """Set top to half the summed squares of x - z over N."""
    half = 0.5 * float(((x - z).astype(np.float64) ** 2).sum())
    top.reshape(-1)[0] = half if sums else half / x.shape[0]
    if sums:
        stat += (half, x.shape[0])


@kernel
def euclidean_backward(x: Array, z: Array, dx: Array, dtop: Array, sums: int, sign: float, factor: float) -> None:
    """Set dx to sign (x - z) dtop / N."""
    dx[...] = (x - z) * (dtop.reshape(-1)[0] * sign * (factor if sums else 1 / x.shape[0]))


@kernel
def accuracy_forward(
    x: Array,
    label: Array,
    top: Array,
    per_class: Array | None,
    stat: Array,
    scratch: Array,
    axis: int,
    top_k: int,
    ignores: int,
    ignored: int,
    sums: int,
) -> None:
    """Set top to the share of positions where fewer than top_k other classes score at least as high as the true one."""
    rows, at = _class_rows(x, axis), label.reshape(-1).astype(np.int64)
    valid = (at >= 0) & (at < rows.shape[1])
    if ignores:
        valid &= at != ignored
    rows, at = rows[valid], at[valid]
    own = rows[np.arange(at.size), at]
    right = ((rows >= own[:, None]).sum(axis=1) - 1 < top_k) & ~np.isnan(own)
    top.reshape(-1)[0] = right.mean() if at.size else 0
    if per_class is not None:
        seen = np.bincount(at, minlength=per_class.size)
        hits = np.bincount(at, weights=right, minlength=per_class.size)
        per_class[...] = hits / np.maximum(seen, 1)
    if sums:
        stat += (right.sum(), at.size)


def _regularised(w: Array, g: Array, numbers: Array, decay_mult: float) -> Array:
    decay = numbers[3] * decay_mult
    return np.asarray(g * numbers[1] + decay * (np.sign(w) if numbers[4] else w))


@kernel
def sgd_update(w: Array, g: Array, h: Array, numbers: Array, lr_mult: float, decay_mult: float) -> None:
    """Set h to momentum h + rate g, and subtract it from w; numbers: rate, scale of g, momentum, decay, L1 or not."""
    h[...] = numbers[2] * h + numbers[0] * lr_mult * _regularised(w, g, numbers, decay_mult)
    w -= h


@kernel
def nesterov_update(w: Array, g: Array, h: Array, numbers: Array, lr_mult: float, decay_mult: float) -> None:
    """Set h' to momentum h + rate g, and subtract (1 + momentum) h' - momentum h from w."""
    old = h.copy()
    h[...] = numbers[2] * old + numbers[0] * lr_mult * _regularised(w, g, numbers, decay_mult)
    w -= (1 + numbers[2]) * h - numbers[2] * old


@kernel
def sum_squares(x: Array, out: Array) -> None:
    """Set out[0] to the sum of squares of x."""
    out[0] = np.vdot(x.astype(np.float64), x)
