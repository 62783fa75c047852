"""The one array type of this folder: 64-bit floats, of any shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def array(values: ArrayLike) -> Array:
    """Return ``values`` as 64-bit floats (a scalar becomes a 0-d array).

    >>> array(3).shape, array([1, 2]).dtype.name
    ((), 'float64')
    """
    return np.asarray(values, dtype=np.float64)
