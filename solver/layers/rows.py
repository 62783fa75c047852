"""Arrays as rows in C order, for layers that see through pictures to plain matrices."""

from __future__ import annotations

import numpy as np

from batchbrew.solver.blob import Shape
from batchbrew.solver.layer import Array, Builder


def as_rows(build: Builder, array: Array, tag: str, shape: Shape, *, fill: bool) -> tuple[Array, Array | None]:
    """Return ``array`` in ``shape``, C order: a view where its layout allows, else a working copy.

    The second result is the working copy seen in the array's own shape (None for a view). With ``fill``, an operation
    that copies the array into it is written down.
    """
    try:
        rows = np.reshape(array, shape, copy=False)
    except ValueError:
        pass
    else:
        if not shape or shape[-1] == 1 or rows.strides[-1] == rows.itemsize:  # kernels step along rows by one element
            return rows, None
    # a flat buffer, not a picture: build.scratch lays out 4-D shapes as n, h, w, c
    plain = build.scratch(tag, (array.size,))
    same = plain.reshape(array.shape)
    if fill:
        build.op("copy", array, same)
    return plain.reshape(shape), same
