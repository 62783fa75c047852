"""In which order a layer reads numbered samples: that of its file, or another one in each pass."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from batchbrew.solver.data.keys import sample_keys

Numbers = NDArray[np.int64]


def permutation(seed: int, epoch: int, count: int) -> Numbers:
    """Return the numbers below ``count`` in a random order, a pure function of its arguments.

    >>> permutation(0, 0, 4), permutation(0, 1, 4)
    (array([0, 2, 3, 1]), array([0, 2, 1, 3]))
    """
    return np.argsort(sample_keys(seed, epoch, np.arange(count)), kind="stable").astype(np.int64)


class Order:
    """Turn positions in an endless stream of passes over ``count`` samples into the numbers of samples.

    The first ``skip`` positions are left out. With a ``seed`` each pass has an order of its own.

    >>> Order(3, skip=1).numbers(np.arange(5))
    array([1, 2, 0, 1, 2])
    """

    def __init__(self, count: int, seed: int | None = None, skip: int = 0) -> None:
        self.count = count
        self._skip = skip
        self._pass = lru_cache(maxsize=2)(lambda epoch: permutation(seed or 0, epoch, count))
        self._shuffles = seed is not None

    def numbers(self, positions: Numbers) -> Numbers:
        """Return the samples at ``positions`` int64[n]."""
        passes, numbers = np.divmod(positions + self._skip, self.count)
        if self._shuffles:
            for epoch in np.unique(passes).tolist():
                here = passes == epoch
                numbers[here] = self._pass(epoch)[numbers[here]]
        return numbers
