"""Slice: one blob cut along one axis."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer
from batchbrew.solver.layers.views import one_axis, part


@LAYERS.register("Slice")
class Slice(Layer):
    """Cut the bottom along ``axis`` (1; in older files ``slice_dim``) at each ``slice_point``, or into equal parts."""

    tops = (1, None)

    @property
    def reshapes(self) -> bool:
        """Whether there is nothing to cut."""
        return len(self.param.top) == 1

    @property
    def cuttable(self) -> bool:
        """False where the batch itself is cut."""
        return self.along != 0

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the bottom's shape with the size of each part."""
        p, tops = self.param.slice_param, len(self.param.top)
        along = self.along = one_axis(self, p, "slice_dim", bottoms[0])
        size = bottoms[0][along]
        points = list(p.slice_point)
        if points:
            if len(points) != tops - 1:
                raise self.error(f"{tops} tops need {tops - 1} slice_point entries (found {len(points)})")
            if any(a >= b for a, b in pairwise([0, *points, size])):
                raise self.error(f"slice_point {points} must increase between 0 and the size {size} of axis {along}")
        else:
            if size % tops:
                raise self.error(f"{tops} tops cannot share the size {size} of axis {along} evenly; give slice_point")
            points = [i * size // tops for i in range(1, tops)]
        self.sizes = [b - a for a, b in pairwise([0, *points, size])]
        return [(*bottoms[0][:along], part_size, *bottoms[0][along + 1 :]) for part_size in self.sizes]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Copy each part."""
        for blob, start, size in zip(top, accumulate([0, *self.sizes]), self.sizes, strict=False):
            build.op("copy", part(bottom[0].data, self.along, start, size), part(blob.data, self.along, 0, size))

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Copy back."""
        if needed[0]:
            for blob, start, size in zip(top, accumulate([0, *self.sizes]), self.sizes, strict=False):
                build.op("copy", part(blob.diff, self.along, 0, size), part(bottom[0].diff, self.along, start, size))
