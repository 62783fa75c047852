"""Scale and Bias."""

from __future__ import annotations

import numpy as np

from batchbrew.solver.kernels.reference.table import Array, kernel


@kernel
def scale_forward(x: Array, y: Array, factor: Array | None, bias: Array | None) -> None:
    """Set y to x * factor + bias, both broadcast to the shape of x."""
    y[...] = x if factor is None else x * factor
    if bias is not None:
        y += bias


@kernel
def scale_backward_data(dy: Array, dx: Array, factor: Array) -> None:
    """Set dx to dy * factor."""
    dx[...] = dy * factor


def _add_to_own(values: Array, to: Array) -> None:
    """Add values to an array that is broadcast (stride 0) to their shape: sums over what was broadcast."""
    spread_axes = tuple(d for d in range(values.ndim) if to.strides[d] == 0)
    own = to[tuple(slice(0, 1) if d in spread_axes else slice(None) for d in range(values.ndim))]
    own += values.sum(axis=spread_axes, keepdims=True, dtype=np.float64)


@kernel
def scale_backward_parameters(dy: Array, x: Array, dfactor: Array | None, dbias: Array | None) -> None:
    """Add dy * x to dfactor and dy to dbias, both broadcast to the shape of x."""
    if dfactor is not None:
        _add_to_own(dy * x, dfactor)
    if dbias is not None:
        _add_to_own(dy, dbias)


@kernel
def scale_backward_bottom(dy: Array, x: Array, dfactor: Array) -> None:
    """Add dy * x to dfactor, a factor that is a bottom."""
    _add_to_own(dy * x, dfactor)
