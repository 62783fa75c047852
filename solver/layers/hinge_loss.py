"""HingeLoss."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder
from batchbrew.solver.layers.losses import LabelledLoss


@LAYERS.register("HingeLoss")
class HingeLoss(LabelledLoss):
    """The sum (L1) or summed squares (L2) of margins max(0, 1 + s), s the scores with that of the label negated."""

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Read the norm."""
        self.squares = int(self.param.hinge_loss_param.norm == pb.HingeLossParameter.L2)

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return ()."""
        samples = self.check_samples(bottoms)
        if prod(bottoms[1]) != samples:
            raise self.error(f"needs one label a sample, found {prod(bottoms[1])} for {samples} samples")
        return [()]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """loss = sum of margins (L1) or of their squares (L2) / N."""
        build.op(
            "hinge_forward", bottom[0].data, bottom[1].data, *self.results(build, top), self.squares, int(build.sums)
        )

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """ds = 1 (L1) or twice the margin (L2) where the margin is positive, negated at the label, / N."""
        self.refuse_labels(needed)
        if needed[0]:
            build.op(
                "hinge_backward",
                bottom[0].data,
                bottom[1].data,
                bottom[0].diff,
                top[0].diff.reshape(1),
                self.norm,
                self.squares,
                int(build.sums),
                self.factor(build),
            )
