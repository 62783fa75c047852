"""Convolution."""

from __future__ import annotations

from collections.abc import Sequence

from batchbrew.solver.blob import Blob, Shape, aligned_zeros
from batchbrew.solver.layer import LAYERS, Array, Builder, Layer
from batchbrew.solver.layers.geometry import Pair, repeated_pair

MAX_TAPS = 1024  # as in conv.h


@LAYERS.register("Convolution")
class Convolution(Layer):
    """Cross-correlate pictures (N, C, H, W) with filters (K, C/group, U, V), plus a bias (K).

    Rows out = floor((H + 2 pad - dilation (U - 1) - 1) / stride) + 1, columns likewise. Several bottoms share the
    filters.
    """

    bottoms = (1, None)
    tops = (1, None)
    flipped: Array | None = None  # the filters of the data gradient, made by prepare()

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Read geometry and declare filters and bias."""
        p = self.param.convolution_param
        if any(len(shape) != 4 for shape in bottoms) or p.axis not in (1, -3):
            raise self.error(
                f"needs bottoms (N, C, H, W) and axis 1, found {', '.join(map(str, bottoms))}, axis {p.axis}"
            )
        self.kernel = repeated_pair(self, p, "kernel_size", 0, "kernel")
        self.stride = repeated_pair(self, p, "stride", 1, "stride")
        self.pad = repeated_pair(self, p, "pad", 0, "pad")
        self.dilation = repeated_pair(self, p, "dilation", 1)
        self.group: int = p.group
        for name, pair in (("kernel_size", self.kernel), ("stride", self.stride), ("dilation", self.dilation)):
            if min(pair) < 1:
                raise self.error(f"{name} must be at least 1 (found {pair[0]} x {pair[1]})")
        if self.kernel[0] * self.kernel[1] > MAX_TAPS:
            raise self.error(f"kernel {self.kernel[0]} x {self.kernel[1]} has more than {MAX_TAPS} taps")
        channels = bottoms[0][1]
        if p.num_output < 1:
            raise self.error("num_output must be at least 1")
        if self.group < 1 or channels % self.group or p.num_output % self.group:
            raise self.error(f"group {self.group} must divide the {channels} channels and num_output {p.num_output}")
        self.add_parameter((p.num_output, channels // self.group, *self.kernel), p.weight_filler, order=(2, 3, 1, 0))
        if p.bias_term:
            self.add_parameter((p.num_output,), p.bias_filler)
        self.extent: Pair = (self.dilation[0] * (self.kernel[0] - 1) + 1, self.dilation[1] * (self.kernel[1] - 1) + 1)

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return (N, K, rows, columns) for each bottom; keep what the data gradient needs to know of the size."""
        shape = bottoms[0]
        if any(other != shape for other in bottoms):
            raise self.error(f"all bottoms must have one shape, found {', '.join(map(str, bottoms))}")
        if shape[1] != self.parameters[0].shape[1] * self.group:
            raise self.error(f"was set up for {self.parameters[0].shape[1] * self.group} channels, found {shape[1]}")
        out = []
        rest = []
        for size, extent, stride, pad, axis in zip(shape[2:], self.extent, self.stride, self.pad, "HW", strict=True):
            room = size + 2 * pad - extent
            if room < 0:
                raise self.error(
                    f"kernel of extent {extent} is larger than the padded input ({axis} {size} + 2 x {pad})"
                )
            out.append(room // stride + 1)
            rest.append(room % stride)
        self.rest: Pair = (rest[0], rest[1])
        return [(shape[0], self.parameters[0].shape[0], *out)] * len(bottoms)

    @property
    def _back_pad(self) -> Pair:
        return (self.extent[0] - 1 - self.pad[0], self.extent[1] - 1 - self.pad[1])

    @property
    def _back_border(self) -> Pair:
        return (max(0, self._back_pad[0] + self.rest[0]), max(0, self._back_pad[1] + self.rest[1]))

    def borders(self, bottom: int) -> tuple[int, int]:
        """Return the padding."""
        return self.pad

    def diff_borders(self, top: int) -> tuple[int, int]:
        """Return the padding of the transposed convolution; with a stride, a spread-out copy is read instead."""
        return self._back_border if self.stride == (1, 1) else (0, 0)

    def prepare(self, build: Builder) -> None:
        """Turn the filters for the data gradient."""
        k, c, u, v = self.parameters[0].shape
        if self.flipped is None:
            stored = aligned_zeros(k * c * u * v, build.dtype).reshape(u, v, k // self.group, c * self.group)
            self.flipped = stored.transpose(3, 2, 0, 1)
        build.op("conv_flip", self.parameters[0].data, self.flipped, self.group)

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """y = w * x + b."""
        bias = self.parameters[1].data if len(self.parameters) > 1 else None
        for x, y in zip(bottom, top, strict=True):
            build.op(
                "conv_forward",
                x.data,
                self.parameters[0].data,
                bias,
                y.data,
                *self.stride,
                *self.pad,
                *self.dilation,
                self.group,
            )

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Gradients of bias, filters and data."""
        for x, y, wanted in zip(bottom, top, needed, strict=True):
            if len(self.parameters) > 1 and self.learns(1):
                build.op("bias_backward", y.diff, self.parameters[1].grad)
            if self.learns(0):
                build.op(
                    "conv_backward_weight",
                    x.data,
                    y.diff,
                    self.parameters[0].grad,
                    *self.stride,
                    *self.pad,
                    *self.dilation,
                    self.group,
                )
            if wanted:
                build.op(
                    "conv_forward",
                    self._spread(build, y.diff),
                    self.flipped,
                    None,
                    x.diff,
                    1,
                    1,
                    *self._back_pad,
                    *self.dilation,
                    self.group,
                )

    def _spread(self, build: Builder, diff: Array) -> Array:
        """Return diff with the gaps of the stride between its rows and columns, inside a zero border."""
        if self.stride == (1, 1):
            return diff
        n, k, rows, cols = diff.shape
        (bh, bw), (sh, sw) = self._back_border, self.stride
        height, width = (rows - 1) * sh + 1, (cols - 1) * sw + 1
        wide = build.scratch(f"{self.name}.spread", (n, k, height + 2 * bh, width + 2 * bw))
        inside = wide[:, :, bh : bh + height, bw : bw + width]
        build.op("spread", diff, inside, sh, sw)
        return inside

    def multiply_adds(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        """Return N K R Q C/group U V over all pairs."""
        _, c, u, v = self.parameters[0].shape
        return sum(n * k * r * q for n, k, r, q in tops) * c * u * v
