"""Reshape: the same elements in another shape."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from batchbrew.errors import UserError
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer
from batchbrew.solver.layers.views import copy_reshaped


@LAYERS.register("Reshape")
class Reshape(Layer):
    """Put the axes of ``shape`` in place of ``num_axes`` axes (-1: all) from ``axis`` on (-1: behind the last one).

    A dim of 0 is the bottom's at the same place, one of -1 is what makes the count right.
    """

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Refuse to work in place; check the dims."""
        if list(self.param.bottom) == list(self.param.top):
            raise self.error("cannot work in place; give the top another name")
        dims = list(self.param.reshape_param.shape.dim)
        if dims.count(-1) > 1 or min(dims, default=0) < -1:
            raise self.error(f"dims are sizes, 0 (copy) and at most one -1 (infer), found {dims}")

    @property
    def reshapes(self) -> bool:
        """True: nothing else."""
        return True

    @property
    def cuttable(self) -> bool:
        """Whether axis 0 stays that of the samples for any number of them."""
        if not all(self.shapes):
            return False
        (n, *rest), (m, *others) = self.shapes
        try:
            return m == n and self._shape((2 * n, *rest)) == (2 * n, *others)
        except UserError:
            return False

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return the new shape."""
        self.shapes = (bottoms[0], self._shape(bottoms[0]))
        return [self.shapes[1]]

    def _shape(self, bottom: Shape) -> Shape:
        p, count = self.param.reshape_param, len(bottom)
        first = p.axis if p.axis >= 0 else count + 1 + p.axis
        last = count if p.num_axes == -1 else first + p.num_axes
        if not 0 <= first <= last <= count:
            raise self.error(f"axis {p.axis}, num_axes {p.num_axes} are out of range for a bottom {bottom}")
        dims = list(p.shape.dim)
        copied = [i for i, dim in enumerate(dims) if dim == 0]
        for i in copied:
            if first + i >= count:
                raise self.error(f"dim {i} is 0, but the bottom {bottom} has no axis {first + i} to copy")
            dims[i] = bottom[first + i]
        if -1 in dims:
            # sizes copied from within the replaced axes cancel, so that batches of 0 samples have a shape too
            within = [i for i in copied if first + i < last]
            fixed = prod(dim for i, dim in enumerate(dims) if dim != -1 and i not in within)
            room = prod(bottom[axis] for axis in range(first, last) if axis - first not in within)
            if not fixed or room % fixed:
                raise self.error(
                    f"{list(p.shape.dim)} cannot hold the {room} elements of axes {first} to {last} of {bottom}"
                )
            dims[dims.index(-1)] = room // fixed
        shape = (*bottom[:first], *dims, *bottom[last:])
        if prod(shape) != prod(bottom):
            raise self.error(f"{shape} has {prod(shape)} elements, the bottom {bottom} has {prod(bottom)}")
        return shape

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Copy in logical order."""
        copy_reshaped(build, self.name, bottom[0].data, top[0].data)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Copy back."""
        if needed[0]:
            copy_reshaped(build, self.name, top[0].diff, bottom[0].diff)
