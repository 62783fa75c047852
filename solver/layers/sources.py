"""Layers without bottoms: what they have in common, Input (the user writes), DummyData (fillers)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from batchbrew.protos import messages as pb
from batchbrew.solver.ahead import Feed
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.data.keys import Keys
from batchbrew.solver.fillers import fill
from batchbrew.solver.layer import LAYERS, Array, Builder, Layer


class SourceLayer(Layer):
    """A layer whose tops are written before each forward pass by ``feed``."""

    bottoms = (0, 0)
    tops: ClassVar[tuple[int, int | None]] = (1, None)

    @abstractmethod
    def feed(self, tops: Sequence[Array], keys: Keys, indices: NDArray[np.int64]) -> None:
        """Write the tops; ``indices`` int64[n] are the wanted samples, ``keys`` uint64[n] the keys of their draws."""

    def feeding(self, build: Builder, top: Sequence[Blob]) -> Feed:
        """Return what writes the tops of this program."""
        return Feed(self.feed, [blob.data for blob in top])

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Nothing: the tops have been fed."""

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Nothing: there are no bottoms."""


@LAYERS.register("Input")
class Input(SourceLayer):
    """Blobs that the caller writes."""

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the shapes the prototxt gives."""
        shapes = self.param.input_param.shape
        if len(shapes) not in (0, 1, len(self.param.top)):
            raise self.error(f"give one shape, or one for each of the {len(self.param.top)} tops (found {len(shapes)})")
        given = [tuple(shape.dim) for shape in shapes] or [()]  # none: whoever writes the blobs sizes them first
        return given if len(given) == len(self.param.top) else given * len(self.param.top)

    def feed(self, tops: Sequence[Array], keys: Keys, indices: NDArray[np.int64]) -> None:
        """Leave what the caller wrote."""


@LAYERS.register("DummyData")
class DummyData(SourceLayer):
    """Blobs from fillers: constant ones are filled once, others before each forward pass."""

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Check how many shapes and fillers are given."""
        p, tops = self.param.dummy_data_param, len(self.param.top)
        if len(p.data_filler) not in (0, 1, tops):
            raise self.error(
                f"give no data_filler, one, or one for each of the {tops} tops (found {len(p.data_filler)})"
            )
        fillers = list(p.data_filler) or [pb.FillerParameter()]
        self.fillers = fillers if len(fillers) == tops else fillers * tops
        self.drawn = 0
        self.seen: dict[int, tuple[Shape, int]] = {}

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the shapes the prototxt gives, as ``shape`` or in the four legacy fields."""
        p, tops = self.param.dummy_data_param, len(self.param.top)
        if len(p.shape):
            shapes = [tuple(shape.dim) for shape in p.shape]
        else:
            sizes = (p.num, p.channels, p.height, p.width)
            if any(len(size) not in (1, tops) for size in sizes):
                raise self.error(f"give num, channels, height and width once, or once for each of the {tops} tops")
            columns = [list(size) if len(size) == tops else list(size) * tops for size in sizes]
            shapes = list(zip(*columns, strict=True))
        if len(shapes) not in (1, tops):
            raise self.error(f"give one shape, or one for each of the {tops} tops (found {len(shapes)})")
        return shapes if len(shapes) == tops else shapes * tops

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Fill the constant tops, if their memory is new: what the caller then writes into them stays."""
        for i, (blob, filler) in enumerate(zip(top, self.fillers, strict=True)):
            state = (blob.shape, blob.data.ctypes.data)
            if filler.type == "constant" and self.seen.get(i) != state:
                fill(blob.data, filler, (self.salt, i, 0), self.error)
                self.seen[i] = state

    def feed(self, tops: Sequence[Array], keys: Keys, indices: NDArray[np.int64]) -> None:
        """Fill the others."""
        for i, (array, filler) in enumerate(zip(tops, self.fillers, strict=True)):
            if filler.type != "constant":
                fill(array, filler, (self.salt, i, self.drawn), self.error)
        self.drawn += 1
