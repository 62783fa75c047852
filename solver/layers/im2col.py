"""Im2col: the patches that a convolution would see, as channels."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer


@LAYERS.register("Im2col")
class Im2col(Layer):
    """Lay out the patches of ``convolution_param`` along ``axis`` (1): (..., C, in...) to (..., C taps, out...).

    Any number of spatial axes; out = floor((in + 2 pad - dilation (kernel - 1) - 1) / stride) + 1 for each.
    """

    @property
    def cuttable(self) -> bool:
        """False where the channels lie along axis 0."""
        return self.along != 0

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Read the geometry."""
        p = self.param.convolution_param
        self.along = self.axis(p.axis, bottoms[0])
        count = len(bottoms[0]) - self.along - 1
        if not count:
            raise self.error(f"needs spatial axes behind axis {self.along}, found a bottom {bottoms[0]}")
        self.kernel = self._each("kernel_size", "kernel", 0, count)
        self.stride = self._each("stride", "stride", 1, count)
        self.pad = self._each("pad", "pad", 0, count)
        self.dilation = self._each("dilation", "", 1, count)
        for name, values in (("kernel_size", self.kernel), ("stride", self.stride), ("dilation", self.dilation)):
            if min(values) < 1:
                raise self.error(f"{name} must be at least 1 (found {', '.join(map(str, values))})")

    def _each(self, field: str, short: str, default: int, count: int) -> tuple[int, ...]:
        """Return a repeated field or its ``short``_h, ``short``_w form, once for each of ``count`` axes."""
        p = self.param.convolution_param
        values = tuple(getattr(p, field))
        if short and (p.HasField(f"{short}_h") or p.HasField(f"{short}_w")):
            if values or count != 2:
                raise self.error(f"{short}_h and {short}_w are for 2 spatial axes, and not beside {field}")
            return (getattr(p, f"{short}_h"), getattr(p, f"{short}_w"))
        if len(values) not in (0, 1, count):
            raise self.error(f"{field} is given {len(values)} times, for {count} spatial axes")
        return values if len(values) == count else (values or (default,)) * count

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return (..., C taps, out...)."""
        shape = bottoms[0]
        if len(shape) != self.along + 1 + len(self.kernel):
            raise self.error(f"was set up for {self.along + 1 + len(self.kernel)} axes, found a bottom {shape}")
        out = []
        geometry = zip(shape[self.along + 1 :], self.kernel, self.stride, self.pad, self.dilation, strict=True)
        for size, kernel, stride, pad, dilation in geometry:
            room = size + 2 * pad - (dilation * (kernel - 1) + 1)
            if room < 0:
                raise self.error(
                    f"kernel {kernel}, dilation {dilation} is larger than the padded input ({size} + 2 x {pad})"
                )
            out.append(room // stride + 1)
        return [(*shape[: self.along], shape[self.along] * prod(self.kernel), *out)]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Copy the patches."""
        geometry = (*self.kernel, *self.stride, *self.pad, *self.dilation)
        build.op("im2col_forward", bottom[0].data, top[0].data, self.along, *geometry)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Add up what patches share."""
        if needed[0]:
            geometry = (*self.kernel, *self.stride, *self.pad, *self.dilation)
            build.op("im2col_backward", top[0].diff, bottom[0].diff, self.along, *geometry)
