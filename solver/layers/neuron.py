"""Element-wise layers: ReLU, Sigmoid, TanH."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer


class Neuron(Layer):
    """An element-wise layer whose gradient follows from its top alone: kernels NAME_forward, NAME_backward."""

    in_place = True
    kernel: ClassVar[str]

    @property
    def numbers(self) -> tuple[float, ...]:
        """The numbers both kernels take."""
        return ()

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the bottom's shape."""
        return [bottoms[0]]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """y = f(x)."""
        build.op(f"{self.kernel}_forward", bottom[0].data, top[0].data, *self.numbers)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx = dy f'(x), written in terms of y."""
        if needed[0]:
            build.op(f"{self.kernel}_backward", top[0].data, top[0].diff, bottom[0].diff, *self.numbers)


@LAYERS.register("ReLU")
class ReLU(Neuron):
    """max(x, 0) + negative_slope min(x, 0)."""

    kernel = "relu"
    keeps_top = True  # in place, backward finds the sign of x there

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Work in place only where the sign of x is that of y."""
        self.in_place = self.param.relu_param.negative_slope >= 0

    @property
    def numbers(self) -> tuple[float, ...]:
        """The slope below zero."""
        return (float(self.param.relu_param.negative_slope),)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx = dy where x > 0, else slope dy."""
        if needed[0]:
            build.op("relu_backward", bottom[0].data, top[0].diff, bottom[0].diff, *self.numbers)


@LAYERS.register("Sigmoid")
class Sigmoid(Neuron):
    """1 / (1 + e^-x)."""

    kernel = "sigmoid"
    keeps_top = True


@LAYERS.register("TanH")
class TanH(Neuron):
    """The hyperbolic tangent."""

    kernel = "tanh"
    keeps_top = True
