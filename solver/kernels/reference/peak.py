"""Loops that show what a processor can do at most; only their compiled forms are worth timing."""

from __future__ import annotations

from batchbrew.solver.kernels.reference.table import Array, kernel


@kernel
def peak_multiply_add(v: Array, rounds: int) -> None:
    """Do ``v`` = 0.999 ``v`` + 1e-6, ``rounds`` times; ``v``: a multiple of 192 values."""
    for _ in range(rounds):
        v[...] = v * v.dtype.type(0.999) + v.dtype.type(1e-6)


@kernel
def peak_read(x: Array, total: Array, rounds: int) -> None:
    """Add the sum of ``x`` to ``total`` (1), ``rounds`` times; ``x``: a multiple of 64 values."""
    for _ in range(rounds):
        total[...] += x.sum()


@kernel
def peak_copy(x: Array, y: Array, rounds: int) -> None:
    """Do ``y`` = 0.999 ``x``, ``rounds`` times; ``x``, ``y``: a multiple of 64 values."""
    for _ in range(rounds):
        y[...] = x * x.dtype.type(0.999)
