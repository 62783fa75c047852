"""Update rules over one parameter.

w (P,) values, g (P,) gradient sums, then the histories (P,), then numbers: learning rate, factor of the gradient sums,
momentum, weight decay, 1 for L1 decay; rules that divide by a root also read second decay, delta. ``leave``: 1 to leave
the update where the gradient was.
"""

from __future__ import annotations

import numpy as np

from batchbrew.solver.kernels.reference.table import Array, kernel


def _regularised(w: Array, g: Array, numbers: Array, decay_mult: float) -> Array:
    decay = numbers[3] * decay_mult
    return np.asarray(g * numbers[1] + decay * (np.sign(w) if numbers[4] else w))


def _take(w: Array, g: Array, update: Array, leave: int) -> None:
    w -= update
    if leave:
        g[...] = update


@kernel
def sgd_update(w: Array, g: Array, h: Array, numbers: Array, lr_mult: float, decay_mult: float, leave: int = 0) -> None:
    """Set h to momentum h + rate g, and subtract it from w."""
    h[...] = numbers[2] * h + numbers[0] * lr_mult * _regularised(w, g, numbers, decay_mult)
    _take(w, g, h, leave)


@kernel
def nesterov_update(
    w: Array, g: Array, h: Array, numbers: Array, lr_mult: float, decay_mult: float, leave: int = 0
) -> None:
    """Set h' to momentum h + rate g, and subtract (1 + momentum) h' - momentum h from w."""
    old = h.copy()
    h[...] = numbers[2] * old + numbers[0] * lr_mult * _regularised(w, g, numbers, decay_mult)
    _take(w, g, (1 + numbers[2]) * h - numbers[2] * old, leave)


@kernel
def adagrad_update(
    w: Array, g: Array, h: Array, numbers: Array, lr_mult: float, decay_mult: float, leave: int = 0
) -> None:
    """Set h to h + g^2, and subtract rate g / (sqrt(h) + delta) from w."""
    d = _regularised(w, g, numbers, decay_mult)
    h += d**2
    _take(w, g, numbers[0] * lr_mult * d / (np.sqrt(h) + numbers[6]), leave)


@kernel
def rmsprop_update(
    w: Array, g: Array, h: Array, numbers: Array, lr_mult: float, decay_mult: float, leave: int = 0
) -> None:
    """Set h to second h + (1 - second) g^2, and subtract rate g / (sqrt(h) + delta) from w."""
    d = _regularised(w, g, numbers, decay_mult)
    h[...] = numbers[5] * h + (1 - numbers[5]) * d**2
    _take(w, g, numbers[0] * lr_mult * d / (np.sqrt(h) + numbers[6]), leave)


@kernel
def adadelta_update(
    w: Array, g: Array, h: Array, k: Array, numbers: Array, lr_mult: float, decay_mult: float, leave: int = 0
) -> None:
    """Set h to the running mean of g^2, d to g sqrt((delta + k) / (delta + h)), k to the running mean of d^2.

    Subtract rate d from w; a running mean of x is momentum times the old one plus (1 - momentum) x.
    """
    d = _regularised(w, g, numbers, decay_mult)
    h[...] = numbers[2] * h + (1 - numbers[2]) * d**2
    d = d * np.sqrt((numbers[6] + k) / (numbers[6] + h))
    k[...] = numbers[2] * k + (1 - numbers[2]) * d**2
    _take(w, g, numbers[0] * lr_mult * d, leave)


@kernel
def adam_update(
    w: Array, g: Array, m: Array, v: Array, numbers: Array, lr_mult: float, decay_mult: float, leave: int = 0
) -> None:
    """Set m to momentum m + (1 - momentum) g, v to second v + (1 - second) g^2.

    Subtract rate m / (sqrt(v) + delta) from w; the rate holds the correction for the first updates.
    """
    d = _regularised(w, g, numbers, decay_mult)
    m[...] = numbers[2] * m + (1 - numbers[2]) * d
    v[...] = numbers[5] * v + (1 - numbers[5]) * d**2
    _take(w, g, numbers[0] * lr_mult * m / (np.sqrt(v) + numbers[6]), leave)


@kernel
def sum_squares(x: Array, out: Array) -> None:
    """Set out[0] to the sum of squares of x."""
    out[0] = np.vdot(x.astype(np.float64), x)
