"""Kernels: one set of operations, run by compiled code or by their NumPy reference.

``BATCHBREW_KERNELS`` chooses: ``auto`` (default: the best instruction set of this processor), ``avx512``, ``avx2``,
``baseline`` or ``reference``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from typing import Protocol

import numpy as np

from batchbrew.errors import UserError, did_you_mean
from batchbrew.solver.kernels.lanes import Call, Copies, Lanes, plan
from batchbrew.solver.kernels.reference import KERNELS

try:
    from batchbrew.solver.kernels import _compiled
except ImportError:  # no C compiler when it was installed
    _compiled = None  # type: ignore[assignment]

__all__ = [
    "Call",
    "Copies",
    "Lanes",
    "Program",
    "available",
    "choose",
    "choose_threads",
    "compile_program",
    "pin",
    "unpin",
]
ONE = Lanes()
MOST_THREADS = 1024
_unpinned: set[int] = set()  # where the process could be before it was pinned


class Program(Protocol):
    """A list of operations bound to their arrays."""

    def __len__(self) -> int: ...

    def run(self, start: int = 0, stop: int = -1) -> None:
        """Run operations start to stop (all of them by default)."""
        ...


class ReferenceProgram:
    """Run the NumPy reference of each operation."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = [(KERNELS[what] if isinstance(what, str) else what, arguments) for what, arguments in calls]

    def __len__(self) -> int:
        return len(self._calls)

    def run(self, start: int = 0, stop: int = -1) -> None:
        """Run operations start to stop (all of them by default)."""
        with np.errstate(all="ignore"):
            for function, arguments in self._calls[start : len(self._calls) if stop < 0 else stop]:
                try:
                    function(*arguments)
                except MemoryError as error:
                    raise UserError(f"out of memory in {getattr(function, '__name__', 'a layer')}: {error}") from None


class MixedProgram:
    """Run compiled operations where there are such, and functions and NumPy references between them."""

    def __init__(self, calls: Sequence[Call], kernels: str, lanes: Lanes) -> None:
        self._pieces: list[tuple[int, Program]] = []  # (number of its first operation, program)
        start = 0
        for compiled, group in groupby(calls, _is_compiled):
            piece = list(group)
            program = _bound(piece, kernels, lanes.behind(start)) if compiled else ReferenceProgram(piece)
            self._pieces.append((start, program))
            start += len(piece)
        self._count = start

    def __len__(self) -> int:
        return self._count

    def run(self, start: int = 0, stop: int = -1) -> None:
        """Run operations start to stop (all of them by default)."""
        end = self._count if stop < 0 else stop
        for first, program in self._pieces:
            low, high = max(start - first, 0), min(end - first, len(program))
            if low < high:
                program.run(low, high)


def _bound(calls: Sequence[Call], kernels: str, lanes: Lanes) -> Program:
    if lanes.count == 1 or not calls:
        return _compiled.Program([[(str(name), arguments) for name, arguments in calls]], kernels)
    steps = plan(calls, _roles(), lanes)
    return _compiled.Program(
        [list(own) for own in zip(*(s.calls for s in steps), strict=True)], kernels, [s.wait for s in steps]
    )


@cache
def _roles() -> dict[str, str | None]:
    return _compiled.kernel_roles()


@cache
def _compiled_names() -> frozenset[str]:
    return frozenset(_roles())


def _is_compiled(call: Call) -> bool:
    return isinstance(call[0], str) and call[0] in _compiled_names()


@cache
def available() -> list[str]:
    """Return the kernel sets that run here, the best first; `reference` always does.

    >>> available()[-1]
    'reference'
    """
    return [*(_compiled.supported() if _compiled is not None else []), "reference"]


def choose(name: str | None = None) -> str:
    """Return the kernel set to use: ``name``, else what BATCHBREW_KERNELS says, else the best one.

    Raises UserError for a name that is unknown or does not run here.
    """
    wanted = name or os.environ.get("BATCHBREW_KERNELS") or "auto"
    if wanted == "auto":
        return available()[0]
    if wanted not in available():
        raise UserError(
            f"kernels '{wanted}' are not available here{did_you_mean(wanted, available())} "
            f"(here: auto, {', '.join(available())})"
        )
    return wanted


def compile_program(calls: Sequence[Call], kernels: str, lanes: Lanes = ONE) -> Program:
    """Return ``calls`` as a program of the kernel set ``kernels``, cut over ``lanes`` where kernels are compiled."""
    if kernels == "reference":
        return ReferenceProgram(calls)
    if all(map(_is_compiled, calls)):
        return _bound(calls, kernels, lanes)
    return MixedProgram(calls, kernels, lanes)


def choose_threads(number: int | None = None) -> int:
    """Return how many threads to use: ``number``, else what BATCHBREW_THREADS says, else 1.

    Raises UserError for what is no number of threads.
    """
    given = os.environ.get("BATCHBREW_THREADS") or "1"
    if number is None:
        number = int(given) if given.isdecimal() else 0
        if not 1 <= number <= MOST_THREADS:
            raise UserError(f"BATCHBREW_THREADS: must be a number from 1 to {MOST_THREADS} (found '{given}')")
    return number


def pin(processors: Sequence[int]) -> None:
    """Keep each thread of all programs on one of these logical processors, the calling thread on the first.

    Threads and processes that the calling thread starts later are there too, unless they say otherwise. None are
    given where several threads have to share a processor: who waits for the others then sleeps at once.
    """
    global _unpinned
    _unpinned = _unpinned or _affinity()
    if _compiled is not None:
        _compiled.pin(list(processors))


def unpin() -> None:
    """Let the calling thread go where the process could be before ``pin``."""
    if _unpinned:
        os.sched_setaffinity(0, _unpinned)


def _affinity() -> set[int]:
    """Return the logical processors of the calling thread; none where the system does not say."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
