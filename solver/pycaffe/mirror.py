"""Mirrors: arrays as Caffe lays them out, float32 in C order, for those of the engine that lie otherwise.

Pictures and filters lie in the engine's memory as its kernels like them, and gradients are float64 sums. Scripts rely
on Caffe's layout, above all where they write through ``data.reshape(-1)[...] = x`` or hand arrays to other libraries.
So they get a second array, and the two take turns: ``engines_turn`` takes over what users have written before the
engine works with it, and shows them afterwards what has become of it; ``users_turn`` does the reverse while a user's
function runs amid the engine's work. A mirror that nobody holds is dropped at the end of the user's turn.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Place = tuple[int, tuple[int, ...], tuple[int, ...]]

_MIRRORS: dict[Place, Mirror] = {}  # by address, shape and strides of the engine's array
_UNHELD = 2  # references to the array of a mirror that no user has: the mirror's, and that of whoever counts
_working = False  # whether it is the engine's turn


class Mirror:
    """An array of the engine, and the one that users see."""

    def __init__(self, source: Array) -> None:
        self.source = source
        self.array: Array = np.empty(source.shape, np.float32)
        self.show()

    def show(self) -> None:
        """Let users see what the engine has."""
        with np.errstate(over="ignore"):  # gradients of a training run that diverges
            np.copyto(self.array, self.source, casting="same_kind")

    def take(self) -> None:
        """Let the engine have what users wrote; float64 sums not written to stay exact."""
        if self.source.dtype == self.array.dtype:
            np.copyto(self.source, self.array)
            return
        with np.errstate(over="ignore"):
            np.copyto(self.source, self.array, where=self.source.astype(np.float32) != self.array)

    @property
    def held(self) -> bool:
        """Whether a user has the array, or a view of it."""
        return sys.getrefcount(self.array) > _UNHELD


def mirrored(source: Array) -> Array:
    """Return a view of ``source``, if it is float32 in C order, else of its mirror, the same one while it is held."""
    if source.dtype == np.float32 and source.flags.c_contiguous:
        return source.view()
    place = (source.ctypes.data, source.shape, source.strides)
    if place not in _MIRRORS:
        _leave(source)
        _MIRRORS[place] = Mirror(source)
    return _MIRRORS[place].array.view()


def release() -> None:
    """Drop the mirrors that nobody holds, with the engine's memory they keep alive."""
    if not _working:
        _take_all()


@contextmanager
def engines_turn() -> Iterator[None]:
    """While the engine works: what users have written counts before, and they see the result after."""
    global _working
    outer = _working
    if not outer:
        _take_all()
    _working = True
    try:
        yield
    finally:
        _working = outer
        if not outer:
            _show_all()


@contextmanager
def users_turn(amid: bool = False) -> Iterator[None]:
    """While a user's function runs amid the engine's work: it sees everything as it is, and what it writes counts.

    Outside of ``engines_turn`` that is so if the caller says that it is ``amid`` the work.
    """
    global _working
    outer = _working
    if outer or amid:
        _show_all()
    _working = False
    try:
        yield
    finally:
        if outer or amid:
            _take_all()
        _working = outer


def _take_all() -> None:
    for place, mirror in list(_MIRRORS.items()):
        mirror.take()
        if not mirror.held:
            del _MIRRORS[place]


def _show_all() -> None:
    for mirror in _MIRRORS.values():
        mirror.show()


def _leave(source: Array) -> None:
    """Part with the mirrors of arrays that lay where ``source`` lies now: blobs of another shape than today's."""
    for place, mirror in list(_MIRRORS.items()):
        if np.may_share_memory(mirror.source, source):
            if not _working:
                mirror.take()
            del _MIRRORS[place]
