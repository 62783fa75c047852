"""The best global batch and the best possible time to a target, in closed form.

With a step of A + cB/p seconds (A = a + T_comm, no overlap) and S_min (1 + B_c/B) updates.
All functions are derived by minimising over B.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from batchbrew.analysis.arrays import Array, array


def time_to_target(
    batch: ArrayLike, nodes: ArrayLike, s_min: ArrayLike, b_crit: ArrayLike, *, overhead: ArrayLike, c: ArrayLike
) -> Array:
    """Return T(B, p) = S_min (1 + B_c/B)(A + cB/p) in seconds; ``overhead`` is A."""
    b = array(batch)
    return array(array(s_min) * (1.0 + array(b_crit) / b) * (array(overhead) + array(c) * b / array(nodes)))


def best_batch(nodes: ArrayLike, b_crit: ArrayLike, overhead: ArrayLike, c: ArrayLike) -> Array:
    """Return B*(p) = sqrt(B_c A p / c): it grows with the square root of nodes and of overhead.

    >>> round(float(best_batch(8, 1000, 10e-3, 1e-3)), 3)
    282.843
    """
    return array(np.sqrt(array(b_crit) * array(overhead) * array(nodes) / array(c)))


def best_time(nodes: ArrayLike, s_min: ArrayLike, b_crit: ArrayLike, overhead: ArrayLike, c: ArrayLike) -> Array:
    """Return T*(p) = S_min (sqrt(A) + sqrt(B_c c / p))^2, the seconds to the target at the best batch."""
    root = np.sqrt(array(overhead)) + np.sqrt(array(b_crit) * array(c) / array(nodes))
    return array(array(s_min) * root**2)


def best_speedup(
    nodes: ArrayLike, b_crit: ArrayLike, overhead_one: ArrayLike, overhead: ArrayLike, c: ArrayLike
) -> Array:
    """Return T*(1) / T*(p), each at its own best batch; ``overhead_one`` and ``overhead`` are A on 1 and p nodes."""
    return array(best_time(1, 1.0, b_crit, overhead_one, c) / best_time(nodes, 1.0, b_crit, overhead, c))


def speedup_limit(b_crit: ArrayLike, overhead_one: ArrayLike, overhead: ArrayLike, c: ArrayLike) -> Array:
    """Return the limit for endless nodes: ((sqrt(A_1) + sqrt(B_c c)) / sqrt(A))^2."""
    root = np.sqrt(array(overhead_one)) + np.sqrt(array(b_crit) * array(c))
    return array(root**2 / array(overhead))
