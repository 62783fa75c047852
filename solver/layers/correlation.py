"""What convolution and its transpose share: the geometry between a wide and a narrow side, and the passes over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from batchbrew.solver.blob import Shape
from batchbrew.solver.layer import Array, Builder
from batchbrew.solver.layers.algorithm import TAPS, Case
from batchbrew.solver.layers.geometry import Sizes
from batchbrew.solver.layers.views import copy_reshaped

PLANE = 2  # spatial axes of the pictures that the compiled kernels know


@dataclass(frozen=True)
class Correlation:
    """Which places of the wide side (the input of a convolution) each place of the narrow side (its output) sees.

    One number a spatial axis. Up to two axes are computed as pictures (N, C, H, W), more by kernels for any number.
    """

    kernel: Sizes
    stride: Sizes
    pad: Sizes
    dilation: Sizes
    group: int

    @property
    def extent(self) -> Sizes:
        """Return how many places a filter spans: dilation (kernel - 1) + 1."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def narrow(self, wide: Sequence[int]) -> Sizes:
        """Return floor((wide + 2 pad - extent) / stride) + 1; less than 1 where the filter does not fit."""
        sides = zip(wide, self.pad, self.extent, self.stride, strict=True)
        return tuple((size + 2 * pad - extent) // stride + 1 for size, pad, extent, stride in sides)

    def wide(self, narrow: Sequence[int]) -> Sizes:
        """Return stride (narrow - 1) + extent - 2 pad; it may be less than 1."""
        sides = zip(narrow, self.pad, self.extent, self.stride, strict=True)
        return tuple(stride * (size - 1) + extent - 2 * pad for size, pad, extent, stride in sides)

    @property
    def is_plane(self) -> bool:
        """Whether the compiled kernels take it."""
        return len(self.kernel) <= PLANE

    def as_plane(self) -> Correlation:
        """Return the same with axes of size 1 put before its own, to make two."""
        missing = max(0, PLANE - len(self.kernel))
        ones, zeros = (1,) * missing, (0,) * missing
        return Correlation(
            ones + self.kernel, ones + self.stride, zeros + self.pad, ones + self.dilation, self.group
        )  # fmt: skip

    @property
    def wide_border(self) -> tuple[int, int]:
        """Return the zero border (rows, columns) that forward and weight gradient read around the wide side."""
        return (0, self.as_plane().pad[1]) if self.is_plane else (0, 0)

    @property
    def narrow_border(self) -> tuple[int, int]:
        """Return the zero border (rows, columns) that the transposed pass reads around the narrow side."""
        if not self.is_plane:
            return (0, 0)
        flat = self.as_plane()
        return (0, max(0, -((flat.pad[1] - flat.extent[1] + 1) // flat.stride[1])))

    def case(self, sides: tuple[int, int], sizes: Sequence[int], back: bool, gradient: bool) -> Case | None:
        """Return ``forward`` over the wide side of ``sizes``, ``backward_data`` (``back``) over the narrow side, or the
        ``gradient`` of the filters, as Winograd's kernels know it; None if they do not.

        ``sides``: channels of the wide and the narrow side.
        """
        known = self.group == 1 and len(self.kernel) == PLANE and {*self.kernel} in [{taps} for taps in TAPS]
        if not known or {*self.stride, *self.dilation} != {1}:
            return None
        taps = self.kernel[0]
        pad = tuple(taps - 1 - p for p in self.pad) if back else self.pad
        channels, outputs = reversed(sides) if back else sides
        return Case(gradient, channels, outputs, (sizes[0], sizes[1]), taps, (pad[0], pad[1]))

    def _op(self, build: Builder, name: str, *arrays: Array | None) -> None:
        kernel = f"conv_{name}" if self.is_plane else f"conv_nd_{name}"
        flat = self.as_plane()
        build.op(kernel, *arrays, *flat.stride, *flat.pad, *flat.dilation, flat.group)

    def forward(self, build: Builder, wide: Array, w: Array, bias: Array | None, narrow: Array) -> None:
        """Write down narrow = w * wide + bias."""
        self._op(build, "forward", wide, w, bias, narrow)

    def backward_data(self, build: Builder, narrow: Array, turned: Array, bias: Array | None, wide: Array) -> None:
        """Write down wide = the transpose of ``forward`` applied to narrow, + bias."""
        self._op(build, "backward_data", narrow, turned, bias, wide)

    def backward_weight(self, build: Builder, wide: Array, narrow: Array, gradient: Array) -> None:
        """Write down gradient += that of the filters, from what the two sides of ``forward`` were and received."""
        self._op(build, "backward_weight", wide, narrow, gradient)

    def backward_bias(self, build: Builder, dy: Array, gradient: Array) -> None:
        """Write down gradient += the sum of dy over all but the channels."""
        build.op("bias_backward" if self.is_plane else "conv_nd_backward_bias", dy, gradient)

    def turn(self, build: Builder, w: Array, turned: Array) -> None:
        """Write down turned = the filters as ``backward_data`` wants them."""
        build.op("conv_flip" if self.is_plane else "conv_nd_flip", w, turned, self.group)


@dataclass(frozen=True)
class Layout:
    """How blobs lie before the kernels: (N, C, spatial...), N being all axes before the ``channel`` axis."""

    channel: int
    axes: int  # spatial ones

    def shape(self, shape: Shape) -> Shape:
        """Return (N, C, spatial...), the latter made two at least."""
        ones = (1,) * max(0, PLANE - self.axes)
        return (prod(shape[: self.channel]), shape[self.channel], *ones, *shape[self.channel + 1 :])

    def _as_it_is(self, array: Array) -> Array | None:
        if self.axes > PLANE:
            return array.reshape(self.shape(array.shape), copy=False)
        return array if array.ndim == PLANE + 2 and self.axes == PLANE else None

    def _picture(self, build: Builder, array: Array, tag: str, border: tuple[int, int]) -> Array:
        n, c, height, width = self.shape(array.shape)
        wide = build.scratch(tag, (n, c, height + 2 * border[0], width + 2 * border[1]))
        return wide[:, :, border[0] : border[0] + height, border[1] : border[1] + width]

    def read(self, build: Builder, array: Array, tag: str, border: tuple[int, int]) -> Array:
        """Return what a kernel can read: the array itself, or a copy as pictures with a zero border."""
        same = self._as_it_is(array)
        if same is not None:
            return same
        picture = self._picture(build, array, tag, border)
        copy_reshaped(build, tag, array, picture)
        return picture

    def write(self, build: Builder, array: Array, tag: str) -> Array:
        """Return what a kernel can write to; ``written`` afterwards brings it to where it belongs."""
        same = self._as_it_is(array)
        return self._picture(build, array, tag, (0, 0)) if same is None else same

    def written(self, build: Builder, array: Array, tag: str) -> None:
        """Write down the copy of what was written from a working array to ``array``, where there is one."""
        if self._as_it_is(array) is None:
            copy_reshaped(build, tag, self._picture(build, array, tag, (0, 0)), array)
