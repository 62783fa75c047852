"""Split: one blob for several readers."""

from __future__ import annotations

from collections.abc import Sequence

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer


@LAYERS.register("Split")
class Split(Layer):
    """Pass the bottom on under several names; the gradient is the sum of theirs. Nets get it inserted where needed."""

    tops = (1, None)

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the bottom's shape for every top."""
        return [bottoms[0]] * len(self.param.top)

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Nothing to do: the tops use the bottom's memory."""

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx = sum of dy."""
        if not needed[0]:
            return
        dx = bottom[0].diff
        if len(top) == 1:
            build.op("copy", top[0].diff, dx)
        else:
            build.op("eltwise_sum", top[0].diff, top[1].diff, dx, 1.0, 1.0)
        for blob in top[2:]:
            build.op("add", blob.diff, dx)
