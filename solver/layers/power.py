"""Exp, Log and Power: exponential functions, logarithms and powers of shift + scale x."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log

import numpy as np

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer
from batchbrew.solver.layers.activations import Activation
from batchbrew.solver.layers.neuron import Neuron

NATURAL = -1  # the base that stands for e


@LAYERS.register("Exp")
class Exp(Neuron):
    """base^(shift + scale x)."""

    kernel = "exp"
    keeps_top = True

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Check the base."""
        base = self.param.exp_param.base
        if base != NATURAL and not 0 < base < inf:
            raise self.error(f"base must be positive, or -1 for e (found {base:g})")

    @property
    def numbers(self) -> tuple[float, ...]:
        """Scale and shift of the exponent of e."""
        p = self.param.exp_param
        unit = 1.0 if p.base == NATURAL else log(p.base)
        return (unit * p.scale, unit * p.shift)


@LAYERS.register("Log")
class Log(Activation):
    """The logarithm to ``base`` of shift + scale x."""

    kernel = "log"

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Check the base."""
        base = self.param.log_param.base
        if base != NATURAL and (not 0 < base < inf or base == 1):
            raise self.error(f"base must be positive and not 1, or -1 for e (found {base:g})")

    @property
    def numbers(self) -> tuple[float, ...]:
        """Scale and shift of x, and what turns natural logarithms into those of the base."""
        p = self.param.log_param
        return (p.scale, p.shift, 1.0 if p.base == NATURAL else 1 / log(p.base))


@LAYERS.register("Power")
class Power(Layer):
    """(shift + scale x)^power; NaN where the base is negative and the power no integer.

    The gradient is power scale y / (shift + scale x) as in Caffe, so NaN where the base is 0 (unless power is 1 or 2).
    """

    keeps_top = True

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Read the settings."""
        p = self.param.power_param
        self.numbers: tuple[float, float, float] = (p.power, p.scale, p.shift)
        self.slope: float = p.power * p.scale

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the bottom's shape."""
        return [bottoms[0]]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """y = (shift + scale x)^power, the same everywhere if power or scale is 0."""
        if self.slope:
            build.op("power_forward", bottom[0].data, top[0].data, *self.numbers)
            return
        power, _, shift = self.numbers
        with np.errstate(all="ignore"):
            build.op("fill", top[0].data, float(np.float64(shift) ** power))

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx = dy power scale y / (shift + scale x)."""
        if not needed[0]:
            return
        if self.slope and self.numbers[0] != 1:
            arrays = (bottom[0].data, top[0].data, top[0].diff, bottom[0].diff)
            build.op("power_backward", *arrays, *self.numbers)
        else:
            build.op("scaled", top[0].diff, bottom[0].diff, self.slope)
