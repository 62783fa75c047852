"""Gradient noise: how it is estimated from two batch sizes, and the efficiency and gains it implies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from batchbrew.analysis.arrays import Array, array


@dataclass(frozen=True)
class NoiseScale:
    """Unbiased estimates of |G|^2 and tr(Sigma), and their (biased) ratio B_simple in samples."""

    gradient_square: float
    variance: float
    b_simple: float


def noise_scale(small_square: float, big_square: float, b_small: float, b_big: float) -> NoiseScale:
    """Return the noise scale from the mean squared gradient norms at two batch sizes.

    |G|^2 = (B_big |g_big|^2 - B_small |g_small|^2) / (B_big - B_small),
    tr Sigma = (|g_small|^2 - |g_big|^2) / (1/B_small - 1/B_big), from E|g_B|^2 = |G|^2 + tr(Sigma)/B.
    Smooth both over many steps before dividing. Source: S. McCandlish et al., arXiv:1812.06162, appendix A.

    >>> round(noise_scale(44, 8, 10, 100).b_simple, 6)
    100.0
    """
    square = (b_big * big_square - b_small * small_square) / (b_big - b_small)
    variance = (small_square - big_square) / (1.0 / b_small - 1.0 / b_big)
    return NoiseScale(square, variance, variance / square)


def effective_small_batch(local_batches: ArrayLike) -> float:
    """Return the B_small of unequal shares: their harmonic mean, as the mean of E|g_i|^2 holds mean(1/b_i). Derived.

    >>> effective_small_batch([8, 24])
    12.0
    """
    return float(1.0 / np.mean(1.0 / array(local_batches)))


def finite_set_factor(batch: ArrayLike, samples: ArrayLike) -> Array:
    """Return (N - B) / (N - 1), by which drawing without replacement shrinks the variance term tr(Sigma)/B."""
    n = array(samples)
    return array((n - array(batch)) / (n - 1.0))


def efficiency(batch: ArrayLike, base_batch: ArrayLike, noise: ArrayLike) -> Array:
    """Return the statistical efficiency of a batch against ``base_batch``: (phi + B_0) / (phi + B).

    Source: A. Qiao et al., Pollux, OSDI 2021.

    >>> round(float(efficiency(1024, 128, 1152)), 6)
    0.588235
    """
    phi = array(noise)
    return array((phi + array(base_batch)) / (phi + array(batch)))


def adascale_gain(variance: ArrayLike, gradient_square: ArrayLike, scale: ArrayLike) -> Array:
    """Return AdaScale's gain r = (s2 + m2) / (s2/K + m2), between 1 and K = B/B_0: base steps done by one step.

    Source: T. Johnson et al., AdaScale SGD, ICML 2020.
    """
    s2, m2 = array(variance), array(gradient_square)
    return array((s2 + m2) / (s2 / array(scale) + m2))


def sgd_noise(rate: ArrayLike, batch: ArrayLike, samples: ArrayLike, momentum: ArrayLike = 0.0) -> Array:
    """Return the noise of SGD as a stochastic differential equation: g = eps / (1 - m) (N/B - 1).

    Source: S. Smith, Q. Le, arXiv:1710.06451. Dividing eps by k and multiplying B by k lower it alike.
    """
    return array(array(rate) / (1.0 - array(momentum)) * (array(samples) / array(batch) - 1.0))


def adaptive_gain(noise: ArrayLike, progress: ArrayLike) -> float:
    """Return gamma in (S/S_min - 1)(E/E_min - 1) = gamma when the batch follows sqrt(r B_noise) through training.

    gamma = (integral sqrt(B_noise))^2 / (integral B_noise x integral 1) <= 1 over ``progress``
    (trapezium rule); 1 means an adaptive batch gains nothing. Form of arXiv:1812.06162, derived.
    """
    b, s = array(noise), array(progress)
    return float(np.trapezoid(np.sqrt(b), s) ** 2 / (np.trapezoid(b, s) * (s[-1] - s[0])))
