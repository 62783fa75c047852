"""How sure a number is: bootstrap, Fieller, Wilson and order-statistics intervals, all deterministic.

Letters: D draws, n values. Misses (runs that never reached the target) are infinite values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from batchbrew.analysis.arrays import Array, array

DRAWS = 10_000
LEVEL = 0.95
SEED = 20_080_311
SMALL = 8

Statistic = Literal["median", "mean"]


@dataclass(frozen=True)
class Interval:
    """A two-sided interval; a side that is not bounded is infinite."""

    low: float
    high: float


def resamples(n: int, draws: int = DRAWS) -> NDArray[np.int64]:
    """Return (draws, n) indices drawn with replacement from 0..n-1, the same ones at every call."""
    return np.random.default_rng(SEED + n).integers(0, n, (draws, n))


def center(values: ArrayLike, statistic: Statistic = "median") -> Array:
    """Return median or mean along the last axis: (..., n) -> (...); infinite values count as misses."""
    v = array(values)
    return array(np.median(v, axis=-1) if statistic == "median" else np.mean(v, axis=-1))


def percentile(draws: ArrayLike, level: float = LEVEL) -> Interval:
    """Return the percentile interval of (D,) bootstrap draws.

    No interpolation, as draws may be infinite. An undefined draw (inf / inf) widens both sides.
    """
    d = array(draws)
    undefined = np.isnan(d)
    tail = (1.0 - level) / 2.0
    low = np.quantile(np.where(undefined, -np.inf, d), tail, method="inverted_cdf")
    high = np.quantile(np.where(undefined, np.inf, d), 1.0 - tail, method="inverted_cdf")
    return Interval(float(low), float(high))


def bootstrap(values: ArrayLike, statistic: Statistic = "median", draws: int = DRAWS) -> Interval | None:
    """Return the percentile interval of a median or mean; None for fewer than two values."""
    v = array(values)
    if v.size < 2:
        return None
    return percentile(center(v[resamples(v.size, draws)], statistic))


def bootstrap_ratio(
    over: ArrayLike, under: ArrayLike, statistic: Statistic = "median", *, paired: bool = False, draws: int = DRAWS
) -> Interval | None:
    """Return the percentile interval of center(over) / center(under); None with fewer than two values a side.

    Each side is drawn on its own; ``paired`` draws positions (seeds) and keeps their pairs. The ratio
    is always one of centers, never a center of ratios (T. Hoefler, R. Belli, SC 2015, rule 4).
    """
    a, b = array(over), array(under)
    if a.size < 2 or b.size < 2:
        return None
    first = resamples(a.size, draws)
    # Two groups of one size must not be drawn alike unless they are pairs: the second is shifted by a draw.
    second = first if paired else np.roll(resamples(b.size, draws), 1, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = percentile(center(a[first], statistic) / center(b[second], statistic))
    # Times are not negative: an undefined ratio (both sides missed) may be anything from 0 up.
    return Interval(max(found.low, 0.0), found.high)


def fieller(over: ArrayLike, under: ArrayLike, *, paired: bool = False, level: float = LEVEL) -> Interval | None:
    """Return Fieller's interval of mean(over) / mean(under), exact for normal values.

    The ratios R with (m1 - R m2)^2 <= t^2 (v11 - 2 R v12 + R^2 v22), v = variance of a mean, v12 = 0
    unless paired, t with n1 + n2 - 2 (paired: n - 1) degrees of freedom. None with fewer than two
    values a side or misses; (0, inf) when mean(under) is not distinguishable from 0.
    Source: E. Fieller, JRSS B 16(2), 1954.

    >>> i = fieller([100, 102, 98, 101, 99], [16, 17, 15.5, 16.5, 16])
    >>> round(i.low, 4), round(i.high, 4)
    (5.9351, 6.4269)
    """
    a, b = array(over), array(under)
    if a.size < 2 or b.size < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    m1, m2 = a.mean(), b.mean()
    v11, v22 = a.var(ddof=1) / a.size, b.var(ddof=1) / b.size
    v12 = float(np.cov(a, b)[0, 1]) / a.size if paired else 0.0
    t = stats.t.ppf(0.5 + level / 2.0, a.size - 1 if paired else a.size + b.size - 2)
    square, linear, constant = m2**2 - t**2 * v22, m1 * m2 - t**2 * v12, m1**2 - t**2 * v11
    inside = linear**2 - square * constant
    if square <= 0 or inside < 0:
        return Interval(0.0, math.inf)
    root = math.sqrt(inside)
    return Interval(float((linear - root) / square), float((linear + root) / square))


def delta_error(over: ArrayLike, under: ArrayLike) -> float:
    """Return the standard error of a ratio of means by the delta method.

    R sqrt(s1^2/(n1 m1^2) + s2^2/(n2 m2^2)).
    """
    a, b = array(over), array(under)
    relative = a.var(ddof=1) / (a.size * a.mean() ** 2) + b.var(ddof=1) / (b.size * b.mean() ** 2)
    return float(a.mean() / b.mean() * math.sqrt(relative))


def wilson(successes: int, total: int, level: float = LEVEL) -> Interval:
    """Return the Wilson score interval of a share; (0, 1) when nothing was tried. Source: E. Wilson, JASA 22, 1927.

    >>> i = wilson(7500, 10000)
    >>> round(i.low, 6), round(i.high, 6)
    (0.741418, 0.75839)
    """
    if total == 0:
        return Interval(0.0, 1.0)
    z = float(stats.norm.ppf(0.5 + level / 2.0))
    share, weight = successes / total, z**2 / total
    half = z * math.sqrt(share * (1.0 - share) / total + weight / (4.0 * total))
    middle, scale = share + weight / 2.0, 1.0 + weight
    return Interval(max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale))


def median_ranks(n: int, level: float = LEVEL) -> tuple[int, int, float] | None:
    """Return ranks (from 1) of the order statistics that enclose the median, and their exact coverage.

    The tightest symmetric pair by the binomial distribution; None when even the extremes fall short.

    >>> median_ranks(20)[:2]
    (6, 15)
    """
    for k in range((n + 1) // 2, 0, -1):
        coverage = 1.0 - 2.0 * float(stats.binom.cdf(k - 1, n, 0.5))
        if coverage >= level and k < n + 1 - k:
            return k, n + 1 - k, coverage
    return None


def repetitions(relative_deviation: float, relative_error: float, level: float = LEVEL) -> int:
    """Return how many runs bring a mean within ``relative_error``: ceil((z s / (e x))^2).

    >>> repetitions(0.05, 0.01)
    97
    """
    z = float(stats.norm.ppf(0.5 + level / 2.0))
    return math.ceil((z * relative_deviation / relative_error) ** 2)
