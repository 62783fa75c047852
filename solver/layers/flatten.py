"""Flatten."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer
from batchbrew.solver.layers.views import copy_reshaped


@LAYERS.register("Flatten")
class Flatten(Layer):
    """Merge the axes from ``axis`` to ``end_axis`` into one, in (N, C, H, W) order."""

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Refuse to work in place."""
        if list(self.param.bottom) == list(self.param.top):
            raise self.error("cannot work in place; give the top another name")

    @property
    def reshapes(self) -> bool:
        """True: nothing else."""
        return True

    @property
    def cuttable(self) -> bool:
        """False where the samples' axis is merged with others."""
        return self.first > 0 or self.last == 0

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the merged shape."""
        p = self.param.flatten_param
        first, last = self.axis(p.axis, bottoms[0]), self.axis(p.end_axis, bottoms[0])
        self.first, self.last = first, last
        if last < first:
            raise self.error(f"end_axis {p.end_axis} lies before axis {p.axis} for a bottom {bottoms[0]}")
        shape = bottoms[0]
        return [(*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :])]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Copy in logical order."""
        copy_reshaped(build, self.name, bottom[0].data, top[0].data)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Copy back."""
        if needed[0]:
            copy_reshaped(build, self.name, top[0].diff, bottom[0].diff)
