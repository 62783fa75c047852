"""SoftmaxWithLoss."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder
from batchbrew.solver.layers.grid import grid, grid_axis
from batchbrew.solver.layers.losses import NormalizedLoss
from batchbrew.solver.layers.rows import as_rows


@LAYERS.register("SoftmaxWithLoss")
class SoftmaxWithLoss(NormalizedLoss):
    """The mean of -log softmax(x)[label] over all positions; a second top receives the probabilities."""

    tops = (1, 2)

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return () and, for a second top, the shape of x."""
        x, label = bottoms
        self.along = self.axis(self.param.softmax_param.axis, x)
        self.outer, inner = prod(x[: self.along]), prod(x[self.along + 1 :])
        self.targets = self.outer * inner
        if prod(label) != self.targets:
            raise self.error(f"needs one label a position: {self.targets} for x {x}, found {prod(label)} in {label}")
        self.samples = max(1, x[0])
        return [(), x][: max(1, len(self.param.top))]

    @property
    def cuttable(self) -> bool:
        """False where the classes lie along the samples' axis."""
        return self.along != 0

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """loss = -sum log p[label] / divisor."""
        prob = top[1].data if len(top) > 1 else build.scratch(f"{self.name}.prob", bottom[0].shape)
        self.prob = grid(prob, self.along)
        self.label, _ = as_rows(build, bottom[1].data, f"{self.name}.label", (bottom[1].data.size,), fill=True)
        build.op(
            "softmax_loss_forward",
            grid(bottom[0].data, self.along),
            self.prob,
            self.label,
            *self.results(build, top),
            grid_axis(bottom[0].shape, self.along),
            *self.settings(build),
        )

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx = (p - [label]) / divisor."""
        self.refuse_labels(needed)
        if needed[0]:
            build.op(
                "softmax_loss_backward",
                self.prob,
                grid(bottom[0].diff, self.along),
                self.label,
                top[0].diff.reshape(1),
                self.norm,
                grid_axis(bottom[0].shape, self.along),
                int(self.ignores),
                self.ignored,
                int(build.sums),
                self.factor(build),
            )
