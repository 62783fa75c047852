"""Concat: several blobs joined along one axis."""

from __future__ import annotations

from collections.abc import Sequence

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer
from batchbrew.solver.layers.views import one_axis, part


@LAYERS.register("Concat")
class Concat(Layer):
    """Join the bottoms along ``axis`` (1; in older files ``concat_dim``); their other axes must be equal."""

    bottoms = (1, None)

    @property
    def reshapes(self) -> bool:
        """Whether there is nothing to join."""
        return len(self.param.bottom) == 1

    @property
    def cuttable(self) -> bool:
        """False where samples are joined to samples."""
        return self.along != 0

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the first bottom's shape with the sizes along the axis added up."""
        along = self.along = one_axis(self, self.param.concat_param, "concat_dim", bottoms[0])
        before, after = bottoms[0][:along], bottoms[0][along + 1 :]
        if any((shape[:along], shape[along + 1 :]) != (before, after) for shape in bottoms):
            raise self.error(f"bottoms must be equal in all axes but {along}, found {', '.join(map(str, bottoms))}")
        return [(*before, sum(shape[along] for shape in bottoms), *after)]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Copy each bottom to its place."""
        start = 0
        for blob in bottom:
            size = blob.shape[self.along]
            build.op("copy", part(blob.data, self.along, 0, size), part(top[0].data, self.along, start, size))
            start += size

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Copy back."""
        start = 0
        for blob, wanted in zip(bottom, needed, strict=True):
            size = blob.shape[self.along]
            if wanted:
                build.op("copy", part(top[0].diff, self.along, start, size), part(blob.diff, self.along, 0, size))
            start += size
