"""Constants of the models fitted to measurements, each with a bootstrap interval.

Letters: D draws, n points. All fits are vectorised over leading axes, so a bootstrap is one call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from batchbrew.analysis.arrays import Array, array
from batchbrew.analysis.intervals import DRAWS, Interval, percentile, resamples
from batchbrew.analysis.theory.communication import ALGORITHMS


def nonnegative_pair(first: ArrayLike, second: ArrayLike, seconds: ArrayLike) -> tuple[Array, Array]:
    """Return x, y >= 0 minimising sum(((x first + y second) / seconds - 1)^2), the relative error.

    ``first`` and ``second`` (n,), ``seconds`` (..., n) -> x, y (...). When the two features are
    proportional to each other x is 0 (they cannot be told apart).

    >>> x, y = nonnegative_pair([1, 1, 1], [1, 2, 4], [5, 8, 14])
    >>> round(float(x), 9), round(float(y), 9)
    (2.0, 3.0)
    """
    t = array(seconds)
    u, v = array(first) / t, array(second) / t
    uu, uv, vv, u1, v1 = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1), u.sum(-1), v.sum(-1)
    determinant = uu * vv - uv * uv
    with np.errstate(divide="ignore", invalid="ignore"):
        x = (u1 * vv - v1 * uv) / determinant
        y = (v1 * uu - u1 * uv) / determinant
        only_x, only_y = u1 / uu, v1 / vv
    flat = determinant <= 1e-12 * uu * vv
    no_x, no_y = flat | (x < 0), ~flat & (y < 0)
    return array(np.where(no_x, 0.0, np.where(no_y, only_x, x))), array(np.where(no_y, 0.0, np.where(no_x, only_y, y)))


@dataclass(frozen=True)
class ComputeFit:
    """t = a + c b of one node: seconds per step, seconds per sample, samples at half of the peak rate."""

    a: float
    c: float
    b_half: float
    a_interval: Interval | None
    c_interval: Interval | None
    b_half_interval: Interval | None
    error: float


def fit_compute(batches: Sequence[float], seconds: Sequence[Sequence[float]]) -> ComputeFit | None:
    """Return t = a + c b fitted to the medians of repeated timings by relative-error least squares, a, c >= 0.

    ``batches`` (n,), ``seconds`` n lists of repetitions. ``error`` is the root mean square relative
    residual. Intervals resample the repetitions. None for fewer than two different batches.
    """
    if len(set(batches)) < 2:
        return None
    b, ones = array(batches), np.ones(len(batches))
    times = _medians(seconds)
    a, c = (float(v) for v in nonnegative_pair(ones, b, times))
    draws = _median_draws(seconds)
    many_a, many_c = nonnegative_pair(ones, b, draws) if draws is not None else (None, None)
    with np.errstate(divide="ignore"):
        half = None if many_a is None or many_c is None else many_a / many_c
    return ComputeFit(
        a=a,
        c=c,
        b_half=a / c if c else math.inf,
        a_interval=_interval(many_a),
        c_interval=_interval(many_c),
        b_half_interval=_interval(half),
        error=_relative_error(a + c * b, times),
    )


@dataclass(frozen=True)
class AllreduceFit:
    """Latency and seconds per byte that make an algorithm's cost formula meet timed allreduces.

    ``separable`` is false when the points cannot tell latency from bandwidth (all is given to beta).
    """

    algorithm: str
    alpha: float
    beta: float
    alpha_interval: Interval | None
    beta_interval: Interval | None
    error: float
    separable: bool


def fit_allreduce(
    nodes: Sequence[int], sizes: Sequence[float], seconds: Sequence[Sequence[float]], algorithm: str | None = None
) -> AllreduceFit | None:
    """Return alpha, beta >= 0 fitted to medians of timed allreduces with weights 1/t^2.

    ``nodes``, ``sizes`` (bytes) (n,), ``seconds`` n lists of repetitions. Without an ``algorithm`` the
    one with the smallest relative error is taken (ties: ring). None without a point of two or more nodes.
    """
    kept = [i for i, p in enumerate(nodes) if p > 1 and len(seconds[i])]
    if not kept:
        return None
    p, m = array([nodes[i] for i in kept]), array([sizes[i] for i in kept])
    repeated = [seconds[i] for i in kept]
    times = _medians(repeated)
    names = [algorithm] if algorithm else ["ring", *(name for name in ALGORITHMS if name != "ring")]
    fits = [_fit_algorithm(name, p, m, times) for name in names]
    name, alpha, beta, error = min(fits, key=lambda fit: round(fit[3], 9))
    messages, sent, _ = ALGORITHMS.get(name)(p)
    draws = _median_draws(repeated)
    many = nonnegative_pair(messages, sent * m, draws) if draws is not None else (None, None)
    slopes = messages / (sent * m)
    return AllreduceFit(
        algorithm=name,
        alpha=alpha,
        beta=beta,
        alpha_interval=_interval(many[0]),
        beta_interval=_interval(many[1]),
        error=error,
        separable=bool(np.ptp(slopes) > 1e-6 * slopes.max()),
    )


def _fit_algorithm(name: str, p: Array, m: Array, times: Array) -> tuple[str, float, float, float]:
    messages, sent, _ = ALGORITHMS.get(name)(p)
    alpha, beta = (float(v) for v in nonnegative_pair(messages, sent * m, times))
    return name, alpha, beta, _relative_error(messages * alpha + sent * m * beta, times)


@dataclass(frozen=True)
class HockneyFit:
    """t = alpha + beta m: seconds per message and per byte, n_1/2 bytes, asymptotic bytes per second."""

    alpha: float
    beta: float
    n_half: float
    bandwidth: float


def fit_hockney(sizes: Sequence[float], seconds: Sequence[float]) -> HockneyFit:
    """Return alpha, beta >= 0 of one-way message times with weights 1/t^2.

    >>> fit = fit_hockney([1024, 65536, 1048576], [58.192e-6, 574.288e-6, 8438.608e-6])
    >>> round(fit.alpha * 1e6, 6), round(fit.beta * 1e9, 6)
    (50.0, 8.0)
    """
    alpha, beta = (float(v) for v in nonnegative_pair(np.ones(len(sizes)), sizes, seconds))
    return HockneyFit(alpha, beta, alpha / beta if beta else math.inf, 1.0 / beta if beta else math.inf)


@dataclass(frozen=True)
class AmdahlFit:
    """Serial fraction f and one-node seconds that make T_1 (f + (1 - f)/p) meet measured times."""

    serial_fraction: float
    one_node_seconds: float
    interval: Interval | None


def fit_amdahl(times: Mapping[int, ArrayLike]) -> AmdahlFit | None:
    """Return Amdahl's law fitted to times by node count: T(p) = A + C/p, f = A/(A + C), relative error.

    ``times`` maps p to the (n,) times of its seeds; misses are left out, and node counts where most
    runs missed. The interval resamples the runs of each node count. None for fewer than two node counts.
    """
    finite = {p: array(t)[np.isfinite(array(t))] for p, t in sorted(times.items())}
    usable = {p: t for p, t in finite.items() if t.size and 2 * t.size >= array(times[p]).size}
    if len(usable) < 2:
        return None
    inverse = 1.0 / array(list(usable))
    ones = np.ones(inverse.size)
    serial, parallel = nonnegative_pair(ones, inverse, _medians(list(usable.values())))
    draws = _median_draws(list(usable.values()))
    many = nonnegative_pair(ones, inverse, draws) if draws is not None else None
    return AmdahlFit(
        serial_fraction=float(serial / (serial + parallel)),
        one_node_seconds=float(serial + parallel),
        interval=None if many is None else percentile(many[0] / (many[0] + many[1])),
    )


def _medians(repeated: Sequence[ArrayLike]) -> Array:
    return array([np.median(array(r)) for r in repeated])


def _median_draws(repeated: Sequence[ArrayLike], draws: int = DRAWS) -> Array | None:
    """Return (D, n) medians of resampled repetitions; None when no point was repeated."""
    if max(array(r).size for r in repeated) < 2:
        return None
    # Points of one size share their index table; rolling it keeps them independent of each other.
    columns = [
        np.median(array(r)[np.roll(resamples(array(r).size, draws), 7 * i, axis=0)], axis=1)
        for i, r in enumerate(repeated)
    ]
    return np.stack(columns, axis=-1)


def _interval(draws: Array | None) -> Interval | None:
    return None if draws is None else percentile(draws)


def _relative_error(model: Array, times: Array) -> float:
    return float(np.sqrt(np.mean((model / times - 1.0) ** 2)))
