"""More element-wise layers."""

from __future__ import annotations

import numpy as np

from batchbrew.solver.kernels.reference.table import Array, kernel


@kernel
def abs_forward(x: Array, y: Array) -> None:
    """Set y to |x|."""
    y[...] = np.abs(x)


@kernel
def abs_backward(x: Array, dy: Array, dx: Array) -> None:
    """Set dx to dy times the sign of x, 0 at 0."""
    dx[...] = dy * ((x > 0) * 1.0 - (x < 0))


@kernel
def bnll_forward(x: Array, y: Array) -> None:
    """Set y to log(1 + e^x)."""
    y[...] = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@kernel
def bnll_backward(x: Array, dy: Array, dx: Array) -> None:
    """Set dx to dy e^x / (1 + e^x)."""
    e = np.exp(np.minimum(x, 50))
    dx[...] = dy * (e / (1 + e))


@kernel
def clip_forward(x: Array, y: Array, least: float, greatest: float) -> None:
    """Set y to x, but least where x is less and greatest where it is more."""
    y[...] = np.maximum(least, np.minimum(x, greatest))


@kernel
def clip_backward(x: Array, dy: Array, dx: Array, least: float, greatest: float) -> None:
    """Set dx to dy where least <= x <= greatest, to 0 elsewhere."""
    dx[...] = np.where((x >= least) & (x <= greatest), dy, 0)


@kernel
def elu_forward(x: Array, y: Array, alpha: float) -> None:
    """Set y to x where x > 0, to alpha (e^x - 1) elsewhere."""
    y[...] = np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


@kernel
def elu_backward(x: Array, dy: Array, dx: Array, alpha: float) -> None:
    """Set dx to dy where x > 0, to dy alpha e^x elsewhere."""
    dx[...] = dy * np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0)))


@kernel
def exp_forward(x: Array, y: Array, scale: float, shift: float) -> None:
    """Set y to e^(scale x + shift)."""
    y[...] = np.exp(scale * x + shift)


@kernel
def exp_backward(y: Array, dy: Array, dx: Array, scale: float, shift: float) -> None:
    """Set dx to dy y scale."""
    dx[...] = scale * y * dy


@kernel
def log_forward(x: Array, y: Array, scale: float, shift: float, factor: float) -> None:
    """Set y to factor log(scale x + shift)."""
    y[...] = factor * np.log(scale * x + shift)


@kernel
def log_backward(x: Array, dy: Array, dx: Array, scale: float, shift: float, factor: float) -> None:
    """Set dx to dy factor scale / (scale x + shift)."""
    dx[...] = factor * scale * dy / (scale * x + shift)


@kernel
def power_forward(x: Array, y: Array, power: float, scale: float, shift: float) -> None:
    """Set y to (scale x + shift)^power."""
    y[...] = (scale * x + shift) ** power


@kernel
def power_backward(x: Array, y: Array, dy: Array, dx: Array, power: float, scale: float, shift: float) -> None:
    """Set dx to dy power scale y / (scale x + shift), which for a base of 0 is NaN unless power is 2."""
    base = scale * x + shift
    dx[...] = power * scale * (base if power == 2 else y / base) * dy


@kernel
def prelu_forward(x: Array, y: Array, slope: Array) -> None:
    """Set y to x where x > 0, to slope x elsewhere; slope is broadcast to the shape of x."""
    y[...] = np.where(x > 0, x, slope * x)


@kernel
def prelu_backward(x: Array, dy: Array, dx: Array, slope: Array) -> None:
    """Set dx to dy where x > 0, to slope dy elsewhere."""
    dx[...] = np.where(x > 0, 1, slope) * dy


@kernel
def prelu_backward_slope(x: Array, dy: Array, dslope: Array) -> None:
    """Add dy x where x <= 0 to dslope, which is broadcast (stride 0) to the shape of x: sums over what is repeated."""
    spread_axes = tuple(d for d in range(x.ndim) if dslope.strides[d] == 0)
    own = dslope[tuple(slice(0, 1) if d in spread_axes else slice(None) for d in range(x.ndim))]
    own += np.where(x <= 0, dy * x, 0).sum(axis=spread_axes, keepdims=True, dtype=np.float64)


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * np.tanh(0.5 * x) + 0.5)


@kernel
def swish_forward(x: Array, y: Array, beta: float) -> None:
    """Set y to x sigmoid(beta x)."""
    y[...] = x * _sigmoid(beta * x)


@kernel
def swish_backward(x: Array, dy: Array, dx: Array, beta: float) -> None:
    """Set dx to dy (beta y + s (1 - beta y)), s = sigmoid(beta x)."""
    s = _sigmoid(beta * x)
    y = x * s
    dx[...] = dy * (beta * y + s * (1 - beta * y))


@kernel
def threshold_forward(x: Array, y: Array, threshold: float) -> None:
    """Set y to 1 where x > threshold, to 0 elsewhere."""
    y[...] = x > threshold
