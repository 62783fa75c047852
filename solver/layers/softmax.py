"""Softmax."""

from __future__ import annotations

from collections.abc import Sequence

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer
from batchbrew.solver.layers.grid import grid, grid_axis


@LAYERS.register("Softmax")
class Softmax(Layer):
    """e^x over its sum along ``axis``."""

    keeps_top = True

    @property
    def cuttable(self) -> bool:
        """False where the samples' axis itself is normalised."""
        return self.along != 0

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the bottom's shape."""
        self.along = self.axis(self.param.softmax_param.axis, bottoms[0])
        return [bottoms[0]]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """y = softmax(x)."""
        x, y = (grid(array, self.along) for array in (bottom[0].data, top[0].data))
        build.op("softmax_forward", x, y, grid_axis(bottom[0].shape, self.along))

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx = y (dy - sum of y dy)."""
        if needed[0]:
            y, dx, dy = (grid(array, self.along) for array in (top[0].data, bottom[0].diff, top[0].diff))
            build.op("softmax_backward", y, dx, dy, grid_axis(bottom[0].shape, self.along))
