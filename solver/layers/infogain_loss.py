"""InfogainLoss."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from batchbrew.errors import UserError
from batchbrew.protos import binary
from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Array, Builder
from batchbrew.solver.layers.losses import NormalizedLoss


@LAYERS.register("InfogainLoss")
class InfogainLoss(NormalizedLoss):
    """Softmax along ``axis``, then -sum over classes of H[label, class] log p; H = 1 makes it SoftmaxWithLoss.

    H (classes x classes) is the third bottom, or the blob in the file that infogain_loss_param.source names. A second
    top receives the probabilities.
    """

    bottoms = (2, 3)
    tops = (1, 2)

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Read normalization and ignore_label, and H where a file holds it."""
        super().setup(bottoms)
        p = self.param.infogain_loss_param
        if self.param.loss_param.HasField("normalize"):
            raise self.error("loss_param.normalize is not for this loss: write normalization: VALID or BATCH_SIZE")
        self.gains: Array | None = None
        if len(bottoms) == 3:
            return
        if not p.source:
            raise self.error("needs its matrix: a third bottom, or a file named by infogain_loss_param.source")
        try:
            self.gains = binary.blob_to_array(binary.read(p.source, pb.BlobProto), f"{p.source}: ")
        except UserError as problem:
            raise self.error(str(problem)) from None

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return () and, for a second top, the shape of x."""
        x, label = bottoms[:2]
        self.along = self.axis(self.param.infogain_loss_param.axis, x)
        self.samples = self.check_samples(bottoms)
        self.outer, self.targets, classes = prod(x[: self.along]), prod(x) // x[self.along], x[self.along]
        if prod(label) != self.targets:
            raise self.error(f"needs one label a position: {self.targets} for x {x}, found {prod(label)} in {label}")
        matrix = bottoms[2] if self.gains is None else self.gains.shape
        if prod(matrix) != classes * classes:
            raise self.error(f"needs a matrix of {classes} x {classes} for its {classes} classes, found {matrix}")
        return [(), x][: max(1, len(self.param.top))]

    @property
    def cuttable(self) -> bool:
        """False where the classes lie along the samples' axis."""
        return self.along != 0

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """loss = -sum H[label] log max(p, 1e-20) / divisor."""
        x = bottom[0].data
        self.prob = top[1].data if len(top) > 1 else build.scratch("prob", x.shape)
        self.matrix = bottom[2].data if self.gains is None else np.asarray(self.gains, build.dtype)
        build.op(
            "infogain_forward",
            x,
            self.prob,
            bottom[1].data,
            self.matrix,
            *self.results(build, top),
            self.along,
            *self.settings(build),
        )

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx = (p times the sum of H[label] - H[label]) / divisor."""
        self.refuse_labels(needed)
        if needed[0]:
            build.op(
                "infogain_backward",
                self.prob,
                bottom[0].diff,
                bottom[1].data,
                self.matrix,
                top[0].diff.reshape(1),
                self.norm,
                self.along,
                int(self.ignores),
                self.ignored,
                int(build.sums),
                self.factor(build),
            )
