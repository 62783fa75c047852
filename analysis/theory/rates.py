"""Rules for the learning rate when the batch changes by k = B / B_0; RULES is open for more."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from batchbrew.analysis.arrays import Array, array
from batchbrew.registry import Registry

RULES: Registry[Callable[[ArrayLike], Array]] = Registry("learning-rate rule")


@RULES.register("none")
def unchanged(k: ArrayLike) -> Array:
    """Return 1: the learning rate does not depend on the batch."""
    return np.ones_like(array(k))


@RULES.register("linear")
def linear(k: ArrayLike) -> Array:
    """Return k. Source: P. Goyal et al., arXiv:1706.02677."""
    return array(k)


@RULES.register("sqrt")
def square_root(k: ArrayLike) -> Array:
    """Return sqrt(k), which keeps the variance of an update. Source: A. Krizhevsky, arXiv:1404.5997."""
    return array(np.sqrt(array(k)))


def factor(rule: str, batch: ArrayLike, base_batch: float | None) -> Array:
    """Return what ``rule`` multiplies the base rate by at ``batch``; without a base batch nothing changes.

    >>> float(factor("linear", 256, 64)), float(factor("sqrt", 256, 64)), float(factor("none", 256, 64))
    (4.0, 2.0, 1.0)
    """
    b = array(batch)
    return RULES.get(rule)(b / base_batch if base_batch else np.ones_like(b))


def surge(batch: ArrayLike, noise: ArrayLike) -> Array:
    """Return eta / eta_max of Adam-like optimizers, which rises then falls: 2 / (sqrt(B_n/B) + sqrt(B/B_n)).

    Source: S. Li et al., arXiv:2405.14578.
    """
    ratio = np.sqrt(array(batch) / array(noise))
    return array(2.0 / (1.0 / ratio + ratio))


def noise_limited(batch: ArrayLike, noise: ArrayLike) -> Array:
    """Return eta / eta_max = 1 / (1 + B_noise / B), the best step along a noisy gradient (arXiv:1812.06162)."""
    return array(1.0 / (1.0 + array(noise) / array(batch)))


def adam_second_moment(beta2: ArrayLike, k: ArrayLike) -> Array:
    """Return beta2^k, which keeps the half-life of the second moment constant in samples (arXiv:2507.07101).

    >>> round(float(adam_second_moment(0.999, 64 / 512)), 10)
    0.9998749453
    """
    return array(array(beta2) ** array(k))
