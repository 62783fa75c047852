"""Rows taken by their numbers, places of the largest numbers, and copies that only NumPy can make."""

from __future__ import annotations

import numpy as np

from batchbrew.solver.kernels.reference.table import Array, kernel


@kernel
def copy_axes(x: Array, y: Array) -> None:
    """Set y to x, views of any number of axes."""
    y[...] = x


@kernel
def gather_rows(rows: Array, index: Array, bias: Array | None, y: Array) -> None:
    """Set y (index.shape, ...) to rows[index], plus bias."""
    found = rows[index.astype(np.int64)]
    y[...] = found if bias is None else found + bias


@kernel
def scatter_rows(dy: Array, index: Array, drows: Array) -> None:
    """Add dy (index.shape, ...) to drows[index]; what meets in one row adds up."""
    np.add.at(drows, index.astype(np.int64).reshape(index.size), dy.reshape(index.size, *drows.shape[1:]))


@kernel
def select_rows(selector: Array, kept: Array) -> None:
    """Write the numbers of the rows whose selector is not 0 to the beginning of kept."""
    found = np.flatnonzero(selector.reshape(selector.size))
    kept[: found.size] = found


@kernel
def filter_forward(x: Array, y: Array, kept: Array) -> None:
    """Set y to the kept rows of x."""
    y[...] = x[kept[: y.shape[0]]]


@kernel
def filter_backward(dy: Array, dx: Array, kept: Array) -> None:
    """Set the kept rows of dx to dy, the others to 0."""
    dx[...] = 0
    dx[kept[: dy.shape[0]]] = dy


@kernel
def argmax_forward(x: Array, index: Array | None, value: Array | None, axis: int) -> None:
    """Set index and value to places and numbers of the largest along axis; of equal ones the later comes first."""
    count = next(a.shape[axis] for a in (index, value) if a is not None)
    turned = np.flip(x, axis)
    keys = np.where(np.isnan(turned), -np.inf, turned)
    if count == 1:
        order = keys.argmax(axis=axis, keepdims=True)
    else:
        order = np.argsort(-keys, axis=axis, kind="stable").take(range(count), axis=axis)
    places = x.shape[axis] - 1 - order
    if index is not None:
        index[...] = places
    if value is not None:
        value[...] = np.take_along_axis(x, places, axis=axis)
