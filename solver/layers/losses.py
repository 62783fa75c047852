"""Losses: SoftmaxWithLoss, EuclideanLoss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import prod

from batchbrew.protos import messages as pb
from batchbrew.solver.blob import Blob, Shape
from batchbrew.solver.layer import LAYERS, Builder, Layer
from batchbrew.solver.layers.grid import grid, grid_axis
from batchbrew.solver.layers.rows import as_rows


class Loss(Layer):
    """A layer whose first top is a scalar to be made small.

    While training, kernels yield plain sums; what a mean would divide by is counted beside them (``self.stat``), so
    that a batch may be cut up in any way and divided once.
    """

    bottoms = (2, 2)
    loss = True
    statistic = True

    @abstractmethod
    def divisor_per_sample(self) -> float | None:
        """Return the divisor of the mean over the number of samples, or None where it depends on the data."""


@LAYERS.register("SoftmaxWithLoss")
class SoftmaxWithLoss(Loss):
    """The mean of -log softmax(x)[label] over all positions; a second top receives the probabilities."""

    tops = (1, 2)

    def setup(self, bottoms: Sequence[Shape]) -> None:
        """Read normalisation and ignore_label."""
        p = self.param.loss_param
        self.normalization: int = p.normalization
        if p.HasField("normalize") and not p.HasField("normalization"):
            self.normalization = pb.LossParameter.VALID if p.normalize else pb.LossParameter.BATCH_SIZE
        self.ignores = p.HasField("ignore_label")
        self.ignored: int = p.ignore_label

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return () and, for a second top, the shape of x."""
        x, label = bottoms
        self.along = self.axis(self.param.softmax_param.axis, x)
        self.outer, inner = prod(x[: self.along]), prod(x[self.along + 1 :])
        self.positions = self.outer * inner
        if prod(label) != self.positions:
            raise self.error(f"needs one label a position: {self.positions} for x {x}, found {prod(label)} in {label}")
        self.samples = max(1, x[0])
        return [(), x][: max(1, len(self.param.top))]

    @property
    def cuttable(self) -> bool:
        """False where the classes lie along the samples' axis."""
        return self.along != 0

    def divisor_per_sample(self) -> float | None:
        """Return what normalization says."""
        if self.normalization == pb.LossParameter.NONE or (
            self.ignores and self.normalization == pb.LossParameter.VALID
        ):
            return None
        outer = self.normalization == pb.LossParameter.BATCH_SIZE
        return (self.outer if outer else self.positions) / self.samples

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """loss = -sum log p[label] / divisor."""
        prob = top[1].data if len(top) > 1 else build.scratch(f"{self.name}.prob", bottom[0].shape)
        self.prob = grid(prob, self.along)
        self.norm = build.scratch(f"{self.name}.norm", (1,))
        self.label, _ = as_rows(build, bottom[1].data, f"{self.name}.label", (bottom[1].data.size,), fill=True)
        build.op(
            "softmax_loss_forward",
            grid(bottom[0].data, self.along),
            self.prob,
            self.label,
            top[0].data.reshape(1),
            self.norm,
            self.stat,
            grid_axis(bottom[0].shape, self.along),
            self.outer,
            self.normalization,
            int(self.ignores),
            self.ignored,
            int(build.sums),
        )

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """dx = (p - [label]) / divisor."""
        if len(needed) > 1 and needed[1]:
            raise self.error("cannot propagate a gradient to its labels")
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
                build.factors.get(self.salt, 1.0),
            )


@LAYERS.register("EuclideanLoss")
class EuclideanLoss(Loss):
    """Half the summed squares of the difference of two bottoms, over the number of samples."""

    def reshape(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """Return ()."""
        if not bottoms[0] or bottoms[0][:1] != bottoms[1][:1] or prod(bottoms[0]) != prod(bottoms[1]):
            raise self.error(f"needs bottoms (N, ...) of one size, found {bottoms[0]} and {bottoms[1]}")
        return [()]

    def may_force(self, bottom: int) -> bool:
        """Both bottoms have a gradient."""
        return True

    def divisor_per_sample(self) -> float | None:
        """Return 1."""
        return 1.0

    def forward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """loss = sum (a - b)^2 / 2N."""
        x, z = (blob.shape for blob in bottom)
        self.pictures = x == z and len(x) == 4  # which lie alike, if not in C order
        self.pair = [
            b.data if self.pictures else as_rows(build, b.data, f"{self.name}.{i}", (x[0], prod(x[1:])), fill=True)[0]
            for i, b in enumerate(bottom)
        ]
        build.op("euclidean_forward", *self.pair, top[0].data.reshape(1), self.stat, int(build.sums))

    def backward(self, build: Builder, bottom: Sequence[Blob], top: Sequence[Blob], needed: Sequence[bool]) -> None:
        """da = (a - b) / N, db = -da."""
        for i, sign in ((0, 1.0), (1, -1.0)):
            if needed[i]:
                dx, copied = bottom[i].diff, None
                if not self.pictures:
                    dx, copied = as_rows(build, dx, f"{self.name}.d{i}", self.pair[i].shape, fill=False)
                build.op(
                    "euclidean_backward",
                    *self.pair,
                    dx,
                    top[0].diff.reshape(1),
                    int(build.sums),
                    sign,
                    build.factors.get(self.salt, 1.0),
                )
                if copied is not None:
                    build.op("copy", copied, bottom[i].diff)
