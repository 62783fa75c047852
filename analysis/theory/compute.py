"""Compute time of a step on one node against its local batch, and what splitting the batch alone can give."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from batchbrew.analysis.arrays import Array, array


def step_seconds(batch: ArrayLike, a: ArrayLike, c: ArrayLike) -> Array:
    """Return the compute seconds of one step over ``batch`` samples: t(b) = a + c b.

    ``a`` is the cost of a step that does not depend on the batch, ``c`` the cost of a sample.
    """
    return array(array(a) + array(c) * array(batch))


def throughput(batch: ArrayLike, a: ArrayLike, c: ArrayLike) -> Array:
    """Return samples per second at a local batch: b / (a + c b); the limit for large b is 1 / c."""
    return array(array(batch) / step_seconds(batch, a, c))


def half_batch(a: ArrayLike, c: ArrayLike) -> Array:
    """Return b_1/2 = a / c, the local batch that reaches half of the peak rate.

    The compute analogue of Hockney's n_1/2.

    >>> round(float(half_batch(2e-3, 1e-3)), 6)
    2.0
    """
    return array(array(a) / array(c))


def batch_speedup(batch: ArrayLike, nodes: ArrayLike, a: ArrayLike, c: ArrayLike) -> Array:
    """Return S_batch, the speedup of splitting a global batch when communication is free.

    S_batch(p) = (a + cB) / (a + cB/p) = p (B + b_1/2) / (B + p b_1/2).

    >>> round(float(batch_speedup(128, 8, 2e-3, 1e-3)), 5)
    7.22222
    """
    return array(step_seconds(batch, a, c) / step_seconds(array(batch) / array(nodes), a, c))


def comm_speedup(batch: ArrayLike, nodes: ArrayLike, a: ArrayLike, c: ArrayLike, comm_seconds: ArrayLike) -> Array:
    """Return S_comm, S_batch with a communication time that is not overlapped: (a + cB) / (a + cB/p + T_comm)."""
    parallel = step_seconds(array(batch) / array(nodes), a, c) + array(comm_seconds)
    return array(step_seconds(batch, a, c) / parallel)


def set_size_speedup(samples: ArrayLike, seconds: ArrayLike, train_samples: float, nodes: ArrayLike) -> Array:
    """Return T(N) / T(N/p), read from a one-node curve of training time against training-set size.

    The theoretical speedup of data parallelism as a function of how fast one machine gets through a
    smaller set: p nodes train on N/p samples each. ``samples`` (n,) and ``seconds`` (n,) are the
    measured curve; between points it is read linearly, beyond them along its end segments. With one
    point only, or a predicted time that is not positive, the answer is NaN.
    """
    order = np.argsort(array(samples), kind="stable")
    x, y = array(samples)[order], array(seconds)[order]
    p = array(nodes)
    if x.size < 2:
        return np.full(p.shape, np.nan)
    whole, part = _read(x, y, array(train_samples)), _read(x, y, train_samples / p)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((whole > 0) & (part > 0), whole / part, np.nan)


def _read(x: Array, y: Array, at: Array) -> Array:
    """Return the piecewise linear curve (x ascending, y) at ``at``, its end segments prolonged."""
    k = np.clip(np.searchsorted(x, at) - 1, 0, x.size - 2)
    return array(y[k] + (at - x[k]) * (y[k + 1] - y[k]) / (x[k + 1] - x[k]))
