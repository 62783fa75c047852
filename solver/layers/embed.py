"""Embed: a table of rows, looked up by number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Array, Builder, Layer
from batchbrew.solver.layers.rows import as_rows
from batchbrew.solver.layers.views import refuse


def check_index(layer: Layer, index: Array, rows: int) -> None:
    """Raise UserError where a number is none of the rows."""
    outside = ~((index > -1) & (index < rows))
    if outside.any():
        place = int(np.argmax(outside))
        raise layer.error(f"index {index.flat[place]:g} (number {place}) is not one of the {rows} rows")


@LAYERS.register("Embed")
class Embed(Layer):
    """Row int(x) of the weights (input_dim, num_output) for each number x of the bottom, plus a bias (num_output)."""

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Declare weights and bias."""
        p = self.param.embed_param
        if p.num_output < 1 or p.input_dim < 1:
            raise self.error(f"num_output and input_dim must be at least 1 (found {p.num_output}, {p.input_dim})")
        self.add_parameter((p.input_dim, p.num_output), p.weight_filler)
        if p.bias_term:
            self.add_parameter((p.num_output,), p.bias_filler)

    def may_force(self, bottom: int) -> bool:
        """Numbers of rows have no gradient."""
        return False

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the bottom's shape and num_output."""
        return [(*bottoms[0], self.param.embed_param.num_output)]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """y = w[x] + b."""
        weights = self.parameters[0].data
        bias = self.parameters[1].data if len(self.parameters) > 1 else None
        build.call(check_index, self, bottom[0].data, len(weights))
        build.op("gather_rows", weights, bottom[0].data, bias, top[0].data)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dw[x] += dy, db += dy."""
        if needed[0]:
            refuse(build, self, "the numbers of rows")
        if self.learns(0):
            build.op("scatter_rows", top[0].diff, bottom[0].data, self.parameters[0].grad)
        if len(self.parameters) > 1 and self.learns(1):
            shape = (bottom[0].data.size, top[0].shape[-1])
            dy, _ = as_rows(build, top[0].diff, f"{self.name}.dy", shape, fill=True)
            build.op("bias_backward", dy, self.parameters[1].grad)
