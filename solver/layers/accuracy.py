"""Accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer
from batchbrew.solver.layers.grid import grid, grid_axis
from batchbrew.solver.layers.losses import by_lane
from batchbrew.solver.layers.rows import as_rows


@LAYERS.register("Accuracy")
class Accuracy(Layer):
    """The share of positions where fewer than top_k other classes score at least as high as the label: ties are wrong.

    A second top receives the share for each class.
    """

    bottoms = (2, 2)
    tops = (1, 2)
    statistic = True

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return () and, for a second top, (classes,)."""
        p = self.param.accuracy_param
        x, label = bottoms
        self.along = self.axis(p.axis, x)
        positions = prod(x[: self.along]) * prod(x[self.along + 1 :])
        if prod(label) != positions:
            raise self.error(f"needs one label a position: {positions} for x {x}, found {prod(label)} in {label}")
        if p.top_k > x[self.along]:
            raise self.error(f"top_k {p.top_k} is more than the {x[self.along]} classes")
        return [(), (x[self.along],)][: max(1, len(self.param.top))]

    @property
    def cuttable(self) -> bool:
        """False where the classes lie along the samples' axis."""
        return self.along != 0

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Count the correct positions."""
        p = self.param.accuracy_param
        classes = bottom[0].shape[self.along]
        label, _ = as_rows(build, bottom[1].data, f"{self.name}.label", (bottom[1].data.size,), fill=True)
        build.op(
            "accuracy_forward",
            grid(bottom[0].data, self.along),
            label,
            by_lane(build, "share", top[0].data.reshape(1)),
            by_lane(build, "shares", top[1].data.reshape(1, classes)) if len(top) > 1 else None,
            self.stat,
            build.scratch("counts", (build.lanes, 2, classes), np.float64),
            grid_axis(bottom[0].shape, self.along),
            p.top_k,
            int(p.HasField("ignore_label")),
            p.ignore_label,
            int(build.sums),
        )

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """Nothing: accuracy has no gradient; asked for one by force_backward, it is zero."""
        for blob, wanted in zip(bottom, needed, strict=True):
            if wanted:
                build.op("fill", blob.diff, 0.0)
