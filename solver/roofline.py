"""What a machine can do at most, and how near a piece of work came to it.

The roofline model: work of so many operations on so many bytes takes at least operations / peak seconds and at least
bytes / bandwidth seconds; the longer of the two is its limit (Williams, Waterman and Patterson 2009).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np

from batchbrew.solver.blob import Array, aligned_zeros
from batchbrew.solver.kernels import Call, available, compile_program

Clock = Callable[[], float]
SIZES = tuple(1 << power for power in (15, 18, 20, 22, 24, 26))  # bytes of data at which the bandwidth is measured
ROUNDS = 2_000_000  # of 384 operations: some milliseconds
MOVED = 100_000_000  # bytes of one measurement
REPEATS = 4


@dataclass(frozen=True)
class Limit:
    """What bounds a piece of work, and which share of its seconds it would take at that bound."""

    name: Literal["FMA", "memory"]
    share: float


@dataclass(frozen=True)
class Machine:
    """Limits of some threads: floating-point operations a second, and (bytes of data, bytes a second), sizes rising."""

    kernels: str
    threads: int
    flops: float
    bandwidths: tuple[tuple[int, float], ...]

    def bandwidth(self, size: float) -> float:
        """Return the bytes a second at which ``size`` bytes are moved, between measured sizes by their logarithm.

        >>> Machine("avx2", 1, 1e9, ((1024, 8e9), (4096, 4e9))).bandwidth(2048)
        6000000000.0
        """
        sizes, rates = zip(*self.bandwidths, strict=True)
        return float(np.interp(np.log2(max(size, 1.0)), np.log2(sizes), rates))

    def limit(self, flops: float, size: float, seconds: float) -> Limit | None:
        """Return the nearer limit of work of ``flops`` operations on ``size`` bytes; None for no work or no time.

        >>> Machine("avx2", 1, 1e9, ((1024, 4e9),)).limit(5e8, 1e9, 1.0)
        Limit(name='FMA', share=0.5)
        """
        arithmetic, moving = flops / self.flops, size / self.bandwidth(size)
        if seconds <= 0 or max(arithmetic, moving) == 0:
            return None
        name: Literal["FMA", "memory"] = "FMA" if arithmetic >= moving else "memory"
        return Limit(name, max(arithmetic, moving) / seconds)


def measure_machine(kernels: str, clock: Clock, threads: int = 1) -> Machine | None:
    """Return the limits of ``threads`` threads with the instruction set ``kernels`` (the best one for `reference`).

    Takes some tenths of a second of ``clock``. None where there are no compiled kernels.
    """
    chosen = available()[0] if kernels == "reference" else kernels
    if chosen == "reference":
        return None
    largest = aligned_zeros(SIZES[-1] // 4, np.float32)
    bandwidths = tuple((size, _bandwidth(chosen, clock, threads, largest[: size // 4])) for size in SIZES)
    return Machine(chosen, threads, measure_flops(chosen, clock, threads), bandwidths)


def measure_flops(kernels: str, clock: Clock, threads: int = 1) -> float:
    """Return the floating-point operations a second of ``threads`` threads that do nothing but multiply-adds."""
    values = [aligned_zeros(192, np.float32) for _ in range(threads)]
    calls: list[Call] = [("peak_multiply_add", (own, ROUNDS)) for own in values]
    return 2.0 * 192 * ROUNDS * threads / _least_seconds(kernels, clock, calls)


def _bandwidth(kernels: str, clock: Clock, threads: int, data: Array) -> float:
    """Return the bytes a second at which ``data`` is read, or half of it copied to the other: the greater."""
    rounds = max(1, MOVED // data.nbytes)
    step = data.size // threads // 128 * 128
    parts = [data[i * step : (i + 1) * step] for i in range(threads)]
    read: list[Call] = [("peak_read", (part, np.zeros(1, np.float32), rounds)) for part in parts]
    copy: list[Call] = [("peak_copy", (part[: step // 2], part[step // 2 :], rounds)) for part in parts]
    moved = sum(part.nbytes for part in parts) * rounds
    return moved / min(_least_seconds(kernels, clock, calls) for calls in (read, copy))


def _least_seconds(kernels: str, clock: Clock, calls: Sequence[Call]) -> float:
    """Return the seconds of running all ``calls`` at once, each in a thread of its own, the least of some repeats."""
    programs = [compile_program([call], kernels) for call in calls]
    spent = []
    with ThreadPoolExecutor(len(programs)) as pool:
        for _ in range(REPEATS):
            start = clock()
            others = [pool.submit(program.run) for program in programs[1:]]
            programs[0].run()
            for other in others:
                other.result()
            spent.append(clock() - start)
    return min(spent)
