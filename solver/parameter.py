"""Learnable parameters: views of one flat buffer, with the gradients in a second one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Shape, aligned_zeros
from batchbrew.solver.memory import require

Array = NDArray[Any]
ALIGN = 16  # each parameter starts at a multiple of this many elements


@dataclass(eq=False)
class Parameter:
    """One weight or bias.

    ``data`` and ``grad`` have Caffe's shape and are live views; ``values``, ``grads`` are the same memory, flat.
    ``order`` says in which order the axes lie in memory (the kernels' order).
    """

    layer: str
    index: int
    shape: Shape
    order: tuple[int, ...]
    filler: pb.FillerParameter
    name: str = ""
    lr_mult: float = 1.0
    decay_mult: float = 1.0
    local: bool = False  # differs between ranks while training (BatchNorm's running statistics)
    start: int = -1
    owner: Parameter | None = None  # whose memory this one uses, where shared
    initial: Array | None = None  # its first values, flat, where no filler makes them
    turned: Parameter | None = None  # what its layer works with, where those it is shared with need another order

    data: Array = None  # type: ignore[assignment]  # set by Flat.bind
    grad: Array = None  # type: ignore[assignment]
    values: Array = None  # type: ignore[assignment]
    grads: Array = None  # type: ignore[assignment]

    @property
    def count(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def label(self) -> str:
        """``layer[index]``, for messages."""
        return f"{self.layer}[{self.index}]"

    def shaped(self, flat: Array) -> Array:
        """Return flat memory as an array of the parameter's shape, a view."""
        stored = tuple(self.shape[axis] for axis in self.order)
        return flat.reshape(stored).transpose(tuple(int(axis) for axis in np.argsort(self.order)) if self.order else ())

    def lie(self, order: tuple[int, ...]) -> None:
        """Lie in another order from now on, and let the layer work with a copy (``turned``) in the one it needs."""
        if order != self.order:
            self.turned = self.turned or replace(self, owner=None)
            self.order = order

    def bind(self, values: Array, grads: Array) -> None:
        """Become views of these flat pieces."""
        self.values, self.grads = values, grads
        self.data, self.grad = self.shaped(values), self.shaped(grads)


class Flat:
    """All parameters in one buffer, all gradients in another, and behind these a tail for what rides along.

    Gradients are sums in float64: rounding then hardly depends on how samples are spread over chunks, shares and ranks,
    which a training run would amplify (a pooling maximum that flips) until trajectories differ.

    ``message`` = [gradients | tail] is what one Allreduce sums.
    """

    def __init__(self, parameters: Sequence[Parameter], tail: int, dtype: DTypeLike) -> None:
        self.parameters = list(parameters)
        self.size = 0
        for parameter in self.parameters:
            parameter.start = self.size
            self.size += -(-parameter.count // ALIGN) * ALIGN
        self.tail = tail
        require(self.size * (np.dtype(dtype).itemsize + 8), f"{self.size:,} parameters with their gradients")
        self.values = aligned_zeros(self.size, dtype)
        self.message = aligned_zeros(self.size + tail, np.float64)
        self.grads = self.message[: self.size]
        for parameter in self.parameters:
            part = slice(parameter.start, parameter.start + parameter.count)
            parameter.bind(self.values[part], self.grads[part])

    def checksum(self) -> str:
        """Return a digest of all values, equal on ranks that hold the same bits."""
        return hashlib.blake2b(self.values.tobytes(), digest_size=16).hexdigest()
