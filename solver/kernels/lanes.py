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
CUT = {"n": 0, "r": 1, "k": 1}  # axis along which arrays of these roles are cut
CACHE_BYTES = 1 << 20  # of one core
LINE = 16  # floats in a cache line: lanes had better not share one
ENOUGH = 2000  # touched pieces of memory to look through: waiting for each other is cheaper than knowing better


class Copies:
    """What lanes beyond the first add to instead of some sums, arrays of doubles in C order that all lanes share.

    ``used`` holds the pieces of them that programs use: number of the sums, first element and the one behind the last.
    """

    def __init__(self, lanes: int, sums: Sequence[Array] = ()) -> None:
        self.lanes = lanes
        self.sums = [array.reshape(-1) for array in sums if lanes > 1]
        self.copies = [[aligned_zeros(array.size, np.float64) for _ in range(lanes - 1)] for array in self.sums]
        self.used: set[tuple[int, int, int]] = set()

    def of(self, array: Array, lane: int) -> Array | None:
        """Return a lane's copy of an array that lies within one of the sums, None for one that does not."""
        low, high = byte_bounds(array)
        for number, whole in enumerate(self.sums):
            first, last = byte_bounds(whole)
            if first <= low and high <= last:
                if lane == 0:
                    return array
                self.used.add((number, (low - first) // whole.itemsize, (high - first) // whole.itemsize))
                copy = self.copies[number][lane - 1]
                return np.ndarray(array.shape, array.dtype, copy, array.ctypes.data - first, array.strides)
        return None

    def merging(self, low: int, high: int) -> list[Call]:
        """Return what adds copies to sums where used, and sets them to 0; of the first sums elements low to high."""
        pieces: list[tuple[int, int, int]] = []
        for number, first, last in sorted(self.used):
            start, stop = (first, last) if number else (max(first, low), min(last, high))
            if start >= stop:
                continue
            if pieces and pieces[-1][0] == number and start < pieces[-1][2] + LINE:  # parameters begin at lines
                pieces[-1] = (number, pieces[-1][1], max(stop, pieces[-1][2]))
            else:
                pieces.append((number, start, stop))
        return [
            ("merge_sums", (copy[start:stop], self.sums[number][start:stop]))
            for number, start, stop in pieces
            for copy in self.copies[number]
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
        known = None if number in lanes.alone else roles.get(str(name))
        letters = _way(arguments, known) if known else None
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
    given = [(arguments[i], i, letter) for i, letter in zip(places, letters, strict=True) if arguments[i] is not None]
    cut = {i: array.shape[CUT[letter]] if array.ndim else 0 for array, i, letter in given if letter in CUT}
    least = min(cut.values(), default=1)
    if not least or any(count % least for count in cut.values()):
        return None
    ends = _ends(least, lanes.count, lanes.samples if "n" in letters else 0)
    parts: Parts = []
    for lane in range(lanes.count):
        part = list(arguments)
        for array, i, letter in given:
            if letter in CUT:
                times = cut[i] // least
                part[i] = array[(slice(None),) * CUT[letter] + (slice(ends[lane] * times, ends[lane + 1] * times),)]
            elif letter == "s":
                part[i] = lanes.copies.of(array, lane)
            elif letter == "l":
                part[i] = array[lane : lane + 1] if array.shape[0] == lanes.count else None
            if part[i] is None:
                return None
        parts.append(tuple(part) if not cut or ends[lane] < ends[lane + 1] else None)
    return parts


def _way(arguments: tuple[Any, ...], roles: str) -> str:
    """Return the roles to go by, of a kernel that may have two ways: the second is for sums larger than a cache."""
    first, _, second = roles.partition("|")
    arrays = [a for a in arguments if not isinstance(a, int | float)]
    sums = sum(a.nbytes for a, letter in zip(arrays, first, strict=True) if letter == "s" and a is not None)
    return second if second and sums > CACHE_BYTES else first


def _ends(rows: int, lanes: int, samples: int) -> list[int]:
    """Return the row at which each lane begins, and the last one's end; samples stay whole.

    >>> _ends(12, 2, samples=3), _ends(100, 3, samples=0)
    ([0, 4, 12], [0, 32, 64, 100])
    """
    unit = rows // samples if samples and rows % samples == 0 else 1
    if not samples and rows >= LINE * lanes:
        unit = LINE
    return [rows // unit * lane // lanes * unit for lane in range(lanes)] + [rows]


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
            writes = letter not in "wr" and not (letter == "n" and repeated)
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
