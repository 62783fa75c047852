"""Steps of recurrent layers: T time steps, N streams, D outputs, G gate inputs a step.

``cont`` (T, N) is 0 where a sequence begins: the state before it does not count. A history (T + 1, N, D) holds a state
before the first step and after each.
"""

from __future__ import annotations

import numpy as np

from batchbrew.solver.kernels.reference.table import Array, kernel


@kernel
def dense_backward_data(dy: Array, w: Array, dx: Array) -> None:
    """Set dx (M, C) to dy (M, K) times w (K, C)."""
    dx[...] = dy @ w


def _gates(gates: Array, cont: Array) -> tuple[Array, Array, Array, Array]:
    """Return i, f (0 where a sequence begins), o and g, each (..., D), of their inputs (..., 4D)."""
    i, f, o, g = np.split(gates, 4, axis=-1)
    i, f, o = (0.5 * np.tanh(0.5 * z) + 0.5 for z in (i, f, o))
    return i, f * cont[..., None], o, np.tanh(g)


@kernel
def lstm_unit_forward(before: Array, gates: Array, cont: Array, c: Array, h: Array) -> None:
    """Set c (..., D) to f before + i g, and h to o tanh c; gates (..., 4D), cont (...)."""
    i, f, o, g = _gates(gates, cont)
    c[...] = f * before + i * g
    h[...] = o * np.tanh(c)


@kernel
def lstm_unit_backward(
    before: Array,
    gates: Array,
    cont: Array,
    c: Array,
    dc: Array,
    dh: Array,
    dbefore: Array | None,
    dgates: Array | None,
) -> None:
    """Set the gradients of before and gates, where wanted, from those of c and h."""
    i, f, o, g = _gates(gates, cont)
    squashed = np.tanh(c)
    total = dc + dh * o * (1 - squashed * squashed)
    if dgates is not None:
        each = (
            total * g * i * (1 - i),
            total * before * f * (1 - f),
            dh * squashed * o * (1 - o),
            total * i * (1 - g * g),
        )
        dgates[...] = np.concatenate(each, axis=-1)
    if dbefore is not None:
        dbefore[...] = total * f


@kernel
def lstm_steps_forward(gates: Array, cont: Array, w: Array, before: Array, h: Array, c: Array) -> None:
    """Run all steps: add to gates (T, N, 4D) what w (4D, D) makes of before = cont h; fill the histories h and c."""
    for t in range(len(gates)):
        before[t] = h[t] * cont[t, :, None]
        gates[t] += before[t] @ w.T
        lstm_unit_forward(c[t], gates[t], cont[t], c[t + 1], h[t + 1])


@kernel
def lstm_steps_backward(gates: Array, cont: Array, w: Array, c: Array, dh: Array, dgates: Array) -> None:
    """Set dgates (T, N, 4D) from dh (T, N, D), the gradient of every step's h from outside."""
    dstate, dc = np.zeros_like(dh[0]), np.zeros_like(dh[0])
    for t in reversed(range(len(gates))):
        lstm_unit_backward(c[t], gates[t], cont[t], c[t + 1], dc, dh[t] + dstate, dc, dgates[t])
        dstate = (dgates[t] @ w) * cont[t, :, None]


@kernel
def rnn_steps_forward(gates: Array, cont: Array, w: Array, before: Array, h: Array) -> None:
    """Run all steps: h = tanh(gates + before w^T) with before = cont h; gates (T, N, D), w (D, D)."""
    for t in range(len(gates)):
        before[t] = h[t] * cont[t, :, None]
        h[t + 1] = np.tanh(gates[t] + before[t] @ w.T)


@kernel
def rnn_steps_backward(cont: Array, w: Array, h: Array, dh: Array, dgates: Array) -> None:
    """Set dgates (T, N, D) from dh (T, N, D), the gradient of every step's h from outside."""
    dstate = np.zeros_like(dh[0])
    for t in reversed(range(len(dh))):
        dgates[t] = (dh[t] + dstate) * (1 - h[t + 1] ** 2)
        dstate = (dgates[t] @ w) * cont[t, :, None]
