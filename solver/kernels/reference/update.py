"""Update rules over one parameter."""

from __future__ import annotations

import numpy as np

from batchbrew.solver.kernels.reference.table import Array, kernel


def _regularised(w: Array, g: Array, numbers: Array, decay_mult: float) -> Array:
    decay = numbers[3] * decay_mult
    return np.asarray(g * numbers[1] + decay * (np.sign(w) if numbers[4] else w))


@kernel
def sgd_update(w: Array, g: Array, h: Array, numbers: Array, lr_mult: float, decay_mult: float) -> None:
    """Set h to momentum h + rate g, and subtract it from w; numbers: rate, scale of g, momentum, decay, L1 or not."""
    h[...] = numbers[2] * h + numbers[0] * lr_mult * _regularised(w, g, numbers, decay_mult)
    w -= h


@kernel
def nesterov_update(w: Array, g: Array, h: Array, numbers: Array, lr_mult: float, decay_mult: float) -> None:
    """Set h' to momentum h + rate g, and subtract (1 + momentum) h' - momentum h from w."""
    old = h.copy()
    h[...] = numbers[2] * old + numbers[0] * lr_mult * _regularised(w, g, numbers, decay_mult)
    w -= (1 + numbers[2]) * h - numbers[2] * old


@kernel
def sum_squares(x: Array, out: Array) -> None:
    """Set out[0] to the sum of squares of x."""
    out[0] = np.vdot(x.astype(np.float64), x)
