"""Dropout."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Array, Builder, Layer


@LAYERS.register("Dropout")
class Dropout(Layer):
    """Set each element to 0 with probability dropout_ratio and divide the others by 1 - dropout_ratio; TEST: pass on.

    The draw depends on seed, epoch and sample only, so it is the same however a batch is cut up.
    """

    in_place = True

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Check the ratio."""
        self.ratio = float(self.param.dropout_param.dropout_ratio)
        if not 0 <= self.ratio < 1:
            raise self.error(f"dropout_ratio must be at least 0 and less than 1 (found {self.ratio:g})")

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the bottom's shape."""
        return [bottoms[0]]

    @staticmethod
    def _rows(array: Array) -> Array:
        """Return pictures as they are, and others as (N, rest)."""
        shape = array.shape or (1,)
        return array if array.ndim == 4 else array.reshape(shape[0], prod(shape[1:]))

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """y = x mask."""
        if self.phase == pb.TRAIN:
            x, y = self._rows(bottom[0].data), self._rows(top[0].data)
            self.mask = build.scratch(f"{self.name}.mask", x.shape)
            build.op(
                "dropout_forward",
                x,
                y,
                self.mask,
                build.row_keys(x.shape[0]),
                self.salt,
                self.ratio,
            )
        elif bottom[0].data is not top[0].data:
            build.op("copy", bottom[0].data, top[0].data)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx = dy mask."""
        if not needed[0]:
            return
        if self.phase == pb.TRAIN:
            build.op("dropout_backward", self.mask, self._rows(top[0].diff), self._rows(bottom[0].diff))
        elif bottom[0].diff is not top[0].diff:
            build.op("copy", top[0].diff, bottom[0].diff)
