"""PReLU: a ReLU whose slope below zero is learnt."""

from __future__ import annotations

from collections.abc import Sequence

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Array, Builder, Layer
from batchbrew.solver.layers.grid import grid, spread


@LAYERS.register("PReLU")
class PReLU(Layer):
    """x where x > 0, else slope x (He et al. 2015): one slope a channel (axis 1), or one for all (channel_shared)."""

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Declare the slopes."""
        p, x = self.param.prelu_param, bottoms[0]
        if len(x) < 2:
            raise self.error(f"needs a channel axis, found a bottom {x}")
        filler = p.filler if p.HasField("filler") else pb.FillerParameter(type="constant", value=0.25)
        self.add_parameter(() if p.channel_shared else (x[1],), filler)

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the bottom's shape."""
        slopes = self.parameters[0].shape
        if slopes and bottoms[0][1:2] != slopes:
            raise self.error(f"was set up for {slopes[0]} channels, found a bottom {bottoms[0]}")
        return [bottoms[0]]

    def _grid(self, array: Array) -> Array:
        return grid(array, 1, len(self.parameters[0].shape))

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """y = x where x > 0, else slope x."""
        slope = spread(self.parameters[0].data, 1, bottom[0].shape)
        build.op("prelu_forward", self._grid(bottom[0].data), self._grid(top[0].data), slope)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dslope = sum of dy x where x <= 0; dx = dy where x > 0, else slope dy."""
        x, dy = self._grid(bottom[0].data), self._grid(top[0].diff)
        if self.learns(0):
            build.op("prelu_backward_slope", x, dy, spread(self.parameters[0].grad, 1, bottom[0].shape))
        if needed[0]:
            slope = spread(self.parameters[0].data, 1, bottom[0].shape)
            build.op("prelu_backward", x, dy, self._grid(bottom[0].diff), slope)
