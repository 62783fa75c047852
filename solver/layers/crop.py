"""Crop: a blob cut to the size of another."""

from __future__ import annotations

from collections.abc import Sequence

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Array, Builder, Layer
from batchbrew.solver.layers.views import copy_view


@LAYERS.register("Crop")
class Crop(Layer):
    """Cut the first bottom to the second one's sizes from ``axis`` (2) on, beginning at ``offset``.

    No offset is 0, one is for all cut axes, else one for each of them.
    """

    bottoms = (2, 2)

    @property
    def cuttable(self) -> bool:
        """False where the batch itself is cropped."""
        return self.first > 0

    def may_force(self, bottom: int) -> bool:
        """Only the sizes of the second bottom matter."""
        return bottom == 0

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the first bottom's shape, cropped."""
        p, (x, like) = self.param.crop_param, bottoms
        self.first = self.axis(p.axis, x)
        cropped = len(x) - self.first
        if len(p.offset) > 1 and len(p.offset) != cropped:
            raise self.error(
                f"give no offset, one, or one for each of the {cropped} cropped axes (found {len(p.offset)})"
            )
        if len(like) < len(x):
            raise self.error(f"cannot crop {x} to {like}, which has fewer axes")
        offsets = list(p.offset) or [0]
        offsets = offsets if len(offsets) == cropped else offsets * cropped
        self.window = [slice(None)] * self.first
        for axis, offset in enumerate(offsets, start=self.first):
            if offset + like[axis] > x[axis]:
                raise self.error(
                    f"offset {offset} + size {like[axis]} is more than the size {x[axis]} of axis {axis} "
                    f"(crops {x} to {like})"
                )
            self.window.append(slice(offset, offset + like[axis]))
        return [(*x[: self.first], *like[self.first : len(x)])]

    def _cropped(self, array: Array) -> Array:
        return array[tuple(self.window)]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Copy the window."""
        copy_view(build, self._cropped(bottom[0].data), top[0].data)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Copy back into zeros; nothing depends on the numbers of the second bottom."""
        for blob, wanted in zip(bottom, needed, strict=True):
            if wanted:
                build.op("fill", blob.diff, 0.0)
        if needed[0]:
            copy_view(build, top[0].diff, self._cropped(bottom[0].diff))
