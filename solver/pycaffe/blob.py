"""Blob: an array of a net and its gradient, as pycaffe's scripts and Python layers see it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchbrew.errors import UserError
from batchbrew.solver import blob as engine
from batchbrew.solver.net import Net as EngineNet
from batchbrew.solver.parameter import Parameter
from batchbrew.solver.pycaffe.mirror import engines_turn, mirrored

Array = NDArray[Any]
Shape = tuple[int, ...]


class Blob(ABC):
    """``data`` and ``diff`` are float32 arrays of ``shape`` in C order, live: to be read and written.

    They stay usable when the net is gone. See mirror.py for how they go with the engine's own.
    """

    @property
    @abstractmethod
    def data(self) -> Array:
        """The values."""

    @property
    @abstractmethod
    def diff(self) -> Array:
        """The gradients."""

    @abstractmethod
    def _resize(self, shape: Shape) -> None:
        """Take another shape."""

    def reshape(self, *dims: int) -> None:
        """Take another shape; without ``dims`` that of a scalar."""
        self._resize(tuple(int(size) for size in dims))

    @property
    def shape(self) -> Shape:
        """The size along each axis."""
        return self.data.shape

    @property
    def count(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def num(self) -> int:
        """Size along axis 0, 1 if there is none; a blob of more than 4 axes has none of these names."""
        return self._legacy(0)

    @property
    def channels(self) -> int:
        """Size along axis 1, 1 if there is none."""
        return self._legacy(1)

    @property
    def height(self) -> int:
        """Size along axis 2, 1 if there is none."""
        return self._legacy(2)

    @property
    def width(self) -> int:
        """Size along axis 3, 1 if there is none."""
        return self._legacy(3)

    def _legacy(self, axis: int) -> int:
        if len(self.shape) > 4:
            raise UserError(
                f"Cannot use legacy accessors (num, channels, height, width) on blobs with > 4 axes: {self.shape}"
            )
        return self.shape[axis] if axis < len(self.shape) else 1


class NetBlob(Blob):
    """A top of a net. Only those of layers without bottoms can be reshaped: the others follow at the next pass."""

    def __init__(self, net: EngineNet, name: str) -> None:
        self._net, self._name = net, name

    @property
    def data(self) -> Array:
        """The values."""
        return mirrored(self._net.whole.blob(self._name).data)

    @property
    def diff(self) -> Array:
        """The gradients."""
        return mirrored(self._net.whole.blob(self._name).diff)

    @property
    def shape(self) -> Shape:
        """The size along each axis."""
        return self._net.whole.shape(self._name)

    def _resize(self, shape: Shape) -> None:
        with engines_turn():
            self._net.whole.resize(self._name, shape)


class ParameterBlob(Blob):
    """A weight or bias; ``diff`` shows the sum of the gradients since it was cleared."""

    def __init__(self, parameter: Parameter) -> None:
        self._parameter = parameter

    @property
    def data(self) -> Array:
        """The values."""
        mine, owner = self._parameter, self._parameter.owner
        same = owner if owner is not None and owner.values is mine.values else mine
        return mirrored(same.data).reshape(mine.shape)

    @property
    def diff(self) -> Array:
        """The gradients."""
        mine, owner = self._parameter, self._parameter.owner
        same = owner if owner is not None and owner.grads is mine.grads else mine
        return mirrored(same.grad).reshape(mine.shape)

    def _resize(self, shape: Shape) -> None:
        if shape != self.shape:
            raise UserError(
                f"{self._parameter.label}: the shape {self.shape} of a net's parameter cannot become {shape}: "
                "build a net whose layer has that shape"
            )


class LayerBlob(Blob):
    """A bottom or top in the hands of a Python layer: arrays of its own until the net lends its own."""

    def __init__(self, shape: Shape = ()) -> None:
        self._data: Array = np.zeros(shape, np.float32)
        self._diff: Array | None = None
        self._lent: engine.Blob | None = None

    @property
    def data(self) -> Array:
        """The values."""
        return mirrored(self._data)

    @property
    def diff(self) -> Array:
        """The gradients."""
        if self._diff is None:
            self._diff = np.zeros(self._data.shape, self._data.dtype)
        return mirrored(self._diff)

    @property
    def shape(self) -> Shape:
        """The size along each axis."""
        return self._data.shape

    def _resize(self, shape: Shape) -> None:
        if shape == self._data.shape:
            return
        if self._lent is not None and shape == self._lent.data.shape:
            self._data, self._diff = self._lent.data, self._lent.diff
            return
        before = self.data.ravel()
        self._data = np.zeros(shape, before.dtype)
        kept = min(before.size, self._data.size)
        self._data.flat[:kept] = before[:kept]  # contents survive in Caffe, where memory only grows
        self._diff = None

    def bind(self, blob: engine.Blob) -> None:
        """Become the net's arrays, whatever they hold."""
        self._lent, self._data, self._diff = blob, blob.data, blob.diff

    def lend(self, blob: engine.Blob) -> None:
        """Note the net's arrays, to be used as soon as the shape is theirs."""
        self._lent = blob

    def copy(self, other: LayerBlob) -> None:
        """Take the values of ``other``, unless they are one, or differ in shape."""
        if self._data is not other._data and self.shape == other.shape:
            self._data[...] = other._data

    def deliver(self) -> None:
        """Put what has been written into the net's arrays, and go on with these."""
        if self._lent is not None and self._data is not self._lent.data:
            self._lent.data[...] = self._data
            self.bind(self._lent)


class BlobVec(list[Blob]):
    """The parameters of a layer. A Python layer adds some in ``setup`` with ``add_blob(*shape)``."""

    def __init__(self, blobs: Iterable[Blob] = (), declare: Callable[[Shape], Blob] | None = None) -> None:
        super().__init__(blobs)
        self._declare = declare

    def add_blob(self, *shape: int) -> None:
        """Add a parameter of this shape, all zeros; without ``shape`` a scalar."""
        if self._declare is None:
            raise UserError("add_blob: a layer's parameters are declared in setup() of a Python layer, and only there")
        self.append(self._declare(tuple(int(size) for size in shape)))

    def close(self) -> None:
        """Take no more parameters."""
        self._declare = None
