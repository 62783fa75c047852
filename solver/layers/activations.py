"""More element-wise layers: AbsVal, BNLL, Clip, ELU, Swish, Threshold."""

from __future__ import annotations

from collections.abc import Sequence

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder
from batchbrew.solver.layers.neuron import Neuron
from batchbrew.solver.layers.views import refuse


class Activation(Neuron):
    """An element-wise layer whose gradient needs the bottom: NAME_backward takes x, dy, dx.

    Its top has memory of its own, whatever its name, so that the bottom is still there.
    """

    in_place = False

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx = dy f'(x)."""
        if needed[0]:
            build.op(f"{self.kernel}_backward", bottom[0].data, top[0].diff, bottom[0].diff, *self.numbers)


@LAYERS.register("AbsVal")
class AbsVal(Activation):
    """|x|; the gradient at 0 is 0."""

    kernel = "abs"

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Refuse to work in place, as Caffe does."""
        if list(self.param.bottom) == list(self.param.top):
            raise self.error("cannot work in place; give the top another name")


@LAYERS.register("BNLL")
class BNLL(Activation):
    """log(1 + e^x)."""

    kernel = "bnll"


@LAYERS.register("Clip")
class Clip(Activation):
    """x limited to ``min`` ... ``max``; both ends still pass the gradient on."""

    kernel = "clip"

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Check that both ends are given."""
        p = self.param.clip_param
        if not (p.HasField("min") and p.HasField("max")):
            raise self.error("needs clip_param with both min and max")

    @property
    def numbers(self) -> tuple[float, ...]:
        """Both ends."""
        return (self.param.clip_param.min, self.param.clip_param.max)


@LAYERS.register("ELU")
class ELU(Activation):
    """x where x > 0, else alpha (e^x - 1)."""

    kernel = "elu"

    @property
    def numbers(self) -> tuple[float, ...]:
        """What large negative numbers become, turned positive."""
        return (self.param.elu_param.alpha,)


@LAYERS.register("Swish")
class Swish(Activation):
    """x sigmoid(beta x)."""

    kernel = "swish"

    @property
    def numbers(self) -> tuple[float, ...]:
        """The factor within the sigmoid."""
        return (self.param.swish_param.beta,)


@LAYERS.register("Threshold")
class Threshold(Neuron):
    """1 where x > threshold, else 0; there is no gradient."""

    kernel = "threshold"

    def may_force(self, bottom: int) -> bool:
        """There is no gradient."""
        return False

    @property
    def numbers(self) -> tuple[float, ...]:
        """The threshold."""
        return (self.param.threshold_param.threshold,)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Nothing can be done."""
        if needed[0]:
            refuse(build, self, "its bottom")
