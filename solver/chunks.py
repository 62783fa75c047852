"""How a batch is cut into chunks that fit the caches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from batchbrew.solver.compiled import activation_bytes
from batchbrew.solver.wiring import Wiring

CHUNK_BYTES = 4 << 20  # activations of one chunk a thread: they should stay in the caches
MAX_CHUNK = 64  # samples of one chunk a thread


def chunk_size(net: Wiring, threads: int) -> int:
    """Return how many samples to run at a time."""
    return max(1, min(MAX_CHUNK, int(CHUNK_BYTES / max(activation_bytes(net), 1.0)))) * threads


def pieces(indices: NDArray[np.int64], chunk: int, threads: int) -> list[NDArray[np.int64]]:
    """Return ``indices`` cut into nearly equal chunks, such that threads get equally many where possible.

    >>> [len(piece) for piece in pieces(np.arange(100), 24, 2)]
    [20, 20, 20, 20, 20]
    >>> [len(piece) for piece in pieces(np.arange(23), 8, 2)]
    [8, 8, 7]
    """
    count, unit = len(indices), threads if chunk % threads == 0 else 1
    if not count:
        return []
    units, number = -(-count // unit), -(-count // chunk)
    ends = [unit * -(-units * i // number) for i in range(number)]
    return [indices[start:stop] for start, stop in zip(ends, [*ends[1:], count], strict=True)]
