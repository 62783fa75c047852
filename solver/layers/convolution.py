"""Convolution."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import prod
from typing import ClassVar

import numpy as np

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape, aligned_zeros
from batchbrew.solver.kernels.reference.winograd import BLOCK
from batchbrew.solver.layer import LAYERS, Array, Builder, Layer
from batchbrew.solver.layers.algorithm import UPDATE, Case
from batchbrew.solver.layers.correlation import Correlation, Layout
from batchbrew.solver.layers.geometry import Sizes, repeated, times


class Filters(Layer):
    """Filters that slide along all axes behind the channel axis: convolution or its transpose.

    Bottoms (N..., C, spatial...) share the filters; each makes the top of its number.
    """

    bottoms = (1, None)
    tops = (1, None)
    inputs_first: ClassVar[bool]  # whether axis 0 of the filters is that of the bottom's channels
    turned: Array | None = None  # the filters of the transposed pass

    def __init__(self, param: pb.LayerParameter, phase: int, where: str) -> None:
        super().__init__(param, phase, where)
        self.transformed: dict[tuple[bool, int], Array] = {}  # by whether they are turned, and the size of the tiles

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Read geometry and declare filters and bias."""
        p = self.param.convolution_param
        channel = self.axis(p.axis, bottoms[0])
        self.layout = Layout(channel, len(bottoms[0]) - channel - 1)
        self.geometry = self._geometry(self.layout.axes)
        self.channels, self.outputs, group = bottoms[0][channel], int(p.num_output), int(p.group)
        if self.outputs < 1:
            raise self.error("num_output must be at least 1")
        if group < 1 or self.channels % group or self.outputs % group:
            raise self.error(f"group {group} must divide the {self.channels} channels and num_output {self.outputs}")
        sides = (self.channels, self.outputs) if self.inputs_first else (self.outputs, self.channels)
        shape = (sides[0], sides[1] // group, *self.geometry.kernel)
        order = (*range(2, len(shape)), 1, 0) if self.geometry.is_plane else None  # as the kernels want them
        self.add_parameter(shape, p.weight_filler, order=order)
        if p.bias_term:
            self.add_parameter((self.outputs,), p.bias_filler)

    def _geometry(self, axes: int) -> Correlation:
        p = self.param.convolution_param
        kernel = repeated(self, p, "kernel_size", 0, axes=axes, short="kernel")
        stride = repeated(self, p, "stride", 1, axes=axes, short="stride")
        pad = repeated(self, p, "pad", 0, axes=axes, short="pad")
        dilation = repeated(self, p, "dilation", 1, axes=axes)
        for name, values in (("kernel_size", kernel), ("stride", stride), ("dilation", dilation)):
            if min(values, default=1) < 1:
                raise self.error(f"{name} must be at least 1 (found {times(values)})")
        return Correlation(kernel, stride, pad, dilation, p.group)

    @property
    def cuttable(self) -> bool:
        """Whether there is an axis of samples before the channels."""
        return self.layout.channel > 0

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return (N..., K, spatial...) for each bottom."""
        shape, channel = bottoms[0], self.layout.channel
        if any(other != shape for other in bottoms):
            raise self.error(f"all bottoms must have one shape, found {', '.join(map(str, bottoms))}")
        if len(shape) != channel + 1 + self.layout.axes:
            raise self.error(f"was set up for {channel + 1 + self.layout.axes} axes, found a bottom {shape}")
        if shape[channel] != self.channels:
            raise self.error(f"was set up for {self.channels} channels, found {shape[channel]}")
        spatial = self.spatial(shape[channel + 1 :])
        self.sizes = (shape[channel + 1 :], spatial)
        self.pictures = prod(shape[:channel])
        return [(*shape[:channel], self.outputs, *spatial)] * len(bottoms)

    @abstractmethod
    def spatial(self, sizes: Sequence[int]) -> Sizes:
        """Return the spatial sizes of a top. Raises UserError where there is nothing left."""

    def _filters(self, array: Array) -> Array:
        """Return the filters, or what is alike, as the kernels take them: (K, C/group, taps...), two axes at least."""
        rank = 2 + len(self.geometry.as_plane().kernel)
        return np.expand_dims(array, tuple(range(2, 2 + rank - array.ndim)))

    @property
    def weights(self) -> Array:
        """The filters as the kernels take them."""
        return self._filters(self.parameters[0].data)

    @property
    def bias(self) -> Array | None:
        """The bias, if there is one."""
        return self.parameters[1].data if len(self.parameters) > 1 else None

    def turn(self, build: Builder) -> Array:
        """Write down how the filters are turned for the transposed pass, and return what holds them then."""
        k, c, *taps = self.weights.shape
        group = self.geometry.group
        if self.turned is None:
            flat = aligned_zeros(self.weights.size, build.dtype)
            if self.geometry.is_plane:
                self.turned = flat.reshape(*taps, k // group, c * group).transpose(3, 2, 0, 1)
            else:
                self.turned = flat.reshape(c * group, k // group, *taps)
        self.geometry.turn(build, self.weights, self.turned)
        return self.turned

    def case(self, back: bool, gradient: bool = False) -> Case | None:
        """Return the pass from the wide to the narrow side, or ``back``, as far as Winograd's kernels know it."""
        sides = (self.channels, self.outputs)
        if self.inputs_first:
            sides = (self.outputs, self.channels)
        return self.geometry.case(sides, self.sizes[back != self.inputs_first], back, gradient)

    def cases(self, backward: bool, needed: bool) -> list[Case]:
        """Return the passes for which there is a choice, ``backward`` too, and where ``needed`` by a bottom."""
        found = [self.case(self.inputs_first)]
        if backward and needed:
            found.append(self.case(not self.inputs_first))
        if backward and self.learns(0):
            found.append(self.case(back=False, gradient=True))
        return [case for case in found if case is not None and case.tiles]

    def tile(self, build: Builder, back: bool, gradient: bool = False) -> int:
        """Return the size of the tiles by which that pass is computed, 0 where it is directly."""
        case = self.case(back, gradient)
        return build.choose(case, UPDATE if build.sums else self.pictures) if case is not None else 0

    def derive(self, build: Builder, back: bool) -> None:
        """Write down what a pass from the wide to the narrow side, or ``back``, makes of the filters beforehand."""
        filters = self.turn(build) if back else self.weights
        if tile := self.tile(build, back):
            if (back, tile) not in self.transformed:
                outputs, channels, taps = filters.shape[:3]
                shape = (-(-outputs // BLOCK), (tile + taps - 1) ** 2, channels + 1, BLOCK)
                held = aligned_zeros(prod(shape), build.dtype).reshape(shape)
                self.transformed[back, tile] = held[:, :, :-1]  # steps of a power of two would share cache lines
            build.op("winograd_weights", filters, self.transformed[back, tile])

    def correlate(self, build: Builder, back: bool, x: Array, bias: Array | None, y: Array) -> None:
        """Write down y = that pass over x, + bias."""
        case, tile = self.case(back), self.tile(build, back)
        if case is not None and tile:
            build.op("winograd_forward", x, self.transformed[back, tile], bias, y, tile, case.taps, *case.pad)
        elif back:
            assert self.turned is not None
            self.geometry.backward_data(build, x, self.turned, bias, y)
        else:
            self.geometry.forward(build, x, self.weights, bias, y)

    def backward_parameters(self, build: Builder, wide: Array, narrow: Array, dy: Array) -> None:
        """Write down the gradients of filters and bias, dy being that of the top."""
        if len(self.parameters) > 1 and self.learns(1):
            self.geometry.backward_bias(build, dy, self.parameters[1].grad)
        if self.learns(0):
            gradient = self._filters(self.parameters[0].grad)
            if tile := self.tile(build, back=False, gradient=True):
                build.op("winograd_backward_weight", wide, narrow, gradient, tile, *self.geometry.pad)
            else:
                self.geometry.backward_weight(build, wide, narrow, gradient)


@LAYERS.register("Convolution")
class Convolution(Filters):
    """Cross-correlate bottoms (N..., C, spatial...) with filters (K, C/group, taps...), plus a bias (K).

    Sizes out = floor((in + 2 pad - dilation (kernel - 1) - 1) / stride) + 1. The channels lie along ``axis`` (1).
    """

    inputs_first = False

    def spatial(self, sizes: Sequence[int]) -> Sizes:
        """Return the narrow side of the bottom's."""
        g, narrow = self.geometry, self.geometry.narrow(sizes)
        if min(narrow, default=1) < 1:
            raise self.error(
                f"kernel {times(g.kernel)} with dilation {times(g.dilation)} is larger than the padded input "
                f"({times(sizes)}, pad {times(g.pad)})"
            )
        return narrow

    def borders(self, bottom: int) -> tuple[int, int]:
        """Return the padding."""
        return self.geometry.wide_border

    def diff_borders(self, top: int, needed: bool) -> tuple[int, int]:
        """Return the padding of the transposed convolution."""
        return self.geometry.narrow_border if needed else (0, 0)

    def prepare(self, build: Builder) -> None:
        """Transform the filters, where that is how they are used."""
        self.derive(build, back=False)

    def prepare_backward(self, build: Builder, needed: Sequence[bool]) -> None:
        """Turn the filters for the data gradient."""
        if any(needed):
            self.derive(build, back=True)

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """y = w * x + b."""
        self.read = []
        for i, (x, y) in enumerate(zip(bottom, top, strict=True)):
            wide = self.layout.read(build, x.data, f"{i}.x", self.geometry.wide_border)
            narrow = self.layout.write(build, y.data, f"{i}.y")
            self.correlate(build, False, wide, self.bias, narrow)
            self.layout.written(build, y.data, f"{i}.y")
            self.read.append(wide)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Gradients of bias, filters and data."""
        for i, (x, y, wanted) in enumerate(zip(bottom, top, needed, strict=True)):
            dy = self.layout.read(build, y.diff, f"{i}.dy", self.geometry.narrow_border)
            self.backward_parameters(build, self.read[i], dy, dy)
            if wanted:
                dx = self.layout.write(build, x.diff, f"{i}.dx")
                self.correlate(build, True, dy, None, dx)
                self.layout.written(build, x.diff, f"{i}.dx")

    def multiply_adds(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        """Return N K R Q C/group U V over all pairs."""
        return sum(map(prod, tops)) * prod(self.parameters[0].shape[1:])
