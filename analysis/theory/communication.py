"""Cost of messages and of allreduce algorithms in the latency-bandwidth model; ALGORITHMS is open for more.

p ranks, M bytes, full duplex, one port; lg = base-2 logarithm. Every algorithm costs
``messages(p) alpha + sent(p) M beta + added(p) M gamma``, so it is given by these three counts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from batchbrew.analysis.arrays import Array, array
from batchbrew.registry import Registry

Counts = tuple[Array, Array, Array]
ALGORITHMS: Registry[Callable[[ArrayLike], Counts]] = Registry("allreduce algorithm")


def hockney(message: ArrayLike, alpha: ArrayLike, beta: ArrayLike) -> Array:
    """Return the seconds of one message of ``message`` bytes: t(m) = alpha + beta m.

    Half of the asymptotic bandwidth 1/beta is reached at n_1/2 = alpha / beta bytes.
    Source: R. Hockney, Parallel Computing 20(3), 1994.

    >>> round(float(hockney(1024, 50e-6, 8e-9)), 9)
    5.8192e-05
    """
    return array(array(alpha) + array(beta) * array(message))


def allreduce(
    algorithm: str, nodes: ArrayLike, message: ArrayLike, alpha: ArrayLike, beta: ArrayLike, *, gamma: ArrayLike = 0.0
) -> Array:
    """Return the seconds of an allreduce of ``message`` bytes over ``nodes`` (0 for one node).

    >>> round(float(allreduce("ring", 8, 582312, 50e-6, 8e-9, gamma=0.5e-9)) * 1e3, 6)
    9.107129
    """
    messages, sent, added = ALGORITHMS.get(algorithm)(nodes)
    m = array(message)
    return array(messages * array(alpha) + sent * m * array(beta) + added * m * array(gamma))


@ALGORITHMS.register("ring")
def ring(nodes: ArrayLike) -> Counts:
    """Count 2(p-1) messages, 2(p-1)/p M sent, (p-1)/p M added.

    Reduce-scatter and allgather around a ring, each p - 1 steps of M/p bytes. Source: P. Patarasuk,
    X. Yuan, JPDC 69(2), 2009; Open MPI coll_base_allreduce.c.
    """
    p = array(nodes)
    part = (p - 1.0) / p
    return 2.0 * (p - 1.0), 2.0 * part, part


@ALGORITHMS.register("recursive_doubling")
def recursive_doubling(nodes: ArrayLike) -> Counts:
    """Count lg p exchanges of the whole message, one addition each; two exchanges more when p is no power of two.

    Source: R. Thakur, R. Rabenseifner, W. Gropp, IJHPCA 19(1), 2005; MPICH
    allreduce_intra_recursive_doubling.c. For other p the surplus ranks hand their data over before
    (with one addition) and receive the result after.
    """
    p = array(nodes)
    rounds, extra = np.floor(np.log2(p)), _surplus(p)
    return rounds + 2.0 * extra, rounds + 2.0 * extra, rounds + extra


@ALGORITHMS.register("rabenseifner")
def rabenseifner(nodes: ArrayLike) -> Counts:
    """Count 2 lg p messages, 2(q-1)/q M sent, (q-1)/q M added; with q = 2^floor(lg p) ranks taking part.

    Recursive-halving reduce-scatter, then recursive-doubling allgather. Source: R. Thakur,
    R. Rabenseifner, W. Gropp 2005; MPICH allreduce_intra_reduce_scatter_allgather.c. When p is no
    power of two: 2 messages, 2 M sent and M added more.
    """
    p = array(nodes)
    rounds, extra = np.floor(np.log2(p)), _surplus(p)
    part = 1.0 - 2.0**-rounds
    return 2.0 * rounds + 2.0 * extra, 2.0 * part + 2.0 * extra, part + extra


@ALGORITHMS.register("tree")
def tree(nodes: ArrayLike) -> Counts:
    """Count 2 ceil(lg p) whole messages and ceil(lg p) additions: binomial reduce to a root, binomial broadcast."""
    rounds = np.ceil(np.log2(array(nodes)))
    return 2.0 * rounds, 2.0 * rounds, rounds


def crossover_bytes(nodes: ArrayLike, alpha: ArrayLike, beta: ArrayLike, gamma: ArrayLike = 0.0) -> Array:
    """Return the message size above which Rabenseifner beats recursive doubling (p a power of two, p > 2).

    M* = lg p alpha / ((lg p - 2(p-1)/p) beta + (lg p - (p-1)/p) gamma). Derived from the two costs.
    """
    p = array(nodes)
    rounds, part = np.log2(p), (p - 1.0) / p
    return array(rounds * array(alpha) / ((rounds - 2.0 * part) * array(beta) + (rounds - part) * array(gamma)))


def bus_bandwidth(message: ArrayLike, seconds: ArrayLike, nodes: ArrayLike) -> Array:
    """Return bytes per second comparable to the link rate for every p: (M / t) 2(p-1)/p.

    Source: NVIDIA nccl-tests, doc/PERFORMANCE.md.
    """
    p = array(nodes)
    return array(array(message) / array(seconds) * 2.0 * (p - 1.0) / p)


def _surplus(p: Array) -> Array:
    """Return 1 where p is no power of two, else 0."""
    return array(np.log2(p) != np.floor(np.log2(p)))
