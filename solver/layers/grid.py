"""Blobs as kernels take them where one axis, or a run of axes, plays a role of its own: 4 axes or fewer.

Pictures (4 axes) stay as they are. All others lie in C order: the axes before, within and behind the run become one
each, (outer, middle, inner).
"""

from __future__ import annotations

from math import prod

from numpy.lib.stride_tricks import as_strided

from batchbrew.solver.blob import Shape
from batchbrew.solver.layer import Array


def grid_shape(shape: Shape, axis: int, span: int) -> Shape:
    """Return the shape above for a run of ``span`` axes from ``axis`` on; an inner axis of 1 is left out.

    >>> grid_shape((2, 3, 4, 5, 6), 1, 2), grid_shape((2, 3), 1, 1)
    ((2, 12, 30), (2, 3))
    """
    if len(shape) == 4:
        return shape
    inner = prod(shape[axis + span :])
    sizes = (prod(shape[:axis]), prod(shape[axis : axis + span]))
    return sizes if inner == 1 else (*sizes, inner)


def grid(array: Array, axis: int, span: int = 1) -> Array:
    """Return a view of ``array`` in that shape."""
    return array if array.ndim == 4 else array.reshape(grid_shape(array.shape, axis, span))


def grid_axis(shape: Shape, axis: int) -> int:
    """Return where ``grid`` puts the axis of a run of one."""
    return axis if len(shape) == 4 else 1


def spread(array: Array, axis: int, shape: Shape) -> Array:
    """Return a writeable view of ``array`` repeated (stride 0) to the grid of ``shape``, its axes starting at ``axis``.

    Unless ``shape`` is that of a picture, ``array`` must lie in C order.
    """
    wide = grid_shape(shape, axis, array.ndim)
    strides = [0] * len(wide)
    if len(shape) == 4:
        strides[axis : axis + array.ndim] = array.strides
    else:
        strides[1] = array.itemsize
    return as_strided(array, wide, strides)
