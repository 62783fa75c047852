"""Kernels: one set of operations, run by compiled code or by their NumPy reference.

``BATCHBREW_KERNELS`` chooses: ``auto`` (default: the best instruction set of this processor), ``avx512``, ``avx2``,
``baseline`` or ``reference``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np

from batchbrew.errors import UserError, did_you_mean
from batchbrew.solver.kernels.reference import KERNELS

try:
    from batchbrew.solver.kernels import _compiled
except ImportError:  # no C compiler when it was installed
    _compiled = None  # type: ignore[assignment]

Call = tuple[str, tuple[Any, ...]]


class Program(Protocol):
    """A list of operations bound to their arrays."""

    def __len__(self) -> int: ...

    def run(self, start: int = 0, stop: int = -1) -> None:
        """Run operations start to stop (all of them by default)."""
        ...


class ReferenceProgram:
    """Run the NumPy reference of each operation."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = [(KERNELS[name], arguments) for name, arguments in calls]

    def __len__(self) -> int:
        return len(self._calls)

    def run(self, start: int = 0, stop: int = -1) -> None:
        """Run operations start to stop (all of them by default)."""
        with np.errstate(all="ignore"):
            for function, arguments in self._calls[start : len(self._calls) if stop < 0 else stop]:
                function(*arguments)


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


def compile_program(calls: Sequence[Call], kernels: str) -> Program:
    """Return ``calls`` as a program of the kernel set ``kernels``."""
    if kernels == "reference":
        return ReferenceProgram(calls)
    return _compiled.Program(list(calls), kernels)
