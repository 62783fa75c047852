"""ContrastiveLoss."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder
from batchbrew.solver.layers.losses import LabelledLoss


@LAYERS.register("ContrastiveLoss")
class ContrastiveLoss(LabelledLoss):
    """Draws pairs (a, b) with label 1 together, and those with label 0 apart up to ``margin``.

    Labels are cut to integers: any but 0 means alike. ``legacy_version`` compares margin with the squared distance.
    """

    bottoms = (3, 3)
    labels = 2

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return ()."""
        samples = self.check_samples(bottoms)
        a, b, label = bottoms
        if any(prod(shape[2:]) != 1 for shape in (a, b)) or prod(a) != prod(b) or prod(label) != samples:
            raise self.error(f"needs pairs (N, C) or (N, C, 1, 1) and N labels, found {a}, {b} and {label}")
        return [()]

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """loss = sum (alike d^2 + (1 - alike) max(margin - d, 0)^2) / 2N, d = |a - b|."""
        p = self.param.contrastive_loss_param
        build.op(
            "contrastive_forward",
            *(blob.data for blob in bottom),
            *self.results(build, top),
            int(p.legacy_version),
            int(build.sums),
            float(p.margin),
        )

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """da = (a - b) / N if alike, else -max(margin - d, 0) (a - b) / (d + 1e-4) / N; db = -da."""
        self.refuse_labels(needed)
        p = self.param.contrastive_loss_param
        for i, sign in ((0, 1.0), (1, -1.0)):
            if needed[i]:
                build.op(
                    "contrastive_backward",
                    *(blob.data for blob in bottom),
                    bottom[i].diff,
                    top[0].diff.reshape(1),
                    self.norm,
                    int(p.legacy_version),
                    int(build.sums),
                    float(p.margin),
                    sign,
                    self.factor(build),
                )
