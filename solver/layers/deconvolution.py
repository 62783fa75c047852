"""Deconvolution: the transpose of convolution."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder
from batchbrew.solver.layers.convolution import Filters
from batchbrew.solver.layers.geometry import Sizes, times


@LAYERS.register("Deconvolution")
class Deconvolution(Filters):
    """Spread each number of bottoms (N..., C, spatial...) over tops by filters (C, K/group, taps...); add a bias (K).

    Sizes out = stride (in - 1) + dilation (kernel - 1) + 1 - 2 pad. Forward is the data gradient of the convolution
    with the same filters, its data gradient that convolution.
    """

    inputs_first = True

    def spatial(self, sizes: Sequence[int]) -> Sizes:
        """Return the wide side of the bottom's."""
        g, wide = self.geometry, self.geometry.wide(sizes)
        if min(wide, default=1) < 1:
            raise self.error(
                f"pad {times(g.pad)} leaves nothing of the output (kernel {times(g.kernel)}, stride {times(g.stride)}, "
                f"input {times(sizes)})"
            )
        return wide

    def borders(self, bottom: int) -> tuple[int, int]:
        """Return the padding of the transposed convolution."""
        return self.geometry.narrow_border

    def diff_borders(self, top: int, needed: bool) -> tuple[int, int]:
        """Return the padding."""
        return self.geometry.wide_border

    def prepare(self, build: Builder) -> None:
        """Turn the filters."""
        self.derive(build, back=True)

    def prepare_backward(self, build: Builder, needed: Sequence[bool]) -> None:
        """Transform the filters for the data gradient, where that is how they are used."""
        if any(needed):
            self.derive(build, back=False)

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Spread x by the filters and add the bias."""
        self.read = []
        for i, (x, y) in enumerate(zip(bottom, top, strict=True)):
            narrow = self.layout.read(build, x.data, f"{i}.x", self.geometry.narrow_border)
            wide = self.layout.write(build, y.data, f"{i}.y")
            self.correlate(build, True, narrow, self.bias, wide)
            self.layout.written(build, y.data, f"{i}.y")
            self.read.append(narrow)

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Gradients of bias, filters and data."""
        for i, (x, y, wanted) in enumerate(zip(bottom, top, needed, strict=True)):
            dy = self.layout.read(build, y.diff, f"{i}.dy", self.geometry.wide_border)
            self.backward_parameters(build, dy, self.read[i], dy)
            if wanted:
                dx = self.layout.write(build, x.diff, f"{i}.dx")
                self.correlate(build, False, dy, None, dx)
                self.layout.written(build, x.diff, f"{i}.dx")

    def multiply_adds(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        """Return N C H W K/group U V over all pairs."""
        return sum(map(prod, bottoms)) * prod(self.parameters[0].shape[1:])
