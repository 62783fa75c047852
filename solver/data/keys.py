"""Random draws that belong to a sample, not to a process: pure functions of (seed, epoch, sample number).

A generator with state would give a sample other draws whenever batches, chunks, threads or ranks are cut differently.
Here each sample has a 64-bit key, and each draw is a hash of the key and the number of the draw. The hash is the output
function of splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014, variant 13 of
Stafford's mixers): a bijection of the 64-bit numbers in which every input bit changes about half of the output bits.

Axis: n samples. All arithmetic is modulo 2**64, hence the same bits on every machine.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

MASK = (1 << 64) - 1
# 2**64 / golden ratio, made odd: i -> i * GOLDEN visits every 64-bit number once before it repeats.
GOLDEN = 0x9E3779B97F4A7C15

_GOLDEN = np.uint64(GOLDEN)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S32 = (np.uint64(shift) for shift in (27, 30, 31, 32))


def mix(values: Keys) -> Keys:
    """Return the splitmix64 hash of each of ``values`` (uint64, any shape); a bijection, the argument is kept.

    >>> [hex(x) for x in mix(np.arange(1, 3, dtype=np.uint64) * np.uint64(GOLDEN))]
    ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """
    x = values ^ (values >> _S30)
    x *= _FIRST
    x ^= x >> _S27
    x *= _SECOND
    x ^= x >> _S31
    return x


def mix_number(value: int) -> int:
    """Return the splitmix64 hash of one Python integer, taken modulo 2**64 (so negative seeds are fine).

    >>> hex(mix_number(GOLDEN))
    '0xe220a8397b1dcdaf'
    """
    return int(mix(np.array([value & MASK], np.uint64))[0])


@lru_cache(maxsize=64)
def _base(seed: int, epoch: int) -> int:
    return mix_number(mix_number(seed + GOLDEN) + (epoch + 1) * GOLDEN)


def sample_keys(seed: int, epoch: int, indices: NDArray[np.int64]) -> Keys:
    """Return the keys uint64[n] of the samples ``indices`` int64[n] in ``epoch`` of a run with ``seed``.

    ``key = mix(base + (index + 1) * GOLDEN)`` with ``base = mix(mix(seed + GOLDEN) + (epoch + 1) * GOLDEN)``. Within
    one (seed, epoch) different samples have different keys, because each step is a bijection of the index.

    >>> [hex(k) for k in sample_keys(0, 0, np.array([0, 1]))]
    ['0x238275bc38fcbe91', '0xf89a2566b5822c54']
    """
    base = _base(seed, epoch)
    numbers = np.asarray(indices, dtype=np.int64).astype(np.uint64) + np.uint64(1)
    return mix(numbers * _GOLDEN + np.uint64(base))


def draws(keys: Keys, stream: int) -> Keys:
    """Return one random uint64 a key, uint64[n], the same for the same ``stream`` number and independent for another.

    Callers name their streams by constants. Streams below 16 are the transforms' (mirror coin, row, column of the
    crop); a layer that draws, such as Dropout, takes 16 and more, a different one for each layer.
    """
    return mix(keys + np.uint64(mix_number((stream + 1) * GOLDEN)))


def below(random: Keys, count: int) -> NDArray[np.intp]:
    """Return random numbers scaled to 0 ... count-1, intp[n]; ``count`` at most 2**32.

    ``(high 32 bits * count) >> 32``: no loop, and off from equal chances by at most count / 2**32.

    >>> below(np.array([0, 1 << 63, (1 << 64) - 1], np.uint64), 5)
    array([0, 2, 4])
    """
    return ((random >> _S32) * np.uint64(count) >> _S32).astype(np.intp)


def coin(random: Keys) -> NDArray[np.bool_]:
    """Return the top bit of each random number as bool[n]: a fair coin."""
    return (random >> np.uint64(63)).astype(np.bool_)
