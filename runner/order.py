"""Which sample comes when: a function of (seed, epoch), with no rank, share or node count in it.

N is the number of training samples. The *stream* is the sequence of all samples of epoch 0, then all of epoch 1,
and so on; position s of the stream is place ``s % N`` of epoch ``s // N``. Update u of a constant global batch B
takes the positions [u B, (u + 1) B): a batch may reach into the next epoch, so B never changes, every sample is
used exactly once an epoch, and the one number s is all that a checkpoint needs to know about the data.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Part = tuple[int, Indices]


@lru_cache(maxsize=3)
def permutation(seed: int, epoch: int, samples: int, shuffle: bool = True) -> Indices:
    """Return the order [N] in which the samples of ``epoch`` are used.

    The raw 64-bit stream of the counter-based Philox generator, keyed by (seed, epoch), is sorted: unlike
    ``Generator.permutation`` that stream is promised never to change between NumPy versions.

    >>> permutation(1, 0, 5).tolist() == permutation(1, 0, 5).tolist()
    True
    >>> permutation(1, 0, 5, shuffle=False).tolist()
    [0, 1, 2, 3, 4]
    """
    if not shuffle:
        order = np.arange(samples, dtype=np.int64)
    else:
        raw = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(samples)
        order = np.argsort(raw, kind="stable").astype(np.int64, copy=False)
    order.flags.writeable = False
    return order


def batch_indices(seed: int, start: int, count: int, samples: int, shuffle: bool = True) -> list[Part]:
    """Return the stream positions [start, start + count) as parts (epoch, sample numbers); no part is empty.

    >>> [(epoch, indices.tolist()) for epoch, indices in batch_indices(1, 3, 4, 5, shuffle=False)]
    [(0, [3, 4]), (1, [0, 1])]
    """
    parts: list[Part] = []
    position, end = start, start + count
    while position < end:
        epoch, cursor = divmod(position, samples)
        taken = min(end - position, samples - cursor)
        parts.append((epoch, permutation(seed, epoch, samples, shuffle)[cursor : cursor + taken]))
        position += taken
    return parts


def cut(total: int, pieces: int) -> list[int]:
    """Return ``total`` as ``pieces`` counts that differ by at most one, larger ones first.

    >>> cut(7, 3)
    [3, 2, 2]
    """
    return [total // pieces + (i < total % pieces) for i in range(pieces)]
