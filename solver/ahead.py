"""Reading ahead: while pieces of a batch are computed, a background thread reads and transforms the samples to come."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from batchbrew.solver.blob import Array, Storage
from batchbrew.solver.data.keys import Keys
from batchbrew.solver.kernels import unpin

BLOCK = 64  # samples read at once, or more: reading is twice as fast when its code and tables are still in the caches
Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Feed:
    """What a source does before each pass of one program: ``write(arrays, keys, indices)``.

    ``ahead`` says that this takes time and depends on its arguments only, so that it may be done early, for more
    samples at once and into other arrays.
    """

    write: Callable[[Sequence[Array], Keys, Numbers], None]
    arrays: Sequence[Array]
    ahead: bool = False


class Fed(Protocol):
    """A program with sources."""

    @property
    def feeds(self) -> Mapping[int, Feed]:
        """Return what its sources do, by layer number."""


P = TypeVar("P", bound=Fed)
Piece = tuple[P, Keys, Numbers]  # a program, and the samples it is to run: keys uint64[n], indices int64[n]


def joined(program: Callable[[int], P], parts: Sequence[Numbers], keys: Keys) -> list[Piece[P]]:
    """Return samples that are cut into ``parts``, each with its program; ``keys`` are those of all of them."""
    ends = list(accumulate((len(part) for part in parts), initial=0))
    return [(program(len(p)), keys[start : start + len(p)], p) for start, p in zip(ends, parts, strict=False)]


class _Block:
    """Samples to be read at once, for consecutive pieces; ``read`` puts them in place and keeps what goes wrong."""

    def __init__(self, pieces: Sequence[Piece[Any]]) -> None:
        self.pieces = pieces
        self._keys = np.concatenate([keys for _, keys, _ in pieces])
        self._indices = np.concatenate([indices for _, _, indices in pieces])
        self._feeds = {number: feed for number, feed in pieces[0][0].feeds.items() if feed.ahead}
        self._staged: dict[int, list[Array]] = {}
        self._problem: BaseException | None = None
        self.done = Event()

    def place(self, storages: dict[tuple[int, int], Storage]) -> None:
        """Find room for the samples, in ``storages`` by layer and top."""
        for number, feed in self._feeds.items():
            self._staged[number] = [
                storages.setdefault((number, top), Storage(array.dtype)).view((len(self._keys), *array.shape[1:]))
                for top, array in enumerate(feed.arrays)
            ]

    def read(self) -> None:
        """Read and transform."""
        try:
            for number, feed in self._feeds.items():
                feed.write(self._staged[number], self._keys, self._indices)
        except BaseException as problem:
            self._problem = problem
        finally:
            self.done.set()

    def is_for(self, other: _Block) -> bool:
        """Return whether these are the samples of ``other``; equal keys are those of one epoch."""
        return np.array_equal(self._indices, other._indices) and np.array_equal(self._keys, other._keys)

    def fed(self, pieces: Sequence[Piece[P]]) -> Iterator[Piece[P]]:
        """Yield ``pieces``, whose samples these are, when their arrays are filled. Raises what went wrong."""
        if self._problem is not None:
            raise self._problem
        start = 0
        for piece in pieces:
            program, keys, indices = piece
            stop = start + len(keys)
            for number, feed in program.feeds.items():
                if feed.ahead:
                    for array, staged in zip(feed.arrays, self._staged[number], strict=True):
                        array[...] = staged[start:stop]
                else:
                    feed.write(feed.arrays, keys, indices)
            yield piece
            start = stop


class Reader:
    """Feeds programs, from what was read ahead where reading takes time.

    The thread is started when it is first needed, ends with the reader and never keeps a process from ending. One block
    is read ahead; what goes wrong with it is raised where it is wanted, and nowhere if it is not.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Block | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._ahead: _Block | None = None
        self.expected: tuple[Numbers, int] | None = None  # samples of an epoch that are likely to be asked for next
        self._here: dict[tuple[int, int], Storage] = {}  # of the block in use
        self._there: dict[tuple[int, int], Storage] = {}  # of the one that is read ahead

    def fed(
        self, pieces: Sequence[Piece[P]], pieces_of: Callable[[Numbers, int], Sequence[Piece[P]]]
    ) -> Iterator[Piece[P]]:
        """Yield the pieces, each when its arrays are filled; ``pieces_of`` cuts what is expected next."""
        expected, self.expected = self.expected, None
        if not any(feed.ahead for program, _, _ in pieces[:1] for feed in program.feeds.values()):
            for piece in pieces:
                for feed in piece[0].feeds.values():
                    feed.write(feed.arrays, *piece[1:])
                yield piece
            return
        blocks = list(_blocks(pieces))
        for number, wanted in enumerate(blocks, 1):
            block = self.settle()
            if block is not None and block.is_for(wanted):
                self._here, self._there = self._there, self._here
            else:
                block = wanted
                block.place(self._here)
                block.read()
            if number < len(blocks):
                self._begin(blocks[number])
            elif expected is not None:
                self._begin(next(_blocks(pieces_of(*expected)), None))
            yield from block.fed(wanted.pieces)

    def settle(self) -> _Block | None:
        """Forget and return what is being read ahead, once it is complete: no two threads ask a source at once."""
        block = self._ahead
        if block is not None and self._alive():
            block.done.wait()
        self._ahead = None
        return block if block is not None and block.done.is_set() else None

    def _begin(self, block: _Block | None) -> None:
        if block is None:
            return
        if not self._alive():
            self._jobs = SimpleQueue()
            self._thread = Thread(target=_work, args=(self._jobs,), name="batchbrew reader", daemon=True)
            self._thread.start()
            weakref.finalize(self, self._jobs.put, None)
        block.place(self._there)
        self._ahead = block
        self._jobs.put(block)

    def _alive(self) -> bool:
        """Return whether there is a thread; in the child of a fork there is none."""
        return self._thread is not None and self._thread.is_alive()


def _blocks(pieces: Sequence[Piece[Any]]) -> Iterator[_Block]:
    """Yield consecutive pieces joined to blocks."""
    start = count = 0
    for stop, (_, keys, _) in enumerate(pieces, 1):
        count += len(keys)
        if count >= BLOCK or stop == len(pieces):
            yield _Block(pieces[start:stop])
            start, count = stop, 0


def _work(jobs: SimpleQueue[_Block | None]) -> None:
    unpin()
    while (block := jobs.get()) is not None:
        block.read()
