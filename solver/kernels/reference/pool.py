"""Pooling."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from batchbrew.solver.kernels.reference.table import Array, kernel


def _windows(x: Array, y: Array, geometry: tuple[int, ...]) -> Iterator[tuple[int, int, slice, slice, int]]:
    """Yield (r, q, rows, cols, size with padding) of every pooling window, clipped to the picture."""
    kh, kw, sh, sw, ph, pw = geometry
    for r in range(y.shape[2]):
        for q in range(y.shape[3]):
            top, left = r * sh - ph, q * sw - pw
            bottom, right = min(top + kh, x.shape[2] + ph), min(left + kw, x.shape[3] + pw)
            yield (
                r,
                q,
                slice(max(top, 0), min(bottom, x.shape[2])),
                slice(max(left, 0), min(right, x.shape[3])),
                (bottom - top) * (right - left),
            )


@kernel
def pool_max_forward(x: Array, y: Array, mask: Array, *geometry: int) -> None:
    """Set y to the first maximum of each window and mask to its place h*W + w (-1 where nothing exceeds -FLT_MAX)."""
    lowest = -float(np.finfo(np.float32).max)
    y[...], mask[...] = lowest, -1
    for r, q, rows, cols, _ in _windows(x, y, geometry):
        window = x[:, :, rows, cols]
        if window.size:
            flat = np.where(np.isnan(window), -np.inf, window).reshape(*x.shape[:2], window.shape[2] * window.shape[3])
            at = flat.argmax(axis=2)
            best = np.take_along_axis(flat, at[..., None], axis=2)[..., 0]
            found = best > lowest
            y[:, :, r, q] = np.where(found, best, lowest)
            u, v = at // window.shape[3] + rows.start, at % window.shape[3] + cols.start
            mask[:, :, r, q] = np.where(found, u * x.shape[3] + v, -1)


@kernel
def pool_max_backward(dx: Array, dy: Array, mask: Array, *geometry: int) -> None:
    """Set dx to dy sent back to where the maxima were."""
    n, c, height, width = dx.shape
    flat = np.zeros((n, c, height * width), dx.dtype)
    i, j = np.ogrid[:n, :c]
    for r in range(dy.shape[2]):
        for q in range(dy.shape[3]):
            at = mask[:, :, r, q]
            flat[i, j, np.maximum(at, 0)] += np.where(at >= 0, dy[:, :, r, q], 0)
    dx[...] = flat.reshape(dx.shape)


@kernel
def pool_mask(mask: Array, y: Array) -> None:
    """Set y to the places of the maxima."""
    y[...] = mask


@kernel
def pool_ave_forward(x: Array, y: Array, *geometry: int) -> None:
    """Set y to window sums over window sizes, padding counted as Caffe counts it."""
    for r, q, rows, cols, size in _windows(x, y, geometry):
        y[:, :, r, q] = x[:, :, rows, cols].sum(axis=(2, 3)) / size


@kernel
def pool_ave_backward(dx: Array, dy: Array, *geometry: int) -> None:
    """Set dx to dy spread evenly over each window."""
    dx[...] = 0
    for r, q, rows, cols, size in _windows(dx, dy, geometry):
        dx[:, :, rows, cols] += dy[:, :, r, q][:, :, None, None] / size


@kernel
def pool_stochastic_forward(x: Array, y: Array, *geometry: int) -> None:
    """Set y to the sum of squares over the sum of each window, 0 where that is not positive."""
    for r, q, rows, cols, _ in _windows(x, y, geometry):
        window = x[:, :, rows, cols]
        total = window.sum(axis=(2, 3))
        y[:, :, r, q] = np.where(total > 0, (window**2).sum(axis=(2, 3)) / total, 0)
