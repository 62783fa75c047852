"""Fit of S = S_min (1 + B_crit/B) to updates to target, with censored runs kept.

Letters: D draws, n runs. Unknowns are u = ln S_min and v = ln B_crit, so f = u + ln(1 + e^v/B).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from batchbrew.analysis.arrays import Array, array
from batchbrew.analysis.intervals import Interval, percentile, resamples

FIT_DRAWS = 2_000
REACH = 7.0
"""How far beyond the measured batches, in e-folds, B_crit is looked for."""


@dataclass(frozen=True)
class HyperbolaFit:
    """S_min updates and B_crit samples with intervals over seeds.

    ``at_edge`` says that B_crit lies outside what the measured batches can tell (all of them in one
    regime). ``sfo_c2`` is C_2/eps^2 of the companion curve S = A B/(B - C_2/eps^2), None when at its edge.
    """

    s_min: float
    b_crit: float
    e_min: float
    s_min_interval: Interval | None
    b_crit_interval: Interval | None
    e_min_interval: Interval | None
    error: float
    at_edge: bool
    runs: int
    censored: int
    batches: int
    sfo_c2: float | None
    band_batches: Array
    band_low: Array
    band_high: Array


def fit_hyperbola(
    batches: ArrayLike, updates: ArrayLike, seeds: ArrayLike, censored: ArrayLike, draws: int = FIT_DRAWS
) -> HyperbolaFit | None:
    """Return the hyperbola fitted by least squares of log residuals; None for fewer than three batches reached.

    ``batches``, ``updates``, ``seeds``, ``censored`` (n,): one entry a run. A censored run gives its
    last update as a lower bound: it pulls the curve up where the curve is below it and is silent where
    it is above. Intervals resample seeds (all batches of a drawn seed together).
    """
    b, s, missed = array(batches), array(updates), np.asarray(censored, dtype=bool)
    if np.unique(b[~missed]).size < 3:
        return None
    y, once = np.log(s), np.ones((1, b.size))
    u, v = (float(x[0]) for x in _solve(_Problem(b, y, missed, once)))
    low, high = _edges(b)
    weights = _seed_weights(np.asarray(seeds), draws)
    grid = np.geomspace(b.min() / 1.3, b.max() * 1.3, 60)
    s_interval = b_interval = e_interval = None
    band_low = band_high = np.full(grid.size, math.nan)
    if weights is not None:
        weights = weights[_enough(b, missed, weights)]
    if weights is not None and len(weights) >= draws // 4:
        many_u, many_v = _solve(_Problem(b, y, missed, weights))
        s_interval, b_interval = percentile(np.exp(many_u)), percentile(np.exp(many_v))
        e_interval = percentile(np.exp(many_u + many_v))
        curves = np.exp(many_u)[:, None] * (1.0 + np.exp(many_v)[:, None] / grid)
        band_low, band_high = np.quantile(curves, [0.025, 0.975], axis=0)
    residual = (y - u - np.log1p(np.exp(v) / b))[~missed]
    return HyperbolaFit(
        s_min=math.exp(u),
        b_crit=math.exp(v),
        e_min=math.exp(u + v),
        s_min_interval=s_interval,
        b_crit_interval=b_interval,
        e_min_interval=e_interval,
        error=float(np.sqrt(np.mean(residual**2))),
        at_edge=v < low + 0.5 * REACH or v > high - 0.5 * REACH,
        runs=int(b.size),
        censored=int(missed.sum()),
        batches=int(np.unique(b[~missed]).size),
        sfo_c2=_fit_sfo(b[~missed], y[~missed]),
        band_batches=grid,
        band_low=band_low,
        band_high=band_high,
    )


def _edges(b: Array) -> tuple[float, float]:
    return float(np.log(b.min()) - REACH), float(np.log(b.max()) + REACH)


@dataclass(frozen=True)
class _Problem:
    """Runs (n,) and how often each counts in every draw: weights (D, n)."""

    b: Array
    y: Array
    missed: NDArray[np.bool_]
    weights: Array

    def start(self, low: float, high: float) -> tuple[Array, Array]:
        """Return the best u, v (D,) on a grid of v, censored runs taken as if they had reached at their end."""
        grid = np.linspace(low, high, 120)
        gap = self.y - np.log1p(np.exp(grid)[:, None] / self.b)
        total = self.weights.sum(1, keepdims=True)
        means = self.weights @ gap.T / total
        spread = self.weights @ (gap**2).T / total - means**2
        best = np.argmin(spread, axis=1)
        return means[np.arange(best.size), best], grid[best]

    def terms(self, u: Array, v: Array) -> Array:
        """Return (6, D): cost, minus half its gradient (2) and half its Gauss-Newton Hessian (uu, uv, vv)."""
        crit = np.exp(v)[:, None]
        residual = self.y - u[:, None] - np.log1p(crit / self.b)
        slope = crit / (crit + self.b)
        # A censored run only says "not below this": no residual where the curve is already above it.
        active = np.where(self.missed & (residual < 0), 0.0, self.weights)
        pull = active * residual
        parts = (pull * residual, pull, pull * slope, active, active * slope, active * slope**2)
        return np.stack([part.sum(1) for part in parts])


def _solve(problem: _Problem) -> tuple[Array, Array]:
    """Return u, v (D,) of the least squares: damped Gauss-Newton steps (Levenberg-Marquardt), all draws at once."""
    low, high = _edges(problem.b)
    u, v = problem.start(low, high)
    damping = np.full(u.size, 1e-3)
    now = problem.terms(u, v)
    for _ in range(60):
        _, g_u, g_v, h_uu, h_uv, h_vv = now
        m_uu, m_vv = h_uu * (1 + damping) + 1e-12, h_vv * (1 + damping) + 1e-12
        determinant = m_uu * m_vv - h_uv**2
        new_u = u + (m_vv * g_u - h_uv * g_v) / determinant
        new_v = np.clip(v + (m_uu * g_v - h_uv * g_u) / determinant, low, high)
        new = problem.terms(new_u, new_v)
        better = new[0] <= now[0]
        damping = np.clip(np.where(better, damping * 0.2, damping * 5.0), 1e-12, 1e8)
        u, v, now = np.where(better, new_u, u), np.where(better, new_v, v), np.where(better, new, now)
    return u, v


def _seed_weights(seeds: NDArray[np.int64], draws: int) -> Array | None:
    """Return (D, n): how often the seed of each run was drawn; None for a single seed."""
    known, which = np.unique(seeds, return_inverse=True)
    if known.size < 2:
        return None
    drawn = resamples(known.size, draws)
    counts = (drawn[:, :, None] == np.arange(known.size)).sum(1)
    return array(counts[:, which])


def _enough(b: Array, missed: NDArray[np.bool_], weights: Array) -> NDArray[np.bool_]:
    """Return (D,) whether three batches are left with a reached run in the draw."""
    levels = np.unique(b[~missed])
    present = np.stack([weights[:, ~missed & (b == level)].sum(1) > 0 for level in levels], axis=1)
    return np.asarray(present.sum(1) >= 3)


def _fit_sfo(b: Array, y: Array) -> float | None:
    """Return C_2/eps^2 of ln S = ln A - ln(1 - C_2/(eps^2 B)), None when it lies at the smallest batch."""
    smallest = b.min()

    def spread(share: float) -> float:
        return float(np.var(y + np.log1p(-share * smallest / b)))

    share = float(optimize.minimize_scalar(spread, bounds=(0.0, 1.0 - 1e-6), method="bounded").x)
    return share * smallest if share < 0.999 else None
