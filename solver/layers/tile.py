"""Tile: a blob repeated along one axis."""

from __future__ import annotations

from collections.abc import Sequence

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer
from batchbrew.solver.layers.views import part


@LAYERS.register("Tile")
class Tile(Layer):
    """Repeat the bottom ``tiles`` times along ``axis`` (1), one whole copy behind the other."""

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Check the number of tiles."""
        if self.param.tile_param.tiles < 1:
            raise self.error(f"tiles must be at least 1 (found {self.param.tile_param.tiles})")

    @property
    def cuttable(self) -> bool:
        """False where the batch itself is repeated."""
        return self.along != 0

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the bottom's shape, ``tiles`` times as long along the axis."""
        p = self.param.tile_param
        along = self.along = self.axis(p.axis, bottoms[0])
        return [(*bottoms[0][:along], p.tiles * bottoms[0][along], *bottoms[0][along + 1 :])]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Copy the bottom to each tile."""
        size = bottom[0].shape[self.along]
        whole = part(bottom[0].data, self.along, 0, size)
        for i in range(self.param.tile_param.tiles):
            build.op("copy", whole, part(top[0].data, self.along, i * size, size))

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx = sum of dy over the tiles."""
        if not needed[0]:
            return
        size = bottom[0].shape[self.along]
        whole = part(bottom[0].diff, self.along, 0, size)
        for i in range(self.param.tile_param.tiles):
            build.op("add" if i else "copy", part(top[0].diff, self.along, i * size, size), whole)
