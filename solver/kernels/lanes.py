"""Cutting a program over lanes (threads): what each of them runs, and where they wait for each other.

An operation whose kernel has roles (``brew.h``) is cut along axis 0 of its arrays; every other one is run by one lane.
Lanes wait for each other only before an operation that touches memory which another lane has touched since the last
time they waited, and one of the two writes it: through a net without whole-batch layers they run freely.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product, repeat
from types import NoneType
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import byte_bounds

from batchbrew.solver.blob import Array, aligned_zeros

Call = tuple[str | Callable[..., None], tuple[Any, ...]]  # a kernel's name or any function, and its arguments
LINE = 16  # floats in a cache line: lanes had better not share one
ENOUGH = 2000  # touched pieces of memory to look through: waiting for each other is cheaper than knowing better


class Copies:
    """What lanes beyond the first add to instead of some sums, arrays of doubles in C order that all lanes share."""

    def __init__(self, lanes: int, sums: Sequence[Array] = ()) -> None:
        self.lanes = lanes
        self.sums = [array.reshape(-1) for array in sums if array.size and lanes > 1]
        self.copies = [[aligned_zeros(array.size, np.float64) for _ in range(lanes - 1)] for array in self.sums]

    def of(self, array: Array, lane: int) -> Array | None:
        """Return a lane's copy of an array that lies within one of the sums, None for one that does not."""
        low, high = byte_bounds(array)
        for whole, copies in zip(self.sums, self.copies, strict=True):
            first, last = byte_bounds(whole)
            if first <= low and high <= last:
                start = array.ctypes.data - first
                return (
                    array if lane == 0 else np.ndarray(array.shape, array.dtype, copies[lane - 1], start, array.strides)
                )
        return None

    def merging(self) -> list[Call]:
        """Return the operations that add the copies to their sums and set them to 0."""
        return [
            ("merge_sums", (copy, whole))
            for whole, copies in zip(self.sums, self.copies, strict=True)
            for copy in copies
        ]


@dataclass(frozen=True)
class Lanes:
    """How a program is to be cut: into how many lanes, by how many samples (0: each operation by its own axis 0).

    ``alone``: numbers of operations that one lane has to run by itself whatever their kernel allows.
    """

    count: int = 1
    samples: int = 0
    copies: Copies = field(default_factory=lambda: Copies(1))
    alone: Collection[int] = ()

    def behind(self, start: int) -> Lanes:
        """Return the same for a program that begins with operation ``start`` of this one."""
        return Lanes(self.count, self.samples, self.copies, {number - start for number in self.alone})


class Step(NamedTuple):
    """One operation: whether lanes wait for each other before it, and the call of each lane, None for no work."""

    wait: bool
    calls: list[Call | None]


class Touch(NamedTuple):
    """Memory that an operation touches: the whole of it, that of each lane (None: nothing), and whether it is written.

    Memory is given by its lowest address and the one behind its highest.
    """

    low: int
    high: int
    spans: tuple[tuple[int, int] | None, ...]
    writes: bool
    place: tuple[Any, ...]  # address, shape and strides: equally cut parts of one array do not meet


Parts = list[tuple[Any, ...] | None]  # the arguments of each lane


def plan(calls: Sequence[Call], roles: Mapping[str, str | None], lanes: Lanes) -> list[Step]:
    """Return ``calls`` cut over lanes; ``roles`` are those of each kernel."""
    steps: list[Step] = []
    touched: set[Touch] = set()  # since lanes waited last
    work = [0] * lanes.count  # elements since then
    for number, (name, arguments) in enumerate(calls):
        letters = None if number in lanes.alone else roles.get(str(name))
        parts = _cut(arguments, letters, lanes) if letters else None
        if parts:
            options = [parts]
        else:  # by one lane: the least busy one that need not wait
            order = sorted(range(lanes.count), key=work.__getitem__)
            options = [[arguments if other == lane else None for other in range(lanes.count)] for lane in order]
        for chosen in options:
            touches = _touches(arguments, chosen, letters)
            wait = len(touched) > ENOUGH or _clash(touches, touched)
            if not wait:
                break
        if wait:
            touched.clear()
            work = [0] * lanes.count
        touched.update(touches)
        for lane, part in enumerate(chosen):
            work[lane] += sum(a.size for a in part or () if isinstance(a, np.ndarray))
        steps.append(Step(wait, [None if part is None else (name, part) for part in chosen]))
    return steps


def _cut(arguments: tuple[Any, ...], letters: str, lanes: Lanes) -> Parts | None:
    """Return the arguments of each lane, None where they cannot be cut."""
    places = [i for i, a in enumerate(arguments) if not isinstance(a, int | float)]
    given = [(i, letter) for i, letter in zip(places, letters, strict=True) if arguments[i] is not None]
    rows = [arguments[i].shape[0] if arguments[i].ndim else 0 for i, letter in given if letter == "n"]
    least = min(rows, default=1)
    if not least or any(count % least for count in rows):
        return None
    ends = _ends(least, lanes)
    parts: Parts = []
    for lane in range(lanes.count):
        part = list(arguments)
        for i, letter in given:
            array = arguments[i]
            if letter == "n":
                times = array.shape[0] // least
                part[i] = array[ends[lane] * times : ends[lane + 1] * times]
            elif letter == "s":
                part[i] = lanes.copies.of(array, lane)
            elif letter == "l":
                part[i] = array[lane : lane + 1] if array.shape[0] == lanes.count else None
            if part[i] is None:
                return None
        parts.append(tuple(part) if not rows or ends[lane] < ends[lane + 1] else None)
    return parts


def _ends(rows: int, lanes: Lanes) -> list[int]:
    """Return the row at which each lane begins, and the last one's end; samples stay whole.

    >>> _ends(12, Lanes(2, 3)), _ends(100, Lanes(3))
    ([0, 4, 12], [0, 32, 64, 100])
    """
    unit = rows // lanes.samples if lanes.samples and rows % lanes.samples == 0 else 1
    if not lanes.samples and rows >= LINE * lanes.count:
        unit = LINE
    return [rows // unit * lane // lanes.count * unit for lane in range(lanes.count)] + [rows]


def _touches(arguments: tuple[Any, ...], parts: Parts, letters: str | None) -> list[Touch]:
    """Return what an operation touches."""
    found = []
    places = [i for i, a in enumerate(arguments) if isinstance(a, np.ndarray | NoneType)]
    for i, letter in zip(places, letters or repeat("n"), strict=False):
        whole = arguments[i]
        arrays = [None if part is None else part[i] for part in parts]
        spans = tuple(None if a is None or not a.size else byte_bounds(a) for a in arrays)
        there = [span for span in spans if span]
        if there:
            repeated = letters is not None and whole.ndim and whole.strides[0] == 0 and whole.shape[0] > 1
            writes = letter != "w" and not (letter == "n" and repeated)
            place = (whole.ctypes.data, whole.shape, whole.strides)
            found.append(Touch(min(s[0] for s in there), max(s[1] for s in there), spans, writes, place))
    return found


def _clash(touches: Collection[Touch], others: Collection[Touch]) -> bool:
    """Return whether a lane touches what another one writes, or writes what another one touches."""
    return any(
        a.low < b.high
        and b.low < a.high
        and (a.writes or b.writes)
        and not (a.place == b.place and a.spans == b.spans)
        and any(
            x and y and x[0] < y[1] and y[0] < x[1]
            for (i, x), (j, y) in product(enumerate(a.spans), enumerate(b.spans))
            if i != j
        )
        for a in touches
        for b in others
    )
