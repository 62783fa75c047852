"""Softmax, losses and accuracy."""

from __future__ import annotations

import numpy as np

from batchbrew.solver.kernels.reference.table import Array, kernel


@kernel
def softmax_forward(x: Array, y: Array, axis: int) -> None:
    """Set y to e^x over its sum along axis."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    y[...] = e / e.sum(axis=axis, keepdims=True)


@kernel
def softmax_backward(y: Array, dx: Array, dy: Array, axis: int) -> None:
    """Set dx to y (dy - sum of y dy along axis)."""
    dx[...] = y * (dy - (y * dy).sum(axis=axis, keepdims=True))


def settle(
    total: float, divisor: float, top: Array, norm: Array, stat: Array, counts: bool | int, sums: bool | int
) -> None:
    """Set norm to divisor (at least 1) and top to the mean; with sums, top to the sum, stat growing by both."""
    norm[0] = max(divisor, 1.0)
    top[0] = total if sums else total / max(divisor, 1.0)
    if sums:
        stat += (total, divisor if counts else 0.0)


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
    each: int,
    normalization: int,
    ignores: int,
    ignored: int,
    sums: int,
) -> None:
    """Set prob to softmax(x) and top to the mean of -log prob[label]; with sums, to the sum, stat growing likewise.

    ``each`` is the number of positions of what BATCH_SIZE counts.
    """
    softmax_forward(x, prob, axis)
    at = label.reshape(-1).astype(np.int64)
    valid = at != ignored if ignores else np.ones(at.shape, bool)
    rows = _class_rows(prob, axis)
    inside = (at >= 0) & (at < rows.shape[1])
    picked = rows[np.arange(at.size), np.where(inside, at, 0)]
    terms = np.where(inside, -np.log(np.maximum(picked, np.finfo(np.float32).tiny)), np.nan)
    total = terms[valid].sum(dtype=np.float64)
    settle(total, (at.size, valid.sum(), at.size / each, 1)[normalization], top, norm, stat, normalization != 3, sums)


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
    top.reshape(-1)[0] = half if sums else half / max(x.shape[0], 1)
    if sums:
        stat += (half, x.shape[0])


@kernel
def euclidean_backward(x: Array, z: Array, dx: Array, dtop: Array, sign: float, factor: float) -> None:
    """Set dx to sign (x - z) dtop factor."""
    dx[...] = (x - z) * (dtop.reshape(-1)[0] * sign * factor)


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
