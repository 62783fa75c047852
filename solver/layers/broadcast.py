"""What Scale and Bias share: an array, learnt or the second bottom, that meets the first one from an axis on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import as_strided

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import Array, Builder, Layer
from batchbrew.solver.layers.grid import grid, spread
from batchbrew.solver.layers.rows import as_rows


class Broadcast(Layer):
    """A layer of an operand, whose axes start at ``axis`` of the first bottom and are repeated over the others.

    With one bottom the operand is learnt and has ``num_axes`` axes (-1: all that follow), with two it is the second.
    """

    bottoms = (1, 2)
    noun: ClassVar[str]  # what the operand is, for messages
    initial: ClassVar[float]  # its value where no filler is given

    @property
    @abstractmethod
    def settings(self) -> pb.ScaleParameter | pb.BiasParameter:
        """The fields axis, num_axes and filler."""

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Declare the operand if it is learnt."""
        p, x = self.settings, bottoms[0]
        if len(bottoms) == 2:
            self.operand = bottoms[1]
            self.from_axis = self.axis(p.axis, x) if self.operand else 0
            return
        self.from_axis = self.axis(p.axis, x)
        if p.num_axes < -1 or self.from_axis + p.num_axes > len(x):
            raise self.error(f"num_axes {p.num_axes} from axis {p.axis} is more than the bottom {x} has")
        self.operand = x[self.from_axis : len(x) if p.num_axes == -1 else self.from_axis + p.num_axes]
        filler = p.filler if p.HasField("filler") else pb.FillerParameter(type="constant", value=self.initial)
        self.add_parameter(self.operand, filler)

    @property
    def cuttable(self) -> bool:
        """Whether the operand has rows where the samples are, as a bottom does, or none there, as what is learnt."""
        if len(self.param.bottom) == 2:
            return self.from_axis == 0 and bool(self.operand)
        return self.from_axis > 0 or not self.operand

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the first bottom's shape."""
        operand = self.parameters[0].shape if len(bottoms) == 1 else bottoms[1]
        there = bottoms[0][self.from_axis : self.from_axis + len(operand)]
        if there != operand:
            raise self.error(f"{self.noun} {operand} does not fit axes {there} of the bottom {bottoms[0]}")
        return [bottoms[0]]

    def grid(self, array: Array) -> Array:
        """Return an array of the first bottom's shape as kernels take it."""
        return grid(array, self.from_axis, len(self.operand))

    def values(self, build: Builder, bottom: Sequence[Blob]) -> Array:
        """Return the operand's data, repeated to the grid of the first bottom."""
        data = bottom[1].data if len(bottom) == 2 else self.parameters[0].data
        if len(bottom[0].shape) != 4:
            data = as_rows(build, data, "operand", (data.size,), fill=True)[0].reshape(data.shape)
        return spread(data, self.from_axis, bottom[0].shape)

    def gradient(self, index: int | None, shape: Shape) -> Array | None:
        """Return the gradient of a parameter repeated to the grid of ``shape``, None where there is none to learn."""
        if index is None or not self.learns(index):
            return None
        return spread(self.parameters[index].grad, self.from_axis, shape)

    def backward_bottom(self, build: Builder, bottom: Sequence[Blob], dy: Array, x: Array) -> None:
        """Write down doperand = sum of dy x for an operand that is a bottom; ``dy`` and ``x`` are grids."""
        shape = bottom[0].shape
        diff, copied = bottom[1].diff, None
        if len(shape) != 4:
            diff, copied = as_rows(build, diff, "doperand", (diff.size,), fill=False)
        build.op("fill", diff, 0.0)
        build.op("scale_backward_bottom", dy, x, spread(diff.reshape(self.operand), self.from_axis, shape))
        if copied is not None:
            build.op("copy", copied, bottom[1].diff)


def ones_like(build: Builder, array: Array) -> Array:
    """Return ones in the shape of ``array``, all in one place."""
    return as_strided(np.ones(1, build.dtype), array.shape, [0] * array.ndim)
