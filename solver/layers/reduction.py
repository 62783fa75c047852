"""Reduction: one number for all that lies behind an axis."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer


@LAYERS.register("Reduction")
class Reduction(Layer):
    """``coeff`` times the sum of x, |x| (ASUM) or x^2 (SUMSQ), or the mean of x, over all axes from ``axis`` (0) on."""

    @property
    def cuttable(self) -> bool:
        """False where the samples themselves are summed."""
        return self.first > 0

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the axes before ``axis``."""
        p = self.param.reduction_param
        self.first = self.axis(p.axis, bottoms[0])
        mean = p.operation == pb.ReductionParameter.MEAN
        self.coeff: float = p.coeff / (max(1, prod(bottoms[0][self.first :])) if mean else 1)
        return [bottoms[0][: self.first]]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """y = coeff sum f(x)."""
        operation = int(self.param.reduction_param.operation)
        build.op("reduction_forward", bottom[0].data, top[0].data, operation, self.coeff)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx = coeff f'(x) dy."""
        if needed[0]:
            operation = int(self.param.reduction_param.operation)
            build.op("reduction_backward", bottom[0].data, top[0].diff, bottom[0].diff, operation, self.coeff)
