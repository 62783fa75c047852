"""Gradients as pycaffe shows them: float32 arrays beside the engine's float64 sums, kept equal around every pass.

``diff_of`` makes such an array when it is first asked for; it stays the same array for good. What a user writes into it
counts: ``push`` takes it over before the sums are used or added to, ``pull`` shows what they have become. Sums that
nobody looks at cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from batchbrew.solver.parameter import Parameter

Array = NDArray[Any]

_SHOWN: WeakKeyDictionary[Parameter, Array] = WeakKeyDictionary()  # by the owner of the sums; flat


def diff_of(parameter: Parameter) -> Array:
    """Return the gradient of ``parameter`` in its shape, float32, live and writable."""
    owner = parameter.owner or parameter
    if owner not in _SHOWN:
        _SHOWN[owner] = _rounded(owner)
    return parameter.shaped(_SHOWN[owner])


def push(parameters: Sequence[Parameter]) -> None:
    """Take over what has been written into the shown gradients of ``parameters``; sums not written to stay exact."""
    for parameter, shown in _those_shown(parameters):
        np.copyto(parameter.grads, shown, where=_rounded(parameter) != shown)


def pull(parameters: Sequence[Parameter]) -> None:
    """Show what the sums of ``parameters`` are now."""
    for parameter, shown in _those_shown(parameters):
        shown[...] = _rounded(parameter)


@contextmanager
def shown(parameters: Sequence[Parameter]) -> Iterator[None]:
    """While the engine works with the sums: what users have written counts before, and they see the result after."""
    push(parameters)
    try:
        yield
    finally:
        pull(parameters)


@contextmanager
def written(parameters: Sequence[Parameter]) -> Iterator[None]:
    """While a user's function runs amid the engine's work: it sees the sums as they are, and what it writes counts."""
    pull(parameters)
    yield
    push(parameters)


def _those_shown(parameters: Sequence[Parameter]) -> Iterator[tuple[Parameter, Array]]:
    for parameter in parameters:
        owner = parameter.owner or parameter
        if owner in _SHOWN:
            yield owner, _SHOWN[owner]


def _rounded(parameter: Parameter) -> Array:
    with np.errstate(over="ignore"):  # of a training run that diverges
        return parameter.grads.astype(np.float32)
