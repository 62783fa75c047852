"""Scale: multiply by a factor, add a bias, along some axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Array, Builder, Layer


def spread_over(array: Array, axis: int, shape: Shape) -> Array:
    """Return a writeable view of ``array`` repeated (stride 0) to ``shape``, its axes starting at ``axis``."""
    strides = [0] * len(shape)
    strides[axis : axis + array.ndim] = array.strides
    return as_strided(array, shape, strides)


@LAYERS.register("Scale")
class Scale(Layer):
    """y = x factor + bias. The factor is learnt (one bottom) or the second bottom; its axes start at ``axis``."""

    bottoms = (1, 2)

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Declare factor (one bottom) and bias."""
        p = self.param.scale_param
        self.from_axis = self.axis(p.axis, bottoms[0])
        if len(bottoms) == 1:
            if p.num_axes < -1 or self.from_axis + p.num_axes > len(bottoms[0]):
                raise self.error(f"num_axes {p.num_axes} from axis {p.axis} is more than the bottom {bottoms[0]} has")
            end = len(bottoms[0]) if p.num_axes == -1 else self.from_axis + p.num_axes
            shape = bottoms[0][self.from_axis : end]
            filler = p.filler if p.HasField("filler") else pb.FillerParameter(type="constant", value=1)
            self.add_parameter(shape, filler)
        else:
            shape = bottoms[1]
        if p.bias_term:
            self.add_parameter(shape, p.bias_filler)

    @property
    def whole_batch(self) -> bool:
        """True where each sample of a batch has a factor of its own to learn."""
        return self.from_axis == 0 and any(p.shape for p in self.parameters)

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the first bottom's shape."""
        factor = self.parameters[0].shape if len(bottoms) == 1 else bottoms[1]
        there = bottoms[0][self.from_axis : self.from_axis + len(factor)]
        if there != factor:
            raise self.error(f"factor {factor} does not fit axes {there} of the bottom {bottoms[0]}")
        return [bottoms[0]]

    def _bias(self) -> int | None:
        """Return the index of the bias parameter."""
        return len(self.parameters) - 1 if self.param.scale_param.bias_term else None

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """y = x factor + bias."""
        shape, bias = bottom[0].shape, self._bias()
        factor = bottom[1].data if len(bottom) == 2 else self.parameters[0].data
        build.op(
            "scale_forward",
            bottom[0].data,
            top[0].data,
            spread_over(factor, self.from_axis, shape),
            None if bias is None else spread_over(self.parameters[bias].data, self.from_axis, shape),
        )

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dfactor = sum of dy x, dbias = sum of dy, dx = dy factor."""
        shape, bias, dy = bottom[0].shape, self._bias(), top[0].diff
        if bias is not None and self.learns(bias):
            ones = as_strided(np.ones(1, build.dtype), shape, [0] * len(shape))
            build.op("scale_backward_factor", dy, ones, spread_over(self.parameters[bias].grad, self.from_axis, shape))
        if len(bottom) == 2:
            if needed[1]:
                build.op("fill", bottom[1].diff, 0.0)
                build.op(
                    "scale_backward_bottom", dy, bottom[0].data, spread_over(bottom[1].diff, self.from_axis, shape)
                )
        elif self.learns(0):
            build.op(
                "scale_backward_factor", dy, bottom[0].data, spread_over(self.parameters[0].grad, self.from_axis, shape)
            )
        if needed[0]:
            factor = bottom[1].data if len(bottom) == 2 else self.parameters[0].data
            build.op("scale_backward_data", dy, bottom[0].diff, spread_over(factor, self.from_axis, shape))
