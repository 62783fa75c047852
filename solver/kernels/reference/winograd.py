"""Winograd's convolution: tiles of outputs by products at few points (Lavin and Gray 2016), of stride 1.

F(m, r), m outputs of a filter of r taps, has size = m + r - 1 points: finite ones a_j and infinity (Toom, Cook). With
A[j] = 1, a_j, a_j^2, ..., N_j the product of all a_j - a_l, and B[j] the coefficients of the product of all x - a_l
without a_j (of infinity: A = 0, ..., 0, 1; N = 1; B without none):

    y = A' [(A w / N) * (B d)]      dw = (A' / N) [(B d) * (A dy)]

and in two dimensions the same along both. Filters are held as u (blocks of outputs, points, C, BLOCK). The errors in
float32, relative to the largest output, are 1e-6 for pairs 3/4, 3/2 (4e-6 for the usual 1, 2) and 5e-6 for 1/2, 1, 2.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from batchbrew.solver.kernels.reference.table import Array, kernel

BLOCK = 32  # outputs that lie together in transformed filters
POINTS: dict[int, tuple[float, ...]] = {  # the finite ones, by the size of a tile
    4: (0, 1, -1),
    6: (0, 0.75, -0.75, 1.5, -1.5),
    8: (0, 0.5, -0.5, 1, -1, 2, -2),
}


def powers(size: int, count: int) -> Array:
    """Return A (size, count): the powers of each point."""
    infinity = np.eye(1, count, count - 1)
    return np.concatenate([np.vander(POINTS[size], count, increasing=True), infinity])


def slopes(size: int) -> Array:
    """Return N (size)."""
    points = np.array(POINTS[size])
    differences = points[:, None] - points + np.eye(size - 1)
    return np.append(differences.prod(axis=1), 1.0)


def inputs(size: int) -> Array:
    """Return B (size, size)."""
    points = list(POINTS[size])
    rows = [points[:j] + points[j + 1 :] for j in range(size - 1)] + [points]
    return np.array([np.pad(np.poly(row)[::-1], (0, size - 1 - len(row))) for row in rows])


def _both(matrix: Array, tiles: Array) -> Array:
    """Apply a matrix along the last two axes."""
    matrix = matrix.astype(tiles.dtype)
    return matrix @ tiles @ matrix.T


def _tiles(x: Array, tile: int, kernel_size: int, pad: tuple[int, int], outs: tuple[int, int]) -> Array:
    """Return what tiles of outputs see of x (N, C, H, W), zeros around it: (N, C, down, across, size, size)."""
    down, across = (-(-o // tile) for o in outs)
    size = tile + kernel_size - 1
    wide = np.zeros((*x.shape[:2], down * tile + kernel_size - 1, across * tile + kernel_size - 1), x.dtype)
    seen = x[:, :, max(0, -pad[0]) :, max(0, -pad[1]) :]
    at = [max(0, p) for p in pad]
    seen = seen[:, :, : max(0, wide.shape[2] - at[0]), : max(0, wide.shape[3] - at[1])]
    wide[:, :, at[0] : at[0] + seen.shape[2], at[1] : at[1] + seen.shape[3]] = seen
    return sliding_window_view(wide, (size, size), axis=(2, 3))[:, :, ::tile, ::tile]


@kernel
def winograd_weights(w: Array, u: Array) -> None:
    """Set u to A w A' / N N' for w (K, C, r, r)."""
    size = int(np.sqrt(u.shape[1]))
    g = powers(size, w.shape[2]) / slopes(size)[:, None]
    found = (g @ w.astype(np.float64) @ g.T).reshape(*w.shape[:2], -1)
    for block, filters in zip(u, np.split(found, range(BLOCK, len(w), BLOCK)), strict=True):
        block[:, :, : len(filters)] = filters.transpose(2, 1, 0)


@kernel
def winograd_forward(x: Array, u: Array, bias: Array | None, y: Array, tile: int, kernel_size: int, *pad: int) -> None:
    """Set y (N, K, R, Q) to the cross-correlation of x (N, C, H, W) with the filters behind u, plus bias (K)."""
    size, outputs = tile + kernel_size - 1, y.shape[1]
    v = _both(inputs(size), _tiles(x, tile, kernel_size, (pad[0], pad[1]), y.shape[2:]))
    n, _, down, across = v.shape[:4]
    filters = np.concatenate(list(u), axis=2)[:, :, :outputs]
    products = v.reshape(n, v.shape[1], down * across, size * size).transpose(3, 0, 2, 1) @ filters[:, None]
    m = products.transpose(1, 3, 2, 0).reshape(n, outputs, down, across, size, size)
    tiles = _both(powers(size, tile).T, m).swapaxes(3, 4)
    y[...] = tiles.reshape(n, outputs, down * tile, across * tile)[:, :, : y.shape[2], : y.shape[3]]
    if bias is not None:
        y += bias[:, None, None]


@kernel
def winograd_backward_weight(x: Array, dy: Array, dw: Array, tile: int, *pad: int) -> None:
    """Add to dw (K, C, r, r), in float64, the gradient of the filters."""
    taps = dw.shape[2]
    size = tile + taps - 1
    v = _both(inputs(size), _tiles(x, tile, taps, (pad[0], pad[1]), dy.shape[2:]))
    z = _both(powers(size, tile), _tiles(dy, tile, 1, (0, 0), dy.shape[2:]))
    sums = np.einsum("nctuij,nktuij->kcij", v.astype(np.float64), z.astype(np.float64), optimize=True)
    dw += _both((powers(size, taps) / slopes(size)[:, None]).T, sums)
