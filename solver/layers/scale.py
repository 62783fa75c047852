"""Scale: multiply by a factor, add a bias, along some axes."""

from __future__ import annotations

from collections.abc import Sequence

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder
from batchbrew.solver.layers.broadcast import Broadcast
from batchbrew.solver.layers.grid import spread


@LAYERS.register("Scale")
class Scale(Broadcast):
    """y = x factor + bias. The factor is learnt (one bottom) or the second bottom; its axes start at ``axis``."""

    noun = "factor"
    initial = 1

    @property
    def settings(self) -> pb.ScaleParameter:
        """The layer's settings."""
        return self.param.scale_param

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Declare factor (one bottom) and bias."""
        super().setup(bottoms)
        self.bias: int | None = None  # its number among the parameters
        if self.settings.bias_term:
            self.bias = len(self.parameters)
            self.add_parameter(self.operand, self.settings.bias_filler)

    @property
    def cuttable(self) -> bool:
        """Whether neither factor nor bias is learnt for each sample of a batch."""
        learnt = any(p.shape for p in self.parameters)
        return super().cuttable and (self.from_axis > 0 or not learnt)

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """y = x factor + bias."""
        bias = None
        if self.bias is not None:
            bias = spread(self.parameters[self.bias].data, self.from_axis, bottom[0].shape)
        x, y = self.grid(bottom[0].data), self.grid(top[0].data)
        build.op("scale_forward", x, y, self.values(build, bottom), bias)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dfactor = sum of dy x, dbias = sum of dy, dx = dy factor."""
        x, dy = self.grid(bottom[0].data), self.grid(top[0].diff)
        dfactor = self.gradient(0, bottom[0].shape) if len(bottom) == 1 else None
        dbias = self.gradient(self.bias, bottom[0].shape)
        if dfactor is not None or dbias is not None:
            build.op("scale_backward_parameters", dy, x, dfactor, dbias)
        if len(bottom) == 2 and needed[1]:
            self.backward_bottom(build, bottom, dy, x)
        if needed[0]:
            build.op("scale_backward_data", dy, self.grid(bottom[0].diff), self.values(build, bottom))
