"""MultinomialLogisticLoss."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder
from batchbrew.solver.layers.losses import LabelledLoss


@LAYERS.register("MultinomialLogisticLoss")
class MultinomialLogisticLoss(LabelledLoss):
    """The mean of -log of the label's probability; the bottom holds probabilities, such as a Softmax yields."""

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return ()."""
        samples = self.check_samples(bottoms)
        if prod(bottoms[1]) != samples:
            raise self.error(f"needs one label a sample, found {prod(bottoms[1])} for {samples} samples")
        return [()]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """loss = -sum log max(p[label], 1e-20) / N."""
        build.op("multinomial_forward", bottom[0].data, bottom[1].data, *self.results(build, top), int(build.sums))

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dp = -1 / max(p, 1e-20) / N at the label, else 0."""
        self.refuse_labels(needed)
        if needed[0]:
            build.op(
                "multinomial_backward",
                bottom[0].data,
                bottom[1].data,
                bottom[0].diff,
                top[0].diff.reshape(1),
                self.norm,
                int(build.sums),
                self.factor(build),
            )
