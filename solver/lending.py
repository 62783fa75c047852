"""Which blobs of a program can lie in the same memory, because no operation needs one when another is in use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from batchbrew.solver.blob import Array, Shape, Storage
from batchbrew.solver.kernels import Call


def lend(calls: Sequence[Call], blobs: Iterable[tuple[Storage, Shape, Array]]) -> dict[int, Storage]:
    """Return whose memory a storage uses instead of its own, by its ``id``.

    ``calls`` are the operations of the program, in the order in which it always runs from its first to its last;
    ``blobs`` are the storages it may change: each with the shape of its view, and the view that the operations use. The
    first operation that uses one writes all of it. Only blobs of one shape and border share memory: what one leaves
    around a picture is then zero for the next, and every thread keeps to the places of its own samples. Where some
    operation is no kernel, which may hold on to any array, nothing is lent.
    """
    if any(not isinstance(what, str) for what, _ in calls):
        return {}
    known: dict[int, Storage] = {}
    kinds: dict[int, Any] = {}
    for storage, shape, view in blobs:
        kind = (shape[1:], storage.border if len(shape) == 4 else (), storage.dtype)
        if kinds.setdefault(id(storage), kind) == kind:
            known[id(_root(view))] = storage
        else:  # seen in two shapes
            known.pop(id(_root(view)), None)
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for at, (_, arguments) in enumerate(calls):
        for storage in _used(arguments, known):
            first.setdefault(id(storage), at)
            last[id(storage)] = at
    by_id = {id(storage): storage for storage in known.values()}
    free: dict[Any, list[tuple[int, Storage]]] = {}  # by kind: memory, and the last operation that needs it
    lent: dict[int, Storage] = {}
    for number in sorted(first, key=lambda n: first[n]):
        pool = free.setdefault(kinds[number], [])
        place = next((i for i, (until, _) in enumerate(pool) if until < first[number]), None)
        if place is None:
            pool.append((last[number], by_id[number]))
        else:
            lent[number] = pool[place][1]
            pool[place] = (last[number], pool[place][1])
    return lent


def _used(arguments: Iterable[Any], known: dict[int, Storage]) -> list[Storage]:
    roots = (id(_root(array)) for array in arguments if isinstance(array, np.ndarray))
    return [known[root] for root in roots if root in known]


def _root(array: Array) -> Any:
    """Return what owns the memory of an array."""
    owner: Any = array
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    return owner
