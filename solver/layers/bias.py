"""Bias: add an array along some axes."""

from __future__ import annotations

from collections.abc import Sequence

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob
from batchbrew.solver.layer import LAYERS, Builder
from batchbrew.solver.layers.broadcast import Broadcast, ones_like


@LAYERS.register("Bias")
class Bias(Broadcast):
    """y = x + bias. The bias is learnt (one bottom) or the second bottom; its axes start at ``axis``."""

    in_place = True
    noun = "bias"
    initial = 0

    @property
    def settings(self) -> pb.BiasParameter:
        """The layer's settings."""
        return self.param.bias_param

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """y = x + bias."""
        build.op("scale_forward", self.grid(bottom[0].data), self.grid(top[0].data), None, self.values(build, bottom))

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dbias = sum of dy, dx = dy."""
        dy = self.grid(top[0].diff)
        if len(bottom) == 1:
            if (dbias := self.gradient(0, bottom[0].shape)) is not None:
                build.op("scale_backward_parameters", dy, dy, None, dbias)
        elif needed[1]:
            self.backward_bottom(build, bottom, dy, ones_like(build, dy))
        if needed[0] and bottom[0].diff is not top[0].diff:
            build.op("copy", top[0].diff, bottom[0].diff)
