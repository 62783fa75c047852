"""Convolution."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from batchbrew.solver.kernels.reference.table import Array, kernel


def _patches(
    x: Array,
    rows: int,
    cols: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int],
    dilation: tuple[int, int],
) -> Iterator[tuple[int, int, Array]]:
    """Yield (u, v, what tap (u, v) sees: N, C, rows, cols), zeros outside the picture."""
    n, c = x.shape[:2]
    need_h = (rows - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1
    need_w = (cols - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1
    padded = np.zeros((n, c, need_h, need_w), x.dtype)
    top, left = max(0, -pad[0]), max(0, -pad[1])
    part = x[:, :, top : max(top, need_h - pad[0]), left : max(left, need_w - pad[1])]
    padded[:, :, top + pad[0] : top + pad[0] + part.shape[2], left + pad[1] : left + pad[1] + part.shape[3]] = part
    for u in range(kernel[0]):
        for v in range(kernel[1]):
            r, q = u * dilation[0], v * dilation[1]
            yield (
                u,
                v,
                padded[
                    :, :, r : r + (rows - 1) * stride[0] + 1 : stride[0], q : q + (cols - 1) * stride[1] + 1 : stride[1]
                ],
            )


@kernel
def conv_forward(
    x: Array, w: Array, bias: Array | None, y: Array, sh: int, sw: int, ph: int, pw: int, dh: int, dw: int, group: int
) -> None:
    """Set y (N,K,R,Q) to the cross-correlation of x with w (K, C/group, U, V)."""
    k, c = w.shape[0] // group, w.shape[1]
    out = np.zeros(y.shape, y.dtype)
    for u, v, seen in _patches(x, y.shape[2], y.shape[3], w.shape[2:], (sh, sw), (ph, pw), (dh, dw)):
        for g in range(group):
            out[:, g * k : (g + 1) * k] += np.einsum(
                "kc,ncrq->nkrq", w[g * k : (g + 1) * k, :, u, v], seen[:, g * c : (g + 1) * c], optimize=True
            )
    y[...] = out if bias is None else out + bias[:, None, None]


@kernel
def conv_backward_weight(
    x: Array, dy: Array, dw: Array, sh: int, sw: int, ph: int, pw: int, dh: int, dw_: int, group: int
) -> None:
    """Add to dw (K, C/group, U, V) the gradient of the filters."""
    k, c = dw.shape[0] // group, dw.shape[1]
    wide = dy.astype(np.float64)
    for u, v, seen in _patches(x, dy.shape[2], dy.shape[3], dw.shape[2:], (sh, sw), (ph, pw), (dh, dw_)):
        for g in range(group):
            dw[g * k : (g + 1) * k, :, u, v] += np.einsum(
                "nkrq,ncrq->kc", wide[:, g * k : (g + 1) * k], seen[:, g * c : (g + 1) * c], optimize=True
            )


@kernel
def conv_flip(w: Array, wt: Array, group: int) -> None:
    """Set wt (C, K/group, U, V) to w (K, C/group, U, V) turned by 180 degrees, channels exchanged within groups."""
    k, c = w.shape[0] // group, w.shape[1]
    for g in range(group):
        wt[g * c : (g + 1) * c] = w[g * k : (g + 1) * k, :, ::-1, ::-1].transpose(1, 0, 2, 3)


@kernel
def spread(x: Array, y: Array, sh: int, sw: int) -> None:
    """Write x into every sh-th row and sw-th column of y."""
    y[:, :, : (x.shape[2] - 1) * sh + 1 : sh, : (x.shape[3] - 1) * sw + 1 : sw] = x
