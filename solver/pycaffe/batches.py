"""Arrays of any number of samples, run through a net batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from batchbrew.errors import UserError

Array = NDArray[Any]
Arrays = dict[str, Array]
Pass = Callable[[Mapping[str, Array]], Arrays]


def write(given: Mapping[str, ArrayLike], names: Collection[str], array_of: Callable[[str], Array], what: str) -> None:
    """Write arrays into those of a net; ``what`` is "Input blob" or "Top diff".

    Raises UserError unless they are for exactly ``names`` and of their batch size.
    """
    side, one = ("inputs", "Input") if what == "Input blob" else ("outputs", "Diff")
    if set(given) != set(names):
        known = ", ".join(names) or "none"
        raise UserError(f"{what} arguments do not match net {side}. They are {known} (found {', '.join(given)})")
    for name, values in given.items():
        array, wanted = np.asarray(values), array_of(name)
        if array.shape[:1] != wanted.shape[:1]:
            raise UserError(f"{one} is not batch sized: '{name}' has shape {wanted.shape}, found {array.shape}")
        wanted[...] = array


def cut(arrays: Mapping[str, Array], batch: int) -> Iterator[Arrays]:
    """Yield the arrays in pieces of ``batch`` rows, the last one filled up with zeros.

    >>> [piece["x"].tolist() for piece in cut({"x": np.array([1, 2, 3])}, 2)]
    [[1, 2], [3, 0]]
    """
    rows = len(next(iter(arrays.values()))) if arrays else 0
    for start in range(0, rows, batch):
        piece = {name: np.asarray(array[start : start + batch]) for name, array in arrays.items()}
        lacking = batch - min(batch, rows - start)
        yield {
            name: np.concatenate([array, np.zeros((lacking, *array.shape[1:]), array.dtype)]) if lacking else array
            for name, array in piece.items()
        }


def run(arrays: Mapping[str, Array], batch: int, passing: Pass) -> Arrays:
    """Return what ``passing`` makes of the arrays, piece by piece, joined along the rows."""
    made = [_copied(passing(piece)) for piece in cut(arrays, batch)]
    return _joined(made, len(next(iter(arrays.values()))))


def run_both(
    inputs: Mapping[str, Array], diffs: Mapping[str, Array], batch: int, forward: Pass, backward: Pass
) -> tuple[Arrays, Arrays]:
    """Return what ``forward`` makes of inputs and then ``backward`` of gradients, piece by piece, joined."""
    ahead, back = [], []
    nothing: Arrays = {}
    for piece, diff in zip_longest(cut(inputs, batch), cut(diffs, batch), fillvalue=nothing):
        ahead.append(_copied(forward(piece)))
        back.append(_copied(backward(diff)))
    rows = len(next(iter((inputs or diffs).values())))
    return _joined(ahead, rows), _joined(back, rows)


def _copied(arrays: Mapping[str, Array]) -> Arrays:
    return {name: np.array(array) for name, array in arrays.items()}


def _joined(made: Sequence[Arrays], rows: int) -> Arrays:
    """Return the pieces joined, without what belongs to the zeros; scalars are listed, one a piece."""
    names = made[0] if made else {}
    return {name: np.concatenate([np.atleast_1d(piece[name]) for piece in made])[:rows] for name in names}
