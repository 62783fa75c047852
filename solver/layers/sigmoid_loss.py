"""SigmoidCrossEntropyLoss."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder
from batchbrew.solver.layers.losses import NormalizedLoss
from batchbrew.solver.layers.rows import as_rows


@LAYERS.register("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLoss(NormalizedLoss):
    """The cross entropy of sigmoid(x) and targets t (any numbers, usually 0 to 1), each element on its own.

    Divided by the number of samples unless loss_param says otherwise; ignore_label is compared with t cut to an
    integer.
    """

    default = pb.LossParameter.BATCH_SIZE

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return ()."""
        self.outer = self.samples = self.check_samples(bottoms)
        self.targets = prod(bottoms[0])
        if prod(bottoms[1]) != self.targets:
            raise self.error(f"needs one target for each of the {self.targets} scores, found {prod(bottoms[1])}")
        return [()]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """loss = sum (log(1 + e^x) - x t) / divisor."""
        rows = (self.samples, self.targets // self.samples)
        self.alike = bottom[0].shape == bottom[1].shape
        self.pair = [
            b.data if self.alike else as_rows(build, b.data, f"bottom {i}", rows, fill=True)[0]
            for i, b in enumerate(bottom)
        ]
        build.op(
            "sigmoid_loss_forward",
            *self.pair,
            *self.results(build, top),
            *self.settings(build),
        )

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx = (sigmoid(x) - t) / divisor."""
        self.refuse_labels(needed)
        if not needed[0]:
            return
        dx, copied = bottom[0].diff, None
        if not self.alike:
            dx, copied = as_rows(build, dx, "gradient", self.pair[0].shape, fill=False)
        build.op(
            "sigmoid_loss_backward",
            *self.pair,
            dx,
            top[0].diff.reshape(1),
            self.norm,
            int(self.ignores),
            self.ignored,
            int(build.sums),
            self.factor(build),
        )
        if copied is not None:
            build.op("copy", copied, bottom[0].diff)
