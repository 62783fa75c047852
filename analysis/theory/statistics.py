"""Batch size against updates to a target: the hyperbola, its regimes and five critical batches.

(S/S_min - 1)(E/E_min - 1) = 1 with E = B S. Source: S. McCandlish et al., arXiv:1812.06162.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from batchbrew.analysis.arrays import Array, array

PERFECT, DIMINISHING, MAXIMAL = "perfect scaling", "diminishing returns", "maximal data parallelism"
PERFECT_ELASTICITY, MAXIMAL_ELASTICITY = 0.9, 0.1


def steps(batch: ArrayLike, s_min: ArrayLike, b_crit: ArrayLike) -> Array:
    """Return the updates to the target at a global batch: S = S_min (1 + B_crit / B).

    >>> float(steps(500, 1000, 500))
    2000.0
    """
    return array(array(s_min) * (1.0 + array(b_crit) / array(batch)))


def examples(batch: ArrayLike, s_min: ArrayLike, b_crit: ArrayLike) -> Array:
    """Return the samples to the target: E = B S = E_min (1 + B / B_crit), E_min = S_min B_crit."""
    return array(array(batch) * steps(batch, s_min, b_crit))


def elasticity(batch: ArrayLike, b_crit: ArrayLike) -> Array:
    """Return -d ln S / d ln B = B_crit / (B + B_crit): 1 halves the updates when B doubles, 0 changes nothing."""
    return array(array(b_crit) / (array(batch) + array(b_crit)))


def regime(batch: ArrayLike, b_crit: ArrayLike) -> NDArray[np.str_]:
    """Return the regime of each batch by its elasticity: >= 0.9 perfect, <= 0.1 maximal, between diminishing.

    The three names are those of C. Shallue et al., JMLR 20(112), 2019; the cut-offs are this project's.

    >>> [str(r) for r in regime([50, 500, 4600], 500)]
    ['perfect scaling', 'diminishing returns', 'maximal data parallelism']
    """
    e = elasticity(batch, b_crit)
    return np.where(e >= PERFECT_ELASTICITY, PERFECT, np.where(e <= MAXIMAL_ELASTICITY, MAXIMAL, DIMINISHING))


def regime_bounds(b_crit: float) -> tuple[float, float]:
    """Return the batches where perfect scaling ends and maximal parallelism begins: B_crit/9 and 9 B_crit."""
    return (
        b_crit * (1.0 / PERFECT_ELASTICITY - 1.0),
        b_crit * (1.0 / MAXIMAL_ELASTICITY - 1.0),
    )


def twenty_percent_batch(b_crit: ArrayLike, b_0: ArrayLike, excess: float = 0.2) -> Array:
    """Return the batch whose data cost exceeds linear scaling from ``b_0`` by ``excess``.

    Under the hyperbola E(B) = (1 + excess) E(B_0) gives B = (1 + excess) B_0 + excess B_crit.
    Definition: H. Zhang et al., arXiv:2410.21676; the closed form is derived.

    >>> round(float(twenty_percent_batch(500, 50)), 6)
    160.0
    """
    return array((1.0 + excess) * array(b_0) + excess * array(b_crit))


def sfo_batch(c2_over_eps2: ArrayLike) -> Array:
    """Return b* = 2 C_2 / eps^2, minimising N(b) = C_1 b^2 / (eps^2 b - C_2), the gradient evaluations to a target.

    Definition: H. Iiduka and co-workers, arXiv:2402.15344; b* follows from dN/db = 0.
    """
    return array(2.0 * array(c2_over_eps2))


def sfo_steps(batch: ArrayLike, c1_over_eps2: ArrayLike, c2_over_eps2: ArrayLike) -> Array:
    """Return the updates N(b)/b = (C_1/eps^2) b / (b - C_2/eps^2) behind ``sfo_batch``; needs b > C_2/eps^2."""
    b = array(batch)
    return array(array(c1_over_eps2) * b / (b - array(c2_over_eps2)))


@dataclass(frozen=True)
class CriticalBatches:
    """Five numbers that are all called the critical batch, in samples; None where not measured."""

    hyperbola: float
    noise_scale: float | None
    twenty_percent: float
    perfect_scaling_end: float
    sfo: float | None


def critical_batches(
    b_crit: float, b_0: float, noise_scale: float | None = None, c2_over_eps2: float | None = None
) -> CriticalBatches:
    """Return the five critical batches of one set of runs; ``b_0`` is the reference (smallest) batch.

    hyperbola E_min/S_min; noise_scale tr(Sigma)/|G|^2 (handed in when measured); twenty_percent;
    perfect_scaling_end B_crit/9; sfo b*.
    """
    return CriticalBatches(
        hyperbola=b_crit,
        noise_scale=noise_scale,
        twenty_percent=float(twenty_percent_batch(b_crit, b_0)),
        perfect_scaling_end=regime_bounds(b_crit)[0],
        sfo=None if c2_over_eps2 is None else float(sfo_batch(c2_over_eps2)),
    )
