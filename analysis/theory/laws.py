"""Speedup laws: Amdahl, Gustafson, Karp-Flatt, the Universal Scalability Law and isoefficiency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from batchbrew.analysis.arrays import Array, array


def amdahl(serial_fraction: ArrayLike, nodes: ArrayLike) -> Array:
    """Return the speedup at fixed problem size (strong scaling).

    S(p) = 1 / (f + (1 - f) / p), f the share of the one-node time that is serial; limit 1 / f.
    Source: G. Amdahl, AFIPS 1967.

    >>> round(float(amdahl(0.05, 8)), 5)
    5.92593
    """
    f, p = array(serial_fraction), array(nodes)
    return array(1.0 / (f + (1.0 - f) / p))


def gustafson(serial_fraction: ArrayLike, nodes: ArrayLike) -> Array:
    """Return the scaled speedup at fixed time (weak scaling).

    S(p) = p - f' (p - 1), f' the share of the p-node time spent in serial work.
    Source: J. Gustafson, CACM 31(5), 1988.

    >>> round(float(gustafson(0.05, 8)), 2)
    7.65
    """
    f, p = array(serial_fraction), array(nodes)
    return array(p - f * (p - 1.0))


def amdahl_fraction(gustafson_fraction: ArrayLike, nodes: ArrayLike) -> Array:
    """Return Amdahl's f for Gustafson's f' measured on ``nodes``: f = f' / (f' + (1 - f') p).

    Derived by equating the two laws; amdahl(amdahl_fraction(f', p), p) == gustafson(f', p).
    """
    f, p = array(gustafson_fraction), array(nodes)
    return array(f / (f + (1.0 - f) * p))


def karp_flatt(speedup: ArrayLike, nodes: ArrayLike) -> Array:
    """Return the experimentally determined serial fraction; NaN for one node.

    e(p) = (1/S - 1/p) / (1 - 1/p). Constant e: serial work; rising e: overhead that grows with p;
    e < 0: superlinear, look for a changed problem. Source: A. Karp, H. Flatt, CACM 33(5), 1990.

    >>> round(float(karp_flatt(1.82, 2)), 3)
    0.099
    """
    s, p = array(speedup), array(nodes)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p > 1, (1.0 / s - 1.0 / p) / (1.0 - 1.0 / p), np.nan)


def usl(contention: ArrayLike, coherency: ArrayLike, nodes: ArrayLike) -> Array:
    """Return relative capacity by the Universal Scalability Law.

    C(p) = p / (1 + sigma (p - 1) + kappa p (p - 1)); kappa = 0 is Amdahl with f = sigma.
    Source: N. Gunther, Guerrilla Capacity Planning, 2007 (the form without a factor 1/2 on kappa).
    """
    sigma, kappa, p = array(contention), array(coherency), array(nodes)
    return array(p / (1.0 + sigma * (p - 1.0) + kappa * p * (p - 1.0)))


def usl_peak(contention: ArrayLike, coherency: ArrayLike) -> Array:
    """Return the node count of the USL's highest capacity: p* = sqrt((1 - sigma) / kappa); inf for kappa = 0."""
    sigma, kappa = array(contention), array(coherency)
    with np.errstate(divide="ignore"):
        return array(np.sqrt((1.0 - sigma) / kappa))


@dataclass(frozen=True)
class Usl:
    """The two USL coefficients and the one-node seconds they are relative to."""

    contention: float
    coherency: float
    one_node_seconds: float


def usl_of_ring(a: float, c_batch: float, message: float, alpha: float, beta: float, *, gamma: float = 0.0) -> Usl:
    """Return the USL coefficients that a ring allreduce at fixed global batch has exactly.

    From T(p) = a + cB/p + 2(p-1) alpha + 2((p-1)/p) M beta + ((p-1)/p) M gamma (no overlap):
    sigma = (a + 2 M beta + M gamma) / T_1, kappa = 2 alpha / T_1, T_1 = a + cB. Contention is
    bandwidth and fixed cost, coherency is latency. Derived; ``c_batch`` is cB in seconds.
    """
    one = a + c_batch
    return Usl((a + message * (2.0 * beta + gamma)) / one, 2.0 * alpha / one, one)


def usl_of_single_server(a: float, c_batch: float, message: float, alpha: float, beta: float) -> Usl:
    """Return the USL coefficients of one parameter server serving p - 1 remote workers in turn.

    T_comm = 2 (p - 1)(alpha + M beta): sigma = a / T_1, kappa = 2 (alpha + M beta) / T_1. Derived.
    """
    one = a + c_batch
    return Usl(a / one, 2.0 * (alpha + message * beta) / one, one)


def isoefficient_batch(efficiency: ArrayLike, nodes: ArrayLike, comm_seconds: ArrayLike, c: ArrayLike) -> Array:
    """Return the global batch that holds a parallel efficiency: B(p) = [E / (1 - E)] p T_comm(p) / c.

    Source: isoefficiency of A. Grama, A. Gupta, V. Kumar 1993, applied to T_1 = cB (fixed cost dropped).
    """
    e = array(efficiency)
    return array(e / (1.0 - e) * array(nodes) * array(comm_seconds) / array(c))
