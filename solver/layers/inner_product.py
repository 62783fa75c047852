"""InnerProduct: a fully connected layer."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from batchbrew.solver.blob import Blob, Shape, aligned_zeros
from batchbrew.solver.layer import LAYERS, Array, Builder, Layer
from batchbrew.solver.layers.rows import as_rows


@LAYERS.register("InnerProduct")
class InnerProduct(Layer):
    """Multiply the bottom, flattened from ``axis`` on to (M, C), by weights (K, C), or (C, K) with transpose; add bias.

    Top: the bottom's axes before ``axis``, then K.
    """

    turned: Array | None = None  # the weights of the data gradient, made by prepare_backward()

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Declare weights and bias."""
        p = self.param.inner_product_param
        if p.num_output < 1:
            raise self.error("num_output must be at least 1")
        self.from_axis = self.axis(p.axis, bottoms[0])
        inputs = prod(bottoms[0][self.from_axis :])
        # in memory always [C][K], as the kernels want it
        if p.transpose:
            self.add_parameter((inputs, p.num_output), p.weight_filler)
        else:
            self.add_parameter((p.num_output, inputs), p.weight_filler, order=(1, 0))
        if p.bias_term:
            self.add_parameter((p.num_output,), p.bias_filler)

    @property
    def cuttable(self) -> bool:
        """False where the samples are summed over."""
        return self.from_axis > 0

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the leading axes and num_output."""
        p = self.param.inner_product_param
        inputs = prod(bottoms[0][self.from_axis :])
        had = self.parameters[0].shape[0 if p.transpose else 1]
        if inputs != had:
            raise self.error(f"was set up for {had} inputs, found {inputs} (bottom {bottoms[0]})")
        self.matrix = (prod(bottoms[0][: self.from_axis]), inputs)
        return [(*bottoms[0][: self.from_axis], p.num_output)]

    def _weights(self, array: Array) -> Array:
        return array.T if self.param.inner_product_param.transpose else array

    def prepare_backward(self, build: Builder, needed: Sequence[bool]) -> None:
        """Turn the weights for the data gradient."""
        if not needed[0]:
            return
        weights = self._weights(self.parameters[0].data)
        if self.turned is None:
            self.turned = aligned_zeros(weights.size, build.dtype).reshape(weights.shape)
        build.op("copy", weights, self.turned)

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """y = x w^T + b."""
        self.x, _ = as_rows(build, bottom[0].data, f"{self.name}.x", self.matrix, fill=True)
        out = (self.matrix[0], top[0].shape[-1])
        y, copied = as_rows(build, top[0].data, f"{self.name}.y", out, fill=False)
        bias = self.parameters[1].data if len(self.parameters) > 1 else None
        build.op("dense_forward", self.x, self._weights(self.parameters[0].data), bias, y)
        if copied is not None:
            build.op("copy", copied, top[0].data)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Gradients of bias, weights and data."""
        dy, _ = as_rows(build, top[0].diff, f"{self.name}.dy", (self.matrix[0], top[0].shape[-1]), fill=True)
        if len(self.parameters) > 1 and self.learns(1):
            build.op("bias_backward", dy, self.parameters[1].grad)
        if self.learns(0):
            build.op("dense_backward_weight", self.x, dy, self._weights(self.parameters[0].grad))
        if needed[0]:
            assert self.turned is not None
            dx, copied = as_rows(build, bottom[0].diff, f"{self.name}.dx", self.matrix, fill=False)
            build.op("dense_forward", dy, self.turned.T, None, dx)
            if copied is not None:
                build.op("copy", copied, bottom[0].diff)

    def multiply_adds(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        """Return M C K."""
        return prod(self.matrix) * tops[0][-1]
