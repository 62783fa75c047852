"""Losses that read labels: hinge, multinomial, infogain and contrastive.

A label beyond the classes makes the loss NaN; its sample then has no entry in the gradient that belongs to a label.
"""

from __future__ import annotations

import numpy as np

from batchbrew.solver.kernels.reference.loss import settle, softmax_forward
from batchbrew.solver.kernels.reference.table import Array, kernel

SMALLEST = 1e-20  # probability whose logarithm is taken


def _labels(label: Array, classes: int) -> tuple[Array, Array, Array]:
    """Return the labels cut to integers, 0 where beyond the classes; where they are within; and 0, 1, 2..."""
    at = label.reshape(-1).astype(np.int64)
    inside = (at >= 0) & (at < classes)
    return np.where(inside, at, 0), inside, np.arange(at.size)


def _margins(x: Array, label: Array) -> tuple[Array, Array, Array]:
    """Return max(0, 1 + s), the sign of x in s (N, C), and which labels are classes (N)."""
    rows = x.reshape(x.shape[0], -1)
    at, inside, n = _labels(label, rows.shape[1])
    sign = np.ones(rows.shape, x.dtype)
    sign[n[inside], at[inside]] = -1
    return np.maximum(0, 1 + sign * rows), sign, inside


@kernel
def hinge_forward(x: Array, label: Array, top: Array, norm: Array, stat: Array, squares: int, sums: int) -> None:
    """Set top to the summed margins or squared margins of x (N, C...) over N."""
    margins, _, inside = _margins(x, label)
    total = (margins**2 if squares else margins).sum(dtype=np.float64) if inside.all() else np.nan
    settle(total, x.shape[0], top, norm, stat, True, sums)


@kernel
def hinge_backward(
    x: Array, label: Array, dx: Array, dtop: Array, norm: Array, squares: int, sums: int, factor: float
) -> None:
    """Set dx to the sign of each margin or to twice the margin, negated at the label, times dtop over N."""
    margins, sign, _ = _margins(x, label)
    scale = dtop[0] * (factor if sums else 1 / norm[0])
    dx[...] = (sign * (2 * margins if squares else np.sign(margins)) * scale).reshape(x.shape)


@kernel
def multinomial_forward(p: Array, label: Array, top: Array, norm: Array, stat: Array, sums: int) -> None:
    """Set top to the mean of -log p[label], p (N, C...) at least 1e-20."""
    rows = p.reshape(p.shape[0], -1)
    at, inside, n = _labels(label, rows.shape[1])
    terms = np.where(inside, -np.log(np.maximum(rows[n, at], SMALLEST)), np.nan)
    settle(terms.sum(dtype=np.float64), p.shape[0], top, norm, stat, True, sums)


@kernel
def multinomial_backward(p: Array, label: Array, dp: Array, dtop: Array, norm: Array, sums: int, factor: float) -> None:
    """Set dp to -1 / p at the label, times dtop over N, and to 0 elsewhere."""
    rows = p.reshape(p.shape[0], -1)
    at, inside, n = _labels(label, rows.shape[1])
    scale = dtop[0] * (factor if sums else 1 / norm[0])
    gradient = np.zeros(rows.shape, p.dtype)
    gradient[n[inside], at[inside]] = -scale / np.maximum(rows[n, at], SMALLEST)[inside]
    dp[...] = gradient.reshape(p.shape)


@kernel
def infogain_forward(
    x: Array,
    prob: Array,
    label: Array,
    gains: Array,
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
    """Set prob to softmax(x) and top to the mean of -sum gains[label] log prob over the labels not ignored."""
    softmax_forward(x, prob, axis)
    classes = x.shape[axis]
    rows = np.moveaxis(prob, axis, -1).reshape(-1, classes)
    at, inside, _ = _labels(label, classes)
    valid = label.reshape(-1).astype(np.int64) != ignored if ignores else np.ones(at.shape, bool)
    terms = -(gains.reshape(classes, classes)[at] * np.log(np.maximum(rows, SMALLEST))).sum(axis=1)
    total = np.where(inside, terms, np.nan)[valid].sum(dtype=np.float64)
    settle(total, (at.size, valid.sum(), at.size / each, 1)[normalization], top, norm, stat, normalization != 3, sums)


@kernel
def infogain_backward(
    prob: Array,
    dx: Array,
    label: Array,
    gains: Array,
    dtop: Array,
    norm: Array,
    axis: int,
    ignores: int,
    ignored: int,
    sums: int,
    factor: float,
) -> None:
    """Set dx to (prob times the sum of gains[label] - gains[label]) times dtop over the divisor, zero where ignored."""
    classes = prob.shape[axis]
    last = np.moveaxis(prob, axis, -1)
    at, inside, _ = _labels(label, classes)
    valid = inside & (label.reshape(-1).astype(np.int64) != ignored) if ignores else inside
    gain = gains.reshape(classes, classes)[at] * valid[:, None]
    gradient = last.reshape(-1, classes) * gain.sum(axis=1, keepdims=True) - gain
    scale = dtop[0] * (factor if sums else 1 / norm[0])
    dx[...] = np.moveaxis(gradient.reshape(last.shape), -1, axis) * scale


def _pairs(a: Array, b: Array, label: Array) -> tuple[Array, Array, Array]:
    """Return a - b (N, C), the squared distances (N), and which pairs are alike (N)."""
    gap = (a - b.reshape(a.shape)).reshape(a.shape[0], -1)
    return gap, (gap * gap).sum(axis=1), label.reshape(-1).astype(np.int64) != 0


@kernel
def contrastive_forward(
    a: Array, b: Array, label: Array, top: Array, norm: Array, stat: Array, legacy: int, sums: int, margin: float
) -> None:
    """Set top to half the mean of d^2 of pairs alike and max(margin - d, 0)^2, or max(margin - d^2, 0), of others."""
    gap, squared, alike = _pairs(a, b, label)
    apart = np.maximum(margin - squared, 0) if legacy else np.maximum(margin - np.sqrt(squared), 0) ** 2
    total = np.where(alike, squared, apart).sum(dtype=np.float64) / 2
    settle(total, len(gap), top, norm, stat, True, sums)


@kernel
def contrastive_backward(
    a: Array,
    b: Array,
    label: Array,
    dx: Array,
    dtop: Array,
    norm: Array,
    legacy: int,
    sums: int,
    margin: float,
    sign: float,
    factor: float,
) -> None:
    """Set dx to the gradient of a (sign 1) or b (-1), times dtop over N; 1e-4 keeps the distance from zero."""
    gap, squared, alike = _pairs(a, b, label)
    distance = np.sqrt(squared)
    apart = (
        -np.sign(np.maximum(margin - squared, 0)) if legacy else -np.maximum(margin - distance, 0) / (distance + 1e-4)
    )
    scale = dtop[0] * sign * (factor if sums else 1 / norm[0])
    dx[...] = (np.where(alike, 1, apart)[:, None] * gap * scale).reshape(dx.shape)
