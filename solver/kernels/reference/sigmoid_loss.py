"""SigmoidCrossEntropyLoss."""

from __future__ import annotations

import numpy as np

from batchbrew.solver.kernels.reference.loss import settle
from batchbrew.solver.kernels.reference.table import Array, kernel


@kernel
def sigmoid_loss_forward(
    x: Array,
    t: Array,
    top: Array,
    norm: Array,
    stat: Array,
    each: int,
    normalization: int,
    ignores: int,
    ignored: int,
    sums: int,
) -> None:
    """Set top to the mean of log(1 + e^x) - x t over the elements whose t, cut to an integer, is not ignored."""
    valid = t.astype(np.int64) != ignored if ignores else np.ones(t.shape, bool)
    terms = np.log1p(np.exp(-abs(x))) - x * (t - (x >= 0))
    total = terms[valid].sum(dtype=np.float64)
    settle(total, (x.size, valid.sum(), x.size / each, 1)[normalization], top, norm, stat, normalization != 3, sums)


@kernel
def sigmoid_loss_backward(
    x: Array,
    t: Array,
    dx: Array,
    dtop: Array,
    norm: Array,
    ignores: int,
    ignored: int,
    sums: int,
    factor: float,
) -> None:
    """Set dx to (sigmoid(x) - t) times dtop over the divisor, zero where ignored."""
    scale = dtop[0] * (factor if sums else 1 / norm[0])
    dx[...] = (0.5 * np.tanh(0.5 * x) + 0.5 - t) * scale
    if ignores:
        dx[t.astype(np.int64) == ignored] = 0
